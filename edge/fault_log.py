"""What the control loop saw before a fault, for the run directory: every step of the last seconds until it rests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from edge._core import ControlLoop

FAULT = "fault.npz"


def save_fault(path: Path, loop: ControlLoop) -> str:
    """Writes the steps of the loop's last fault, if there was one.

    The file holds one array a field of `ControlLoop.fault_log`, first axis time, oldest first. `joints` names the
    columns; `states`, `hold_causes` and `fault_causes` say what the numbers of `state`, `hold_cause` and `fault_cause`
    mean.

    Returns:
        What is in the file, for a person; empty when nothing was written.
    """
    steps = loop.fault_log()
    if not len(steps):
        return ""
    from edge._core import FAULT_CAUSES, HOLD_CAUSES, STATES

    arrays: dict[str, Any] = {name: steps[name] for name in steps.dtype.names or ()}
    legend = {"joints": loop.arm.names, "states": STATES, "hold_causes": HOLD_CAUSES, "fault_causes": FAULT_CAUSES}
    arrays.update((name, np.array(texts)) for name, texts in legend.items())
    np.savez_compressed(path, **arrays)
    seconds = (steps["time_ns"][-1] - steps["time_ns"][0]) / 1e9
    return f"{FAULT_CAUSES[steps['fault_cause'][-1]]}; {path.name} has the {seconds:.1f} s until the arm was at rest"
