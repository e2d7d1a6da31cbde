"""Chooses how MuJoCo draws, whichever test loads it first. Checkpoints that several files of tests use, made once.

Property tests try the same cases in every run, so that two runs agree. Others, ever new: --hypothesis-profile=search.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

import learning.sim  # noqa: F401

settings.register_profile("repeatable", derandomize=True, database=None)
settings.register_profile("search", max_examples=1000)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Evaluation prompts for any vision-language model, one without a picture and three with."""
    from PIL import Image

    home = tmp_path_factory.mktemp("prompts")
    random = np.random.default_rng(0)
    rows: list[dict[str, str]] = [{"prompt": "stack 12 cubes"}]
    for number in range(3):
        name = f"{number}.png"
        Image.fromarray(random.integers(0, 256, (90 + number, 120, 3), dtype=np.uint8)).save(home / name)
        rows.append({"prompt": f"put the red cube {number}\n<image>what is in the picture?\n\nnext:", "image": name})
    path = home / "prompts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="session")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Qwen2-VL checkpoint with random weights."""
    from tiny_vlms import build_vlm

    folder = tmp_path_factory.mktemp("qwen") / "checkpoint"
    build_vlm("qwen2_vl", folder)
    return folder
