"""How sure a success rate is."""

from __future__ import annotations

import math


def wilson(successes: int, count: int) -> tuple[float, float]:
    """95 % interval of a proportion (Wilson 1927)."""
    if count == 0:
        return 0.0, 1.0
    z, p = 1.959964, successes / count
    centre, spread = p + z * z / (2 * count), z * math.sqrt(p * (1 - p) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    # Rounding may leave a bound a hair beyond the share itself.
    return max(0.0, min(p, (centre - spread) / scale)), min(1.0, max(p, (centre + spread) / scale))
