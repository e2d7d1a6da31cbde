"""llama.cpp as a library: imported on use, its log kept instead of printed, its failures turned into `PlannerError`."""

from __future__ import annotations

import ctypes
import importlib
import re
from collections import deque
from functools import lru_cache
from pathlib import Path
from typing import Any

from edge.errors import PlannerError

#: Last lines of llama.cpp's log (it is global in the library, hence here); errors quote its tail.
_log: deque[str] = deque(maxlen=200)


@lru_cache(maxsize=1)
def libraries() -> tuple[Any, Any]:
    """The ctypes modules (llama, mtmd), initialised once a process.

    Raises:
        PlannerError: If llama-cpp-python is not installed.
    """
    try:
        llama = importlib.import_module("llama_cpp.llama_cpp")
        mtmd = importlib.import_module("llama_cpp.mtmd_cpp")
    except (ImportError, OSError, RuntimeError) as error:
        raise PlannerError(
            "llama.cpp cannot be loaded",
            expected="llama-cpp-python",
            got=str(error),
            fix="pip install llama-cpp-python==0.3.36",
        ) from error
    llama.llama_log_set(_callback(llama), ctypes.c_void_p(0))
    mtmd.mtmd_log_set(_callback(llama), ctypes.c_void_p(0))
    mtmd.mtmd_helper_log_set(_callback(llama), ctypes.c_void_p(0))
    llama.llama_backend_init()
    return llama, mtmd


@lru_cache(maxsize=1)
def _callback(llama: Any) -> Any:
    """The log callback; cached because the library keeps only a pointer to it."""

    @llama.llama_log_callback  # type: ignore[untyped-decorator]
    def keep(level: int, text: bytes, user_data: object) -> None:
        _log.append(text.decode("utf-8", "replace"))

    return keep


def build_flags() -> tuple[str, bool]:
    """What llama.cpp was built for and finds here, and whether it can use a GPU.

    Raises:
        PlannerError: If llama-cpp-python is not installed.
    """
    llama, _ = libraries()
    told = llama.llama_print_system_info().decode("utf-8", "replace")
    return " ".join(re.findall(r"(\w+) = 1", told)), bool(llama.llama_supports_gpu_offload())


def gpu_wanted(choice: str) -> bool:
    """Whether the planner goes onto the GPU.

    Args:
        choice: One of `edge.types.GPU`.

    Raises:
        PlannerError: It is to, and llama.cpp has none.
    """
    flags, there = build_flags()
    if choice == "on" and not there:
        fix = 'planner.gpu = "auto", or build llama-cpp-python with CMAKE_ARGS=-DGGML_CUDA=on'
        raise PlannerError("the planner cannot use a GPU", expected="llama.cpp built with one", got=flags, fix=fix)
    return there and choice != "off"


def model_options(gpu: bool) -> Any:
    """llama.cpp's parameters for loading a model: every layer on the GPU or none, and no AMX.

    A build with AMX (x86 servers, so: developers and CI) by GCC 12 ends the process at the first quantized product: the
    compiler drops the tile configuration that llama.cpp writes (llama.cpp pull request 26954). Without a layout of its
    own for the weights llama.cpp takes AVX-512.
    """
    llama, _ = libraries()
    options = llama.llama_model_default_params()
    options.n_gpu_layers = -1 if gpu else 0
    if "AMX_INT8" in build_flags()[0].split():
        options.use_extra_bufts = False
    return options


def last_log(lines: int = 4) -> str:
    """The newest lines that llama.cpp logged."""
    return " / ".join("".join(_log).strip().splitlines()[-lines:])


def metadata(model: Any, key: str) -> str:
    """A text that the model file carries under a key; empty if it has none."""
    llama, _ = libraries()
    buffer = ctypes.create_string_buffer(256)
    size = llama.llama_model_meta_val_str(model, key.encode(), buffer, len(buffer))
    return buffer.value.decode("utf-8", "replace") if size >= 0 else ""


def existing(path: Path, what: str) -> bytes:
    """A path for the library.

    Raises:
        PlannerError: If there is no such file.
    """
    if not path.is_file():
        raise PlannerError(f"no {what}", expected="a GGUF file", got=str(path), fix="export or fetch the bundle again")
    return str(path).encode()


class Vocabulary:
    """The tokenizer inside a loaded text model."""

    def __init__(self, model: Any) -> None:
        self._llama, _ = libraries()
        self.handle = self._llama.llama_model_get_vocab(model)
        self.size = int(self._llama.llama_vocab_n_tokens(self.handle))

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text; special tokens in it are not recognised and none is added."""
        return self._tokenize(text, parse_special=False)

    def special(self, text: str) -> int:
        """Id of a token that must be one token, special or not.

        Raises:
            PlannerError: If it is not; checked before llama.cpp would abort the process for it.
        """
        ids = self._tokenize(text, parse_special=True)
        if len(ids) != 1:
            raise PlannerError(
                f"the planner's vocabulary lacks {text!r}",
                expected="one token",
                got=f"{len(ids)} tokens",
                fix="see docs/planner-format.md",
            )
        return ids[0]

    def text(self, ids: list[int]) -> str:
        """Plain text of token ids; special tokens vanish."""
        buffer = ctypes.create_string_buffer(256)
        pieces = b""
        for token in ids:
            size = self._llama.llama_token_to_piece(self.handle, token, buffer, len(buffer), 0, False)
            pieces += buffer.raw[: max(size, 0)]
        return pieces.decode("utf-8", "replace")

    def ends(self, token: int) -> bool:
        """Whether a token ends the answer."""
        return bool(self._llama.llama_vocab_is_eog(self.handle, token))

    def _tokenize(self, text: str, *, parse_special: bool) -> list[int]:
        raw = text.encode()
        ids = (self._llama.llama_token * (len(raw) + 8))()
        count = self._llama.llama_tokenize(self.handle, raw, len(raw), ids, len(ids), False, parse_special)
        if count < 0:
            raise PlannerError("the text cannot be tokenized", got=repr(text))
        return list(ids[:count])
