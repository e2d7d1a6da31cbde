"""`model.safetensors` of LeRobot into our networks: every tensor by name and shape, or an error that names it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from export.errors import ExportError

State = dict[str, Tensor]

#: Beginnings of the names under which older versions kept their statistics in the model.
STATISTICS = ("normalize_inputs.", "normalize_targets.", "unnormalize_outputs.")
_COMPILED = "._orig_mod"


def read_tensors(path: Path, what: str) -> State:
    """A safetensors file.

    Raises:
        ExportError: It is missing or cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        fix = "name the directory that LeRobot saved, usually …/checkpoints/last/pretrained_model"
        raise ExportError(f"the checkpoint lacks {path.name}", expected=what, got=f"no {path}", fix=fix)
    try:
        tensors: State = load_file(str(path))
    except (OSError, SafetensorError) as problem:
        fix = "copy the checkpoint again"
        raise ExportError(f"cannot read {path}", expected="a safetensors file", got=str(problem), fix=fix) from problem
    return tensors


def split(tensors: State) -> tuple[State, State]:
    """The network's weights, and the statistics that older versions kept beside them."""
    kept = {name: tensor for name, tensor in tensors.items() if name.startswith(STATISTICS)}
    return {name.replace(_COMPILED, ""): t for name, t in tensors.items() if name not in kept}, kept


def fill(network: nn.Module, weights: State, prefix: str, unused: Callable[[str], bool] = lambda name: False) -> None:
    """Puts weights into a network whose names are theirs less `prefix`.

    Args:
        network: Is filled, and set to evaluate.
        weights: By name.
        prefix: What every name begins with.
        unused: Says of a name without the prefix that its tensor is only for training.

    Raises:
        ExportError: A tensor that is missing, of another shape or type, not finite, or that nothing here takes.
    """
    wanted = network.state_dict()
    found = {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}
    strangers = [name for name in weights if not name.startswith(prefix)]
    strangers += [prefix + name for name in found if name not in wanted and not unused(name)]
    fix = "config.json and model.safetensors are of different networks: take both from one checkpoint"
    for name, tensor in wanted.items():
        if name not in found:
            raise ExportError(f"model.safetensors lacks {prefix}{name}", expected=_shape(tensor), got="none", fix=fix)
        if found[name].shape != tensor.shape:
            raise ExportError(
                f"{prefix}{name} in model.safetensors does not fit", expected=_shape(tensor),
                got=_shape(found[name]), fix=fix,
            )  # fmt: skip
        if found[name].is_floating_point() and not bool(torch.isfinite(found[name]).all()):
            raise ExportError(
                f"{prefix}{name} in model.safetensors is not finite", expected="numbers", got="NaN or infinity",
                fix="the training diverged: take an earlier checkpoint",
            )  # fmt: skip
    if strangers:
        got = ", ".join(strangers[:3]) + (f" and {len(strangers) - 3} more" if len(strangers) > 3 else "")
        raise ExportError("model.safetensors has tensors that this network lacks", got=got, fix=fix)
    network.load_state_dict({name: found[name].to(wanted[name].dtype) for name in wanted})
    network.eval()


def _shape(tensor: Tensor) -> str:
    return f"{list(tensor.shape)}"
