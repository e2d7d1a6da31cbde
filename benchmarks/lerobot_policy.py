"""The same diffusion policy in LeRobot (PyTorch) and as our graph (ONNX Runtime), side by side in one run.

    python benchmarks/lerobot_policy.py --lerobot-python lerobot-venv/bin/python

LeRobot lives in an environment of its own (tests/fixtures/lerobot/make.py says how to make one). There a
DiffusionPolicy with LeRobot's defaults for two cameras and six joints is made with random weights and saved; here it is
exported. Both then answer the same observations in turns, so that what else the machine does hits both alike. That both
give the same actions is checked each time. Encoder and head apart: LeRobot's are timed apart; of our graph the
difference between ten steps and one says what a step costs. Students of two and of one evaluation are the same network
asked less often: what they cost does not depend on their weights, which are the teacher's here. Our reference policy is
timed beside them, as what runs here by default.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
HORIZON, JOINTS, CAMERAS = 16, 6, ("front", "wrist")
STUDENTS = {"consistency": 2, "onedp": 1}
"""Evaluations by method."""


def observation(image: int, seed: int) -> dict[str, np.ndarray]:
    """Two moments of both cameras and of the joints, in degrees, and the noise to start from."""
    rng = np.random.RandomState(seed)
    seen = {name: rng.randint(0, 256, (2, image, image, 3)).astype(np.uint8) for name in CAMERAS}
    joints = rng.uniform(-40, 40, (2, JOINTS)).astype(np.float32)
    return {**seen, "joints": joints, "noise": rng.standard_normal((1, HORIZON, JOINTS)).astype(np.float32)}


# --- in LeRobot's environment -----------------------------------------------------------------------------------------


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


class Peer:
    """LeRobot in a process of its own."""

    def __init__(self, python: str, path: str, directory: Path, image: int, widths: list[int], threads: int) -> None:
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"OMP_NUM_THREADS": str(threads)}
        if path:
            environment["PYTHONPATH"] = path
        command = [python, __file__, "--peer", str(directory), "--image", str(image), "--widths", *map(str, widths)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.about = self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                answer: dict[str, Any] = json.loads(line)
                return answer
        raise SystemExit("LeRobot ended before it answered")

    def ask(self, kind: str, seed: int) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{kind} {seed}\n")
        self._process.stdin.flush()
        return self._read()

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


# --- here ------------------------------------------------------------------------------------------------------------


def work(path: Path) -> tuple[float, float]:
    """Floating-point operations of a graph's convolutions and products, and the bytes of weights each of them reads."""
    import onnx

    model = onnx.shape_inference.infer_shapes(onnx.load(str(path)))
    sizes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        sizes[value.name] = tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
    constants = {tensor.name for tensor in model.graph.initializer}
    flops = read = 0.0
    for node in model.graph.node:
        if node.op_type in ("Conv", "ConvTranspose"):
            weight, image = sizes[node.input[1]], sizes[node.output[0] if node.op_type == "Conv" else node.input[0]]
            flops += 2 * np.prod(weight) * np.prod(image[2:]) * image[0]
        elif node.op_type in ("Gemm", "MatMul"):
            left, out = sizes[node.input[0]], sizes[node.output[0]]
            flops += 2 * np.prod(out) * left[-1]
        else:
            continue
        if node.input[1] in constants:
            read += 4 * np.prod(sizes[node.input[1]])
    return float(flops), float(read)


def peaks(threads: int) -> tuple[float, float]:
    """What this machine does at best with so many threads: matrix product (FLOP/s), copying (bytes read a second)."""
    import torch

    torch.set_num_threads(threads)
    a, b = torch.rand(2048, 2048), torch.rand(2048, 2048)
    source = torch.rand(64 * 2**20)
    target = torch.empty_like(source)
    gemm = min(timed(lambda: torch.mm(a, b)) for _ in range(8))
    copy = min(timed(lambda: target.copy_(source)) for _ in range(8))
    return 2 * 2048**3 / gemm, source.numel() * 4 / copy


def timed(run: Callable[[], object]) -> float:
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def open_graph(path: Path, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def row(name: str, seconds: list[float], than: float | None = None) -> str:
    ratio = "" if than is None else f"  {than / np.median(seconds):8.2f} × LeRobot's DDIM-10"
    milliseconds = np.array(seconds) * 1e3
    figures = f"median {np.median(milliseconds):10.1f}  worst {milliseconds.max():10.1f} ms  n {len(seconds):3}"
    return f"{name:<44} {figures}{ratio}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lerobot-python", default="", metavar="FILE", help="interpreter that imports lerobot")
    parser.add_argument("--lerobot-path", default="", metavar="DIRS", help="PYTHONPATH for it")
    parser.add_argument("--peer", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--image", type=int, default=96, help="side of both cameras' images (default: 96)")
    parser.add_argument(
        "--widths", type=int, nargs="+", default=[512, 1024, 2048], help="down_dims (default: LeRobot's)"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=5, help="turns; DDPM-100 takes part in the first of them only")
    parser.add_argument("--reference", type=Path, default=Path("models/reference/policy.onnx"))
    arguments = parser.parse_args()
    if arguments.peer is not None:
        peer(arguments.peer, arguments.image, arguments.widths)
        return
    if not arguments.lerobot_python:
        parser.error("--lerobot-python is needed: LeRobot is the peer")
    from export.lerobot.checkpoint import Options, open_lerobot
    from export.lerobot.folding import load
    from export.policy import write
    from export.source import Source
    from learning.distill.lerobot import UnetDenoiser, save

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lerobot = Peer(
            arguments.lerobot_python, arguments.lerobot_path, folder / "checkpoint", arguments.image, arguments.widths,
            arguments.threads,
        )  # fmt: skip
        graphs, students = {}, {}
        for steps in (10, 1):
            source: Source = open_lerobot(
                folder / "checkpoint", Options(units="degrees", hz=30, steps=steps, noise="input")
            )
            write(source, folder / f"ddim{steps}.onnx", cases=1)
            graphs[steps] = open_graph(folder / f"ddim{steps}.onnx", arguments.threads)
        network = load(folder / "checkpoint").network
        for method, evaluations in STUDENTS.items():
            denoiser = UnetDenoiser(network)
            save(folder / "checkpoint", folder / method, denoiser.unet.state_dict(), denoiser, method, 0)
            source = open_lerobot(folder / method, Options(units="degrees", hz=30, steps=evaluations))
            write(source, folder / f"{method}.onnx", cases=1)
            students[method] = open_graph(folder / f"{method}.onnx", arguments.threads)
        print(f"{lerobot.about['parameters'] / 1e6:.1f} M parameters, {arguments.threads} thread(s), "
              f"load {os.getloadavg()[0]:.1f}")  # fmt: skip
        times: dict[str, list[float]] = {}
        scale = np.array([np.pi / 180 * 4095 / 4096] * 5 + [0.01], np.float32)
        ours = open_graph(arguments.reference, arguments.threads)
        dtypes = {"tensor(uint8)": np.uint8, "tensor(int32)": np.int32}
        blank = {
            node.name: np.zeros(node.shape, dtypes.get(node.type, np.float32))
            for node in ours.get_inputs()
        }  # fmt: skip
        for turn in range(arguments.repeat):
            seen = observation(arguments.image, turn)
            answer = lerobot.ask("ddim", turn)
            times.setdefault("theirs", []).append(answer["s"])
            times.setdefault("encoder", []).append(answer["encoder_s"])
            feeds = {n: seen[n][None] for n in CAMERAS} | {"joints": (seen["joints"] * scale)[None]}
            feeds["noise"] = seen["noise"][None]
            for steps, graph in graphs.items():
                begin = time.perf_counter()
                (chunk,) = graph.run(["chunk"], feeds)
                times.setdefault(f"ours{steps}", []).append(time.perf_counter() - begin)
                if steps == 10:
                    wanted = np.array(answer["actions"])[1:] * scale
                    error = np.abs(chunk[0] - wanted).max()
                    if not error < 1e-3:
                        raise SystemExit(f"the graph and LeRobot disagree by {error:.2g} rad")
                    times.setdefault("error", []).append(float(error))
            del feeds["noise"]
            for method, graph in students.items():
                times.setdefault(method, []).append(timed(partial(graph.run, ["chunk"], feeds)))
            times.setdefault("reference", []).append(timed(lambda: ours.run(None, blank)))
            if turn == 0:
                times["ddpm"] = [lerobot.ask("ddpm", turn)["s"]]
        lerobot.close()
        base = float(np.median(times["theirs"]))
        step = [(ten - one) / 9 for ten, one in zip(times["ours10"], times["ours1"], strict=True)]
        print(row("LeRobot, PyTorch, DDPM-100", times["ddpm"], base))
        print(row("LeRobot, PyTorch, DDIM-10", times["theirs"], base))
        print(row("  its encoder, scaling included", times["encoder"]))
        print(row("  its head, a step", [(s - e) / 10 for s, e in zip(times["theirs"], times["encoder"], strict=True)]))
        print(row("our graph, ONNX Runtime fp32, DDIM-10", times["ours10"], base))
        print(row("  its encoder", [one - each for one, each in zip(times["ours1"], step, strict=True)]))
        print(row("  its head, a step", step))
        for method, evaluations in STUDENTS.items():
            print(row(f"our graph, a student of {evaluations}", times[method], base))
        print(row("our reference policy, ONNX Runtime fp32", times["reference"], base))
        gemm, copy = peaks(arguments.threads)
        flops, read = work(folder / "ddim10.onnx")
        seconds = float(np.median(times["ours10"]))
        print(
            f"machine: product of matrices {gemm / 1e9:.0f} GFLOP/s, copy reads {copy / 1e9:.1f} GB/s; our graph: "
            f"{flops / 1e9:.1f} GFLOP, {read / 1e9:.2f} GB of weights, {flops / seconds / gemm:.0%} and "
            f"{read / seconds / copy:.0%} of that"
        )
        print(f"largest difference from LeRobot: {max(times['error']):.1e} rad")


if __name__ == "__main__":
    main()
