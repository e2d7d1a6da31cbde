"""The planner's small vocabulary, trained on what people say and on what the API writes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from edge.api import Outcome
from edge.planner.prompt import END_TOKEN, IMAGE_TOKEN, SPECIAL_TOKENS, Specials, clean_task
from edge.tabletop import API
from learning.planner.names import OTHERS
from learning.planner.wording import WORDINGS

MAX_VOCABULARY = 1024


def corpus() -> Iterator[str]:
    """The API's prompt, every call and transcript line, every training phrasing with every object, and other names."""
    yield from [API.prompt() + "\n", "\n", "\n\n", "next:", "task: "] * 20
    for call in API.calls():
        for outcome in Outcome:
            yield f"\n{API.format_entry((call, outcome))}\nnext:"
        yield API.format(call)
    for row in itertools.chain.from_iterable(WORDINGS.values()):
        for a, b in zip(API.objects, API.objects[1:], strict=False):
            yield f"task: {clean_task(row.format(a=a, b=b))}"
    for word in OTHERS:
        yield from [f"the {word} cube the {word} plate", f'("{word} cube")', f'("{word} plate")'] * 20


def train_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE with SmolLM2's way of cutting text, as docs/planner-format.md asks. Deterministic."""
    core = byte_level(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=MAX_VOCABULARY,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(corpus(), trainer)
    return wrapped(core, SPECIAL_TOKENS)


def byte_level(model: models.BPE) -> Tokenizer:
    """A tokenizer that cuts text as SmolLM2's does."""
    core = Tokenizer(model)
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    core.decoder = decoders.ByteLevel()
    return core


def wrapped(core: Tokenizer, special: Iterable[str]) -> PreTrainedTokenizerFast:
    """As transformers takes it, with these special tokens, `END_TOKEN` among them."""
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=END_TOKEN,
        eos_token=END_TOKEN,
        pad_token=END_TOKEN,
        additional_special_tokens=[token for token in special if token != END_TOKEN],
        clean_up_tokenization_spaces=False,
    )


def specials(tokenizer: PreTrainedTokenizerFast) -> Specials:
    """Ids of the special tokens."""
    return Specials.of(tokenizer.convert_tokens_to_ids)


__all__ = ["IMAGE_TOKEN", "MAX_VOCABULARY", "corpus", "specials", "train_tokenizer"]
