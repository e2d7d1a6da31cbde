"""The simulated table: a MuJoCo SO-101, cubes, plates, and an oracle that sees everything."""

import os

# MuJoCo picks its renderer when it is imported; without a display the default one fails.
os.environ.setdefault("MUJOCO_GL", "egl")
