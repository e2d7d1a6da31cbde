"""Chooses how MuJoCo draws, whichever test loads it first."""

import learning.sim  # noqa: F401
