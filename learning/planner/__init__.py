"""Trains and measures the planner: a stock Idefics3 model that writes the next call of the robot API.

Vision first, with dense supervision from the simulator; then a fresh language model on those eyes; then both together.
"""

from __future__ import annotations

import os

os.environ.setdefault("MUJOCO_GL", "egl")  # MuJoCo chooses its renderer when it is first imported, whoever does it
