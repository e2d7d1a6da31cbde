"""How much memory a planner takes: a process that loads both halves and answers one prompt, before and after.

python -m export.planner_memory TEXT.gguf VISION.gguf --image-size 192
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np

from edge.planner.native import libraries
from export.errors import ExportError


def measure(files: tuple[Path, Path], image_size: int, context: int | None) -> float:
    """Megabytes (10⁶ bytes) by which the largest resident set of a fresh process grows, pages of the files included.

    Args:
        files: Text GGUF, vision GGUF.
        image_size: Side of the square picture that it is shown.
        context: Positions of its cache; None for a robot's planner, which has its own.

    Raises:
        ExportError: If the process fails or crashes.
    """
    options = ["--image-size", str(image_size), *([] if context is None else ["--context", str(context)])]
    command = [sys.executable, "-m", "export.planner_memory", *map(str, files), *options]
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)
    if done.returncode < 0:
        raise ExportError(
            "llama.cpp crashes on these files",
            got=f"{signal.Signals(-done.returncode).name} in {files[0].name} with {files[1].name}",
            fix="take --type f16 --vision-type f16; if it still crashes, this llama.cpp cannot run the model",
        )
    if done.returncode != 0:
        raise ExportError("llama.cpp cannot run these files", got=done.stderr.strip()[-500:])
    return float(done.stdout)


def _resident(key: str) -> float:
    """Megabytes that the kernel says of this process under a key of /proc/self/status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return float(value.split()[0]) * 1024 / 1e6
    raise ExportError("memory cannot be measured here", expected=f"{key} in /proc/self/status", fix="use --max-mb")


def main() -> None:
    """Load, answer, print the growth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs=2)
    parser.add_argument("--image-size", type=int, required=True)
    parser.add_argument("--context", type=int)
    chosen = parser.parse_args()
    from edge.planner.session import Session
    from export.llama_vlm import MARKER, LlamaVlm

    libraries()
    files = (chosen.files[0], chosen.files[1])
    image = np.zeros((chosen.image_size, chosen.image_size, 3), np.uint8)
    before = _resident("VmRSS")
    if chosen.context is None:
        with Session(*files, image_size=chosen.image_size) as session:
            session.start(session.encode_image(image), session.vocabulary.encode("next:"))
    else:
        with LlamaVlm(files, context=chosen.context) as vlm:
            vlm.start(f"{MARKER}what now?", image)
    print(_resident("VmHWM") - before)


if __name__ == "__main__":
    main()
