"""The two sides that the planner's parity gate compares: the PyTorch checkpoint, and the GGUF files in llama.cpp.

Both answer one prompt greedily under the same grammar, and give the logits that each token was chosen from.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.api import RobotApi
from edge.planner.drafts import Drafts
from edge.planner.prompt import Specials, prefix_ids, suffix_ids
from edge.planner.sampler import GrammarSampler
from edge.planner.session import Session
from edge.planner.writer import write
from export.planner_cases import Case

Logits = NDArray[np.float32]

#: No legal call is longer; a checkpoint that writes on is not trained.
MAX_ANSWER = 48


@dataclass(frozen=True)
class Answer:
    """What one side wrote: token ids, the logits that each was chosen from (vocabulary,), and the text."""

    ids: tuple[int, ...]
    logits: tuple[Logits, ...]
    text: str


class TorchSide:
    """The checkpoint in PyTorch, float32."""

    def __init__(self, checkpoint: Path) -> None:
        import torch
        from transformers import Idefics3ForConditionalGeneration, PreTrainedTokenizerFast
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # type: ignore[no-untyped-call]
        self._torch = torch
        model: Any = Idefics3ForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32)
        self.model = model.eval()
        self.tokenizer: Any = PreTrainedTokenizerFast.from_pretrained(checkpoint)
        vision = self.model.config.vision_config
        self.image_size = int(vision.image_size)
        self.image_tokens = (vision.image_size // vision.patch_size // self.model.config.scale_factor) ** 2
        self.specials = Specials.of(self.tokenizer.convert_tokens_to_ids)
        self._known = dict[int, tuple[Case, Answer]]()

    def see(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeddings (tokens, width) of an image."""
        with self._torch.inference_mode():
            vision = self.model.model.vision_model(pixel_values=self._pixels(image)[0]).last_hidden_state
            seen: NDArray[np.float32] = self.model.model.connector(vision)[0].numpy()
        return seen

    def _pixels(self, image: NDArray[np.uint8]) -> Any:
        """(1, 1, 3, height, width) in −1 … 1."""
        return self._torch.from_numpy((image.astype(np.float32) / 255 - 0.5) / 0.5).permute(2, 0, 1)[None, None]

    def prompt(self, api: RobotApi, case: Case) -> tuple[list[int], list[int]]:
        """Token ids before and after the image."""
        return (
            prefix_ids(api, self._encode, self.specials),
            suffix_ids(api, self._encode, self.specials, case.task, case.transcript),
        )

    def answer(self, api: RobotApi, case: Case, sampler: GrammarSampler) -> Answer:
        """Greedy answer under the grammar; a case that was answered before is not run again."""
        if id(case) not in self._known:
            self._known[id(case)] = case, self._answer(api, case, sampler)
        return self._known[id(case)][1]

    def _answer(self, api: RobotApi, case: Case, sampler: GrammarSampler) -> Answer:
        torch = self._torch
        before, after = self.prompt(api, case)
        inputs = torch.tensor([[*before, *[self.specials.image] * self.image_tokens, *after]])
        pixels = self._pixels(case.image)
        sampler.reset()
        ids, logits, cache = list[int](), list[Logits](), None
        with torch.inference_mode():
            while not (ids and ids[-1] == self.specials.end) and len(ids) < MAX_ANSWER:
                image = pixels if cache is None else None
                out = self.model(input_ids=inputs, pixel_values=image, past_key_values=cache, use_cache=True)
                cache = out.past_key_values
                logits.append(out.logits[0, -1].float().numpy())
                ids.append(sampler.choose(logits[-1]))
                inputs = torch.tensor([[ids[-1]]])
        return Answer(tuple(ids), tuple(logits), self.tokenizer.decode(ids, skip_special_tokens=True))

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids


class LlamaSide:
    """A pair of GGUF files in llama.cpp, run exactly as the robot runs them."""

    def __init__(self, api: RobotApi, files: tuple[Path, Path], image_size: int, observer: Any = None) -> None:
        self._api = api
        self._session = Session(*files, image_size=image_size, observer=observer)
        vocabulary = self._session.vocabulary
        self.specials = Specials.of(vocabulary.special)
        self.image_tokens = self._session.image_tokens
        self.sampler = GrammarSampler(vocabulary, api.grammar())
        self._drafts = Drafts(api, vocabulary.encode)
        self._session.keep_prefix(prefix_ids(api, vocabulary.encode, self.specials))

    def prompt(self, case: Case) -> tuple[list[int], list[int]]:
        """Token ids before and after the image."""
        encode = self._session.vocabulary.encode
        return (
            prefix_ids(self._api, encode, self.specials),
            suffix_ids(self._api, encode, self.specials, case.task, case.transcript),
        )

    def see(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeddings (tokens, width) of an image."""
        return self._session.encode_image(image)

    def write(self, case: Case) -> Answer:
        """Greedy answer under the grammar."""
        image, suffix = self._session.encode_image(case.image), self.prompt(case)[1]
        guesses = self._drafts.guesses(case.task, case.transcript)
        ids, logits = list[int](), list[Logits]()
        for token, seen in write(self._session, self.sampler, image, suffix, guesses):
            ids.append(token)
            logits.append(seen)
            if len(ids) == MAX_ANSWER:
                break
        return Answer(tuple(ids), tuple(logits), self._session.vocabulary.text(ids))

    def answer(self, case: Case, forced: tuple[int, ...]) -> tuple[Answer, tuple[Logits, ...]]:
        """Greedy answer under the grammar, and the logits along another answer (`forced`)."""
        answer = self.write(case)
        if answer.ids == forced:
            return answer, answer.logits
        image, suffix = self._session.encode_image(case.image), self.prompt(case)[1]
        along = [self._session.start(image, suffix), *(self._session.step(token) for token in forced[:-1])]
        return answer, tuple(along)

    def __enter__(self) -> LlamaSide:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sampler.close()
        self._session.close()
