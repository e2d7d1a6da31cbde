"""Opens one of our datasets with LeRobot itself and compares what it reads with what the files hold.

LeRobot wants other versions of nearly everything, so this runs in an environment of its own (Python 3.11):

    python -m venv lerobot-venv && . lerobot-venv/bin/activate
    pip install torch==2.13.0
    pip install --no-deps torchvision==0.28.0 lerobot==0.4.4
    pip install numpy pillow einops diffusers draccus safetensors "huggingface_hub<0.36" datasets==4.1.1 pyserial \
        deepdiff termcolor jsonlines gymnasium imageio "av<16" opencv-python-headless accelerate rich
    python benchmarks/open_in_lerobot.py data/demos

Exit status 0 if every compared number, call and task is equal and every frame lies within LeRobot's time tolerance
(0.1 ms). Frames are decoded by PyAV under LeRobot's own indexing (path, start of the episode in the video): the
decoders LeRobot would use, torchcodec and torchvision's, do not load beside the CPU build of torch.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import torch

# The compiled operators of torchvision want CUDA. LeRobot never calls them, but its import chain looks them up.
_library = torch.library.Library("torchvision", "DEF")
_library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
_library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from lerobot.datasets import lerobot_dataset  # noqa: E402


def _decode(path: Path | str, timestamps: list[float], tolerance_s: float, backend: str | None = None) -> torch.Tensor:
    """What LeRobot asks its decoder for: (T, 3, H, W) in [0, 1] at these seconds, each within the tolerance."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = []
        for second in timestamps:
            container.seek(int(second / stream.time_base), stream=stream)
            frame = next(f for f in container.decode(stream) if f.time > second - tolerance_s)
            if abs(frame.time - second) > tolerance_s:
                raise SystemExit(f"{path}: no frame at {second} s, the nearest is at {frame.time} s")
            frames.append(torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1).float() / 255)
    return torch.stack(frames)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="a finished dataset")
    parser.add_argument("--steps", type=int, default=50, help="how many steps to compare")
    arguments = parser.parse_args()

    lerobot_dataset.decode_video_frames = _decode
    dataset = lerobot_dataset.LeRobotDataset("local/dataset", root=arguments.root)
    print(dataset)
    table = {}
    for path in sorted(arguments.root.glob("data/*/*.parquet")):
        for name, column in pq.read_table(path).to_pydict().items():
            table.setdefault(name, []).extend(column)
    if len(dataset) != len(table["index"]):
        raise SystemExit(f"LeRobot counts {len(dataset)} steps, we count {len(table['index'])}")

    for step in np.linspace(0, len(dataset) - 1, arguments.steps).astype(int).tolist():
        item = dataset[step]
        for name in ("observation.state", "action", "goal", "finished", "call_hint", "episode_index", "index"):
            np.testing.assert_allclose(np.ravel(item[name]), np.ravel(table[name][step]), rtol=1e-6, err_msg=name)
        if item["call"] != table["call"][step]:
            raise SystemExit(f"step {step}: LeRobot reads call {item['call']!r}, we wrote {table['call'][step]!r}")
        episode = dataset.meta.episodes[int(item["episode_index"])]
        if [item["task"]] != episode["tasks"]:
            raise SystemExit(f"step {step}: task {item['task']!r} is not the episode's {episode['tasks']}")
        for camera in dataset.meta.camera_keys:
            image = item[camera]
            if tuple(image.shape) != (3, 192, 192):
                raise SystemExit(f"step {step}: {camera} has shape {tuple(image.shape)}")
    window = lerobot_dataset.LeRobotDataset(
        "local/dataset", root=arguments.root, delta_timestamps={"action": [i / dataset.fps for i in range(16)]}
    )
    print(
        "a chunk of 16 actions:",
        tuple(window[0]["action"].shape),
        "under",
        dataset[0]["call"],
        "of",
        dataset[0]["task"],
    )
    print("statistics:", ", ".join(sorted(dataset.meta.stats["action"])))
    print(f"LeRobot opens it: {len(dataset)} steps, {dataset.num_episodes} episodes, {arguments.steps} compared")
    return 0


if __name__ == "__main__":
    sys.exit(main())
