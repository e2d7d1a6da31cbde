"""What the video of a dataset costs and keeps: pixel formats and presets of libx264 on pictures of the simulated table.

    python benchmarks/video_codec.py

PSNR in dB over all pixels, over the saturated ones (the objects), and after the policy's area resize to 96 pixels.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from edge.policy.transforms import square
from learning.dataset import video
from learning.sim.hands import OracleHands
from learning.sim.world import IMAGE_SIZE, World
from learning.tasks import sample

SCENES, FPS = 4, 20


def film() -> np.ndarray:
    """Front and wrist pictures of the oracle picking something up in a few scenes."""
    world, frames = World(), []
    for seed in range(SCENES):
        scene, task = sample("put", np.random.default_rng(seed))
        world.reset(scene)
        for target in OracleHands(world).grasp(task.objects[0]):
            world.step(target)
            frames.append(world.render("front"))
        for _ in range(20):
            world.step(target)
            frames.append(world.render("wrist"))
    return np.array(frames)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2)))


def main() -> None:
    frames = film()
    saturated = frames.max(-1).astype(int) - frames.min(-1) > 100
    small = np.array([square(image, 96) for image in frames])
    print(f"{len(frames)} pictures, {saturated.mean():.1%} of the pixels saturated; processor time, one thread")
    print("pixels    preset     gop  encode/s  decode/s  bytes  PSNR  saturated  at 96")
    for pixels, preset, gop in itertools.product(
        ("yuv420p", "yuv444p"), ("ultrafast", "superfast", "veryfast"), (2, video.GOP)
    ):
        video.PIXEL_FORMAT, video.PRESET, video.GOP = pixels, preset, gop
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "film.mp4"
            start = time.process_time()
            writer = video.VideoWriter(path, IMAGE_SIZE, FPS)
            writer.add(frames)
            writer.close()
            encoded = time.process_time()
            back = np.array(list(video.decode(path)))
            decoded = time.process_time()
            size = path.stat().st_size
        again = np.array([square(image, 96) for image in back])
        rates = len(frames) / (encoded - start), len(frames) / (decoded - encoded)
        print(
            f"{pixels:9} {preset:10} {gop:3} {rates[0]:9.0f} {rates[1]:9.0f} {size / len(frames):6.0f} "
            f"{psnr(frames, back):5.1f} {psnr(frames[saturated], back[saturated]):10.1f} {psnr(small, again):6.1f}"
        )


if __name__ == "__main__":
    main()
