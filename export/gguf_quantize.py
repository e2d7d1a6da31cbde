"""llama.cpp's quantizer, with an importance matrix if there is one."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np

from edge.planner.native import last_log, libraries
from export.errors import ExportError
from export.gguf_importance import Importance
from export.gguf_types import file_type
from export.staging import raise_if_full

#: Tensors that llama.cpp can only compute with as f16, and crashes on otherwise: Gemma 3 transposes its projection.
_KEPT_F16 = (rb"^mm\.input_projection\.weight$",)
_F16 = 1  # enum ggml_type


def quantize(source: Path, out: Path, name: str, importance: Importance | None = None) -> None:
    """Write one GGUF as another type with `llama_model_quantize`.

    Args:
        source: An f32 or f16 GGUF, text or vision half.
        out: Where the result goes.
        name: A key of `gguf_types.FILE_TYPES`.
        importance: How much each column of each tensor matters (`gguf_importance`), or None.

    Raises:
        ExportError: If the type is unknown, needs an importance matrix and has none, or llama.cpp fails.
        OSError: If the file could not be written whole.
    """
    kind = file_type(name)
    if kind.needs_importance and not importance:
        raise ExportError(
            f"{name} needs an importance matrix",
            fix="give calibration prompts with --calibration, or take a type that needs none, such as q2_k",
        )
    llama, _ = libraries()
    params = llama.llama_model_quantize_default_params()
    params.ftype, params.nthread = kind.number, 1
    kept = _matrix(llama, importance or {})
    overrides = (llama.llama_model_tensor_override * (len(_KEPT_F16) + 1))()
    for slot, pattern in zip(overrides, _KEPT_F16, strict=False):
        slot.pattern, slot.type = pattern, _F16
    params.tt_overrides = overrides
    if importance:
        params.imatrix = kept[0]
    status = llama.llama_model_quantize(str(source).encode(), str(out).encode(), params)
    if status == 0 and out.is_file():
        return
    raise_if_full(out)
    raise ExportError(
        f"llama.cpp could not quantize {source.name} to {name}",
        got=last_log(),
        fix="an importance matrix of other weights does not fit; otherwise try another type",
    )


def _matrix(llama: Any, importance: Importance) -> tuple[Any, list[Any]]:
    """The C array, ended by an empty entry, and what must live as long as it."""
    entry = llama.llama_model_imatrix_data
    columns = {name: np.ascontiguousarray(values, np.float32) for name, values in importance.items()}
    array = (entry * (len(columns) + 1))()
    pointer = ctypes.POINTER(ctypes.c_float)
    for slot, (name, values) in zip(array, columns.items(), strict=False):
        slot.name, slot.data, slot.size = name.encode(), values.ctypes.data_as(pointer), values.size
    return array, list(columns.values())
