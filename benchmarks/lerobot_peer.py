"""LeRobot's side of benchmarks/lerobot_policy.py, which starts it in LeRobot's environment: without anything of ours.

python benchmarks/lerobot_peer.py DIRECTORY --image 96 --widths 512 1024 2048
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

HORIZON, JOINTS, CAMERAS = 16, 6, ("front", "wrist")


def observation(image: int, seed: int) -> dict[str, np.ndarray]:
    """Two moments of both cameras and of the joints, in degrees, and the noise to start from."""
    rng = np.random.RandomState(seed)
    seen = {name: rng.randint(0, 256, (2, image, image, 3)).astype(np.uint8) for name in CAMERAS}
    joints = rng.uniform(-40, 40, (2, JOINTS)).astype(np.float32)
    return {**seen, "joints": joints, "noise": rng.standard_normal((1, HORIZON, JOINTS)).astype(np.float32)}


def peer(directory: Path, image: int, widths: list[int]) -> None:
    """Saves a policy, then answers lines `kind seed`: the seconds it took, and the actions."""
    import torch

    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    from lerobot.configs.types import FeatureType, PolicyFeature
    from lerobot.policies.diffusion.configuration_diffusion import DiffusionConfig
    from lerobot.policies.diffusion.modeling_diffusion import DiffusionPolicy
    from lerobot.policies.factory import make_pre_post_processors

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    torch.manual_seed(0)
    inputs = {f"observation.images.{n}": PolicyFeature(FeatureType.VISUAL, (3, image, image)) for n in CAMERAS}
    inputs["observation.state"] = PolicyFeature(FeatureType.STATE, (JOINTS,))
    outputs = {"action": PolicyFeature(FeatureType.ACTION, (JOINTS,))}
    policy = DiffusionPolicy(
        DiffusionConfig(input_features=inputs, output_features=outputs, down_dims=tuple(widths), device="cpu")
    ).eval()
    span = {"min": torch.full((JOINTS,), -60.0), "max": torch.full((JOINTS,), 60.0)}
    picture = {"mean": torch.full((3, 1, 1), 0.5), "std": torch.full((3, 1, 1), 0.25)}
    statistics = {key: picture if "images" in key else span for key in (*inputs, "action")}
    before, after = make_pre_post_processors(policy.config, dataset_stats=statistics)
    for part in (policy, before, after):
        part.save_pretrained(directory)

    model = policy.diffusion
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

    schedulers = {"ddpm": (model.noise_scheduler, 100)}
    schedulers["ddim"] = (DDIMScheduler.from_config(model.noise_scheduler.config), 10)
    print(json.dumps({"parameters": sum(p.numel() for p in policy.parameters())}), flush=True)
    for line in sys.stdin:
        kind, seed = line.split()
        seen = observation(image, int(seed))
        begin = time.perf_counter()
        with torch.no_grad():
            rows = []
            for moment in range(2):
                row = {"observation.state": torch.from_numpy(seen["joints"][moment])}
                for name in CAMERAS:
                    pixels = torch.from_numpy(seen[name][moment]).permute(2, 0, 1).float() / 255
                    row[f"observation.images.{name}"] = pixels
                rows.append(before(row))
            batch = {key: torch.stack([row[key] for row in rows], dim=1) for key in inputs}
            batch["observation.images"] = torch.stack([batch[key] for key in model.config.image_features], dim=-4)
            condition = model._prepare_global_conditioning(batch)
            encoded = time.perf_counter()
            actions = np.zeros(0)
            if kind != "encoder":
                model.noise_scheduler, model.num_inference_steps = schedulers[kind]
                sample = model.conditional_sample(1, global_cond=condition, noise=torch.from_numpy(seen["noise"]))
                actions = after(sample[0]).numpy()
        end = time.perf_counter()
        print(json.dumps({"s": end - begin, "encoder_s": encoded - begin, "actions": actions.tolist()}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, help="where the policy is saved")
    parser.add_argument("--image", type=int, required=True)
    parser.add_argument("--widths", type=int, nargs="+", required=True)
    arguments = parser.parse_args()
    peer(arguments.directory, arguments.image, arguments.widths)


if __name__ == "__main__":
    main()
