"""A LeRobot diffusion checkpoint and a small dataset to a student, its graph, and what is refused."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from lerobot_fixtures import write_checkpoint

from export import sampling, schedule
from export.errors import ExportError
from export.lerobot.checkpoint import Options, open_lerobot
from export.lerobot.diffusion import Diffusion
from export.lerobot.folding import Checkpoint, load
from export.lerobot.statistics import Affine
from export.policy import write
from learning.distill import frames
from learning.distill.__main__ import main
from learning.distill.consistency import jump
from learning.distill.lerobot import UnetDenoiser, asked_at
from learning.distill.onedp import generate

CAMERAS = ("observation.images.laptop", "observation.images.phone")
LENGTHS, FPS, SIZE = (9, 12, 5), 10, (64, 80)


def picture(camera: int, episode: int, frame: int) -> np.ndarray:
    """One colour that says which it is."""
    return np.full((*SIZE, 3), (60 * camera + 40, 50 * episode + 30, 15 * frame + 20), np.uint8)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three episodes, two in the first file and one in the second, as LeRobot lays them out."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    rows, first = [], 0
    for file, episodes in enumerate(((0, 1), (2,))):
        lengths = [LENGTHS[e] for e in episodes]
        state = rng.uniform(-40, 40, (sum(lengths), 6)).astype(np.float32)
        table = pa.table(
            {
                "observation.state": pa.FixedSizeListArray.from_arrays(pa.array(state.ravel()), 6),
                "action": pa.FixedSizeListArray.from_arrays(pa.array(state.ravel() + 1), 6),
                "episode_index": pa.array(np.repeat(episodes, lengths)),
            }
        )
        path = root / f"data/chunk-000/file-{file:03d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path)
        start = 0
        for episode, length in zip(episodes, lengths, strict=True):
            row = {"episode_index": episode, "length": length, "data/chunk_index": 0, "data/file_index": file}
            row |= {"dataset_from_index": first, "dataset_to_index": first + length}
            for key in CAMERAS:
                row |= {f"videos/{key}/chunk_index": 0, f"videos/{key}/file_index": file}
                row |= {
                    f"videos/{key}/from_timestamp": start / FPS,
                    f"videos/{key}/to_timestamp": (start + length) / FPS,
                }
            rows.append(row)
            start, first = start + length, first + length
        for camera, key in enumerate(CAMERAS):
            video = root / f"videos/{key}/chunk-000/file-{file:03d}.mp4"
            video.parent.mkdir(parents=True, exist_ok=True)
            with av.open(str(video), "w") as container:
                stream = container.add_stream("libx264", rate=FPS, options={"crf": "0", "preset": "ultrafast"})
                stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv444p"
                for episode, length in zip(episodes, lengths, strict=True):
                    for frame in range(length):
                        shown = av.VideoFrame.from_ndarray(picture(camera, episode, frame), format="rgb24")
                        container.mux(stream.encode(shown))
                container.mux(stream.encode(None))
    path = root / "meta/episodes/chunk-000/file-000.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    features = {key: {"dtype": "video", "shape": [*SIZE, 3]} for key in CAMERAS}
    features |= {key: {"dtype": "float32", "shape": [6]} for key in ("observation.state", "action")}
    info = {"codebase_version": "v3.0", "fps": FPS, "features": features}
    (root / "meta/info.json").write_text(json.dumps(info))
    return root


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint("diffusion", tmp_path_factory.mktemp("teacher") / "pretrained_model")


@pytest.fixture(scope="module")
def found(teacher: Path) -> Checkpoint:
    made = load(teacher)
    made.network.requires_grad_(False)
    return made


@pytest.fixture(scope="module")
def denoiser(found: Checkpoint) -> UnetDenoiser:
    assert isinstance(found.network, Diffusion)
    return UnetDenoiser(found.network)


def scaled(affine: Affine, values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy((values * affine.scale + affine.shift).astype(np.float32))


def test_the_denoiser_samples_as_the_export_does(denoiser: UnetDenoiser, found: Checkpoint) -> None:
    network = found.network
    assert isinstance(network, Diffusion)
    condition, noise = torch.randn(1, 2 * (6 + 24)), torch.randn(1, 16, 6)
    wanted = sampling.sample(
        lambda x, level: network.denoise(x, torch.tensor([level]), condition), network.sampler("ddim", 10), noise
    )
    torch.testing.assert_close(denoiser.sample(noise, condition, 10), wanted, rtol=1e-3, atol=1e-4)


def test_frames_are_what_the_policy_is_told(dataset: Path, found: Checkpoint, tmp_path: Path) -> None:
    """Conditions of the stored frames against the network on a history of pictures; both ends of an episode."""
    made = frames.build(found, dataset, tmp_path / "frames")
    assert made.bounds.tolist() == [0, 9, 21, 26]
    network, normal = found.network, found.normal
    assert isinstance(network, Diffusion)
    tables = [pq.read_table(dataset / f"data/chunk-000/file-{file:03d}.parquet") for file in (0, 1)]
    state = np.concatenate([np.stack(table.column("observation.state").to_pylist()) for table in tables])
    for row, (episode, now, before) in {0: (0, 0, 0), 11: (1, 2, 1), 25: (2, 4, 3)}.items():
        start = int(made.bounds[episode])
        images = {}
        for camera, key in enumerate(CAMERAS):
            pixel = normal.inputs[key]
            seen = np.stack([picture(camera, episode, frame) for frame in (before, now)])
            images[key] = scaled(Affine(pixel.scale / 255, pixel.shift), seen).permute(0, 3, 1, 2)[None]
        joints = scaled(normal.inputs["observation.state"], state[[start + before, start + now]])[None]
        with torch.no_grad():
            wanted = network.condition(images, joints)
        condition, actions = made.samples(np.array([row]))
        torch.testing.assert_close(condition, wanted, rtol=0.02, atol=0.05)  # the video's colours are a little off
        first = np.clip(row - 1 + np.arange(16), start, int(made.bounds[episode + 1]) - 1)
        torch.testing.assert_close(actions[0], scaled(normal.action.inverse(), state[first] + 1))
    # 16 actions of which 8 are followed, of two frames seen: the last seven of an episode would mostly be repeats.
    assert made.rows().tolist() == [0, 1, *range(9, 14), 21]
    again = frames.build(found, dataset, tmp_path / "frames")
    np.testing.assert_array_equal(again.known, made.known)


def test_frames_of_another_training_of_the_policy_are_not_taken_for_its_own(
    dataset: Path, found: Checkpoint, tmp_path: Path
) -> None:
    """The same shapes and the same data, but other weights."""
    other = copy.deepcopy(found)
    with torch.no_grad():
        for weight in other.network.parameters():
            weight.mul_(0.5)
    old = np.array(frames.build(other, dataset, tmp_path / "frames").known)
    new = frames.build(found, dataset, tmp_path / "frames").known
    assert not np.allclose(new, old)
    np.testing.assert_array_equal(new, frames.build(found, dataset, tmp_path / "fresh").known)


def test_what_is_no_dataset_of_the_policy_is_refused(dataset: Path, found: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="no dataset at"):
        frames.build(found, tmp_path, tmp_path / "frames")
    info = json.loads((dataset / "meta/info.json").read_text())
    for change, message in (
        ({"codebase_version": "v2.1"}, "another version"),
        ({"features": {**info["features"], "action": {"dtype": "float32", "shape": [7]}}}, "no dataset of this policy"),
    ):
        other = tmp_path / "other"
        (other / "meta").mkdir(parents=True, exist_ok=True)
        (other / "meta/info.json").write_text(json.dumps(info | change))
        with pytest.raises(ExportError, match=message):
            frames.build(found, other, tmp_path / "frames")


@pytest.mark.parametrize("method", ["onedp", "consistency"])
def test_a_student_is_trained_saved_and_exported(
    method: str, dataset: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / method
    command = ["learning.distill", "--checkpoint", str(teacher), "--data", str(dataset), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", [*command, "--method", method, "--steps", "3", "--batch", "4", "--threads", "1"])
    assert main() == 0
    assert main() == 0, "a finished training is opened, and its student saved again"
    before, after = load(teacher).network.state_dict(), load(out / "student").network.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.startswith("unet.") for name in changed)
    evaluations = {"onedp": 1, "consistency": 2}[method]
    options = Options(units="degrees", hz=30, steps=evaluations, noise="input")
    source = open_lerobot(out / "student", options)
    assert write(source, tmp_path / "policy.onnx", cases=4)["evaluations"] == evaluations
    with pytest.raises(ExportError, match="no such number of steps"):
        open_lerobot(out / "student", Options(units="degrees", hz=30, steps=4))
    (out / "student" / "distilled.json").write_text("{}")
    with pytest.raises(ExportError, match=r"what learning\.distill wrote"):
        open_lerobot(out / "student", options)


@pytest.mark.parametrize("method", ["onedp", "consistency"])
def test_the_graph_asks_where_the_student_was_trained(method: str, denoiser: UnetDenoiser, found: Checkpoint) -> None:
    network = found.network
    assert isinstance(network, Diffusion)
    settings = network.settings
    condition, noise = torch.randn(1, 2 * (6 + 24)), torch.randn(2, 1, 16, 6)
    levels = asked_at(denoiser, method)[1 if method == "onedp" else 2]
    noises = schedule.betas(settings.beta_schedule, settings.num_train_timesteps, 1e-4, 0.02)
    plan = schedule.jumps(method, levels, noises, settings.prediction_type, settings.clip_sample_range)
    made = sampling.sample(
        lambda x, level: network.denoise(x, torch.tensor([level]), condition), plan, noise[: plan.draws, 0]
    )
    with torch.no_grad():
        wanted = generate(denoiser, noise[0], condition) if method == "onedp" else jump(denoiser, noise, condition, 10)
    torch.testing.assert_close(made, denoiser.clipped(wanted), rtol=1e-3, atol=1e-4)


def test_an_act_policy_has_nothing_to_distil(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = write_checkpoint("act", tmp_path / "act")
    command = ["learning.distill", "--checkpoint", str(policy), "--data", str(dataset), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", [*command, "--method", "onedp"])
    assert main() == 2
    assert not (tmp_path / "out").exists()
