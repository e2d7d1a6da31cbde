"""Importance matrix: the mean square of what each weight column is multiplied with, over calibration prompts.

llama.cpp's quantizer takes one and minimises the error weighted with it, but its library does not compute one. Its
scheduler shows every tensor to a callback, and a matrix product holds its weight and its input.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.planner.native import libraries
from export.errors import ExportError

Importance = dict[str, NDArray[np.float32]]
"""Tensor name → (columns,) float32."""


class _Tensor(ctypes.Structure):
    """`struct ggml_tensor`, as of the release that pyproject.toml names; `_checked` compares it with the library."""


_Tensor._fields_ = [
    ("type", ctypes.c_int),
    ("buffer", ctypes.c_void_p),
    ("ne", ctypes.c_int64 * 4),
    ("nb", ctypes.c_size_t * 4),
    ("op", ctypes.c_int),
    ("op_params", ctypes.c_int32 * 16),
    ("flags", ctypes.c_int32),
    ("src", ctypes.POINTER(_Tensor) * 10),
    ("view_src", ctypes.c_void_p),
    ("view_offs", ctypes.c_size_t),
    ("data", ctypes.c_void_p),
    ("name", ctypes.c_char * 64),
]

_F32 = 0  # enum ggml_type


@lru_cache(maxsize=1)
def _ggml() -> Any:
    """The library below llama.cpp's."""
    import llama_cpp
    from llama_cpp._ctypes_extensions import load_shared_library

    library = load_shared_library("ggml-base", Path(llama_cpp.__file__).parent / "lib")
    library.ggml_op_desc.argtypes, library.ggml_op_desc.restype = [ctypes.c_void_p], ctypes.c_char_p
    library.ggml_get_name.argtypes, library.ggml_get_name.restype = [ctypes.c_void_p], ctypes.c_void_p
    library.ggml_nbytes.argtypes, library.ggml_nbytes.restype = [ctypes.c_void_p], ctypes.c_size_t
    return library


class Gatherer:
    """Sums the squares of matrix products' inputs while a model runs. Give `callback` to the model as its observer.

    An error inside the callback is kept and raised by `result`: nothing may pass through C.
    """

    def __init__(self) -> None:
        llama, _ = libraries()
        self._ggml = _ggml()
        self._sums = dict[str, NDArray[np.float64]]()
        self._rows = dict[str, int]()
        self._error: Exception | None = None
        self.callback = llama.ggml_backend_sched_eval_callback(self._observe)

    def result(self) -> Importance:
        """Mean squares by the weight's name.

        Raises:
            ExportError: If nothing ran, or the library's tensors are laid out otherwise than this module knows.
        """
        if self._error is not None:
            raise self._error
        if not self._sums:
            raise ExportError("no calibration prompt was run", expected="at least one", fix="see --calibration")
        return {name: (total / self._rows[name]).astype(np.float32) for name, total in self._sums.items()}

    def _observe(self, address: int, ask: bool, _: object) -> bool:
        """`ask`: whether the tensor is wanted. Otherwise it has been computed; False would stop the computation."""
        try:
            if self._error is not None:
                return not ask
            wanted = self._ggml.ggml_op_desc(address) == b"MUL_MAT" and self._weight(address) != ""
            if ask:
                return wanted
            if wanted:
                self._add(address)
        except Exception as error:
            self._error = error
        return True

    def _weight(self, address: int) -> str:
        """Name of the weight in a product, empty if both sides were computed."""
        tensor = _Tensor.from_address(address)
        if self._ggml.ggml_get_name(address) != address + _Tensor.name.offset:
            raise ExportError(
                "this llama.cpp lays out its tensors in another way",
                expected="the release that pyproject.toml names",
                fix="pip install llama-cpp-python==0.3.36, or export without --calibration",
            )
        name: str = tensor.src[0].contents.name.decode("utf-8", "replace")
        return name if name.endswith(".weight") else ""

    def _add(self, address: int) -> None:
        tensor = _Tensor.from_address(address)
        inputs, name = tensor.src[1].contents, self._weight(address)
        columns, *rest = (int(size) for size in inputs.ne)
        packed = inputs.nb[0] == 4 and all(
            inputs.nb[axis] == inputs.nb[axis - 1] * inputs.ne[axis - 1] for axis in (1, 2, 3)
        )
        if inputs.type != _F32 or not packed or not inputs.data:
            raise ExportError(
                f"{name} is multiplied with something that cannot be read",
                expected="packed float32",
                got=str(inputs.type),
            )
        rows = int(np.prod(rest))
        pointer = ctypes.cast(inputs.data, ctypes.POINTER(ctypes.c_float))
        values = np.ctypeslib.as_array(pointer, shape=(rows, columns)).astype(np.float64)
        self._sums[name] = self._sums.get(name, np.zeros(columns)) + np.einsum("ij,ij->j", values, values)
        self._rows[name] = self._rows.get(name, 0) + rows
