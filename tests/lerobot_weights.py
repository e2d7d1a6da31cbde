"""Weights of a LeRobot network from nothing but their names and shapes: a fixture need not carry 45 MB of backbone.

LeRobot computed the fixtures' answers with these weights (tests/fixtures/lerobot/make.py); the tests fill our networks
with the same.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

#: Buffers that are computed and not trained: a fixture carries them.
COMPUTED = ("pos_grid", "vae_encoder_pos_enc")


def weight(name: str, shape: Sequence[int]) -> NDArray[np.generic]:
    """A tensor of a state dict, the same on every machine: legacy numpy streams never change."""
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    spread = np.random.RandomState(zlib.crc32(name.encode())).random_sample(tuple(shape)) * 2 - 1
    if name.endswith("running_var"):
        values = 1 + 0.5 * spread
    elif len(shape) < 2:
        values = (1 if name.endswith("weight") else 0) + 0.1 * spread
    else:
        values = spread * math.sqrt(3 / math.prod(shape[1:]))
    return values.astype(np.float32)


def weights(
    shapes: Mapping[str, Sequence[int]], computed: Mapping[str, NDArray[np.generic]]
) -> dict[str, NDArray[np.generic]]:
    """All tensors of a state dict by name."""
    return {name: computed[name] if name.endswith(COMPUTED) else weight(name, shape) for name, shape in shapes.items()}
