"""What the control loop saw before a fault, for the run directory: every step of the last seconds until it rests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FAULT = "fault.npz"


def save_fault(path: Path, fault: Mapping[str, NDArray[Any]]) -> str:
    """Writes the steps of a fault, if there was one.

    Args:
        path: The file to write.
        fault: What `Machine.last_fault` says, one array a field.

    Returns:
        What is in the file, for a person; empty when nothing was written.
    """
    if not fault:
        return ""
    arrays: dict[str, Any] = dict(fault)
    np.savez_compressed(path, **arrays)
    seconds = float(fault["time_ns"][-1] - fault["time_ns"][0]) / 1e9
    cause = fault["fault_causes"][fault["fault_cause"][-1]]
    return f"{cause}; {path.name} has the {seconds:.1f} s until the arm was at rest"
