"""LeRobot's policies rebuilt: the same weights give the actions that LeRobot gave (fixtures/lerobot), then a graph."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from lerobot_fixtures import HERE, NAMES, expected, tensors, write_checkpoint
from safetensors.torch import load_file, save_file

from edge.arm import SO101, load_description
from export import sampling
from export.__main__ import main
from export.errors import ExportError
from export.lerobot.checkpoint import Options, open_lerobot
from export.lerobot.diffusion import Diffusion
from export.lerobot.folding import Checkpoint, Folded, load
from export.lerobot.statistics import Affine
from export.lerobot.units import joint_units
from export.policy import write

CLOSE = 1e-5
SAME = Affine(np.ones(6), np.zeros(6))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A diffusion checkpoint as LeRobot saves it: two cameras, two observations."""
    return write_checkpoint("diffusion", tmp_path_factory.mktemp("lerobot") / "diffusion")


def rows(name: str, found: Checkpoint, units: Affine = SAME) -> tuple[Folded, list[torch.Tensor]]:
    """The fixture's observation as the graph takes it, and what folds it."""
    folded = Folded(found, found.network.settings.features, units)
    answers = expected(name)
    keys = {camera: f"seen/{key}" for camera, key in folded.images.items()}
    keys |= {"joints": "seen/observation.state", "environment": "seen/observation.environment_state"}
    values = {port.name: answers[keys[port.name]] for port in folded.ports(found.normal)}
    values["joints"] = (values["joints"] * units.scale + units.shift).astype(np.float32)
    return folded, [torch.from_numpy(v if folded.history == 1 else v[None]) for v in values.values()]


@pytest.mark.parametrize("name", NAMES)
def test_the_network_does_what_lerobot_does(name: str, tmp_path: Path) -> None:
    found = load(write_checkpoint(name, tmp_path / name))
    answers = expected(name)
    folded, values = rows(name, found)
    scale, shift = found.normal.action.scale, found.normal.action.shift
    with torch.no_grad():
        images, state, environment = folded(*values)
        if not isinstance(found.network, Diffusion):
            now = {key: image[:, 0] for key, image in images.items()}
            actions = found.network(now, state[:, 0], None if environment is None else environment[:, 0])[0].numpy()
            assert actions == pytest.approx(answers["act_network"], abs=CLOSE)
            assert actions * scale + shift == pytest.approx(answers["act_actions"], abs=1e-3)
            return
        condition = found.network.condition(images, state, environment)
        # The first steps divide by a signal of a few thousandths and let rounding grow, which differs with the number
        # of threads: one value of 96 was 1.04e-5 away.
        for sampler in ("ddpm", "ddim"):
            noise = torch.from_numpy(answers[f"{sampler}_noise"])
            plan = found.network.sampler(sampler, 10 if sampler == "ddim" else len(noise))
            assert plan.draws == len(noise)

            def denoise(x: torch.Tensor, level: float) -> torch.Tensor:
                return found.network.denoise(x, torch.tensor([level]), condition)

            actions = sampling.sample(denoise, plan, noise)[0].numpy()
            assert actions == pytest.approx(answers[f"{sampler}_network"], abs=2 * CLOSE), sampler
            assert actions * scale + shift == pytest.approx(answers[f"{sampler}_actions"], abs=1e-3)


def test_a_diffusion_graph_answers_like_lerobot_in_our_units(small: Path, tmp_path: Path) -> None:
    source = open_lerobot(small, Options(units="degrees", hz=30, noise="input"))
    report = write(source, tmp_path / "policy.onnx", cases=2)
    assert report["parity"]["worst"] <= 1e-4
    assert report["pace"] == {"target_hz": 30.0, "replan_every": 8, "lead": 0}
    units = joint_units("degrees", SO101, None)
    _, values = rows("diffusion", load(small), units)
    session = onnxruntime.InferenceSession(str(tmp_path / "policy.onnx"))
    shapes = {node.name: node.shape for node in session.get_inputs()}
    assert shapes == {
        "laptop": [1, 2, 64, 80, 3], "phone": [1, 2, 64, 80, 3], "joints": [1, 2, 6], "noise": [1, 1, 16, 6]
    }  # fmt: skip
    answers = expected("diffusion")
    feeds = dict(zip(("laptop", "phone", "joints"), (value.numpy() for value in values), strict=True))
    (chunk,) = session.run(["chunk"], feeds | {"noise": answers["ddim_noise"][None]})
    wanted = answers["ddim_actions"][1:] * units.scale  # from the present on: the first action is of the past
    assert chunk[0] == pytest.approx(wanted, abs=1e-5)
    properties = session.get_modelmeta().custom_metadata_map
    ports = json.loads(properties["inputs"])
    assert [port["kind"] for port in ports[:3]] == ["state/camera/image"] * 2 + ["state/joint/position"]
    assert [port["scaled"] for port in ports[:3]] == ["MEAN_STD", "MEAN_STD", "MIN_MAX"]
    assert properties["target_hz"] == "30"


def test_ddpm_is_unrolled_with_its_noise_kept(small: Path, tmp_path: Path) -> None:
    found = {}
    for seed in (0, 1):
        options = Options(units="degrees", hz=30, sampler="ddpm", steps=3, seed=seed)
        write(open_lerobot(small, options), tmp_path / "policy.onnx", cases=1)
        session = onnxruntime.InferenceSession(str(tmp_path / "policy.onnx"))
        _, values = rows("diffusion", load(small), joint_units("degrees", SO101, None))
        feeds = dict(zip(("laptop", "phone", "joints"), (value.numpy() for value in values), strict=True))
        found[seed] = [session.run(["chunk"], feeds)[0] for _ in range(2)]
        np.testing.assert_array_equal(*found[seed])
    assert np.abs(found[0][0] - found[1][0]).max() > 1e-3


def test_an_act_graph_gives_what_the_loop_takes(tmp_path: Path) -> None:
    directory = write_checkpoint("act", tmp_path / "act")
    assert main(
        ["policy", "--checkpoint", str(directory), "--joint-units", "degrees", "--hz", "50",
         "--out", str(tmp_path / "policy.onnx")]
    ) == 0  # fmt: skip
    _, values = rows("act", load(directory), joint_units("degrees", SO101, None))
    session = onnxruntime.InferenceSession(str(tmp_path / "policy.onnx"))
    (chunk,) = session.run(["chunk"], dict(zip(("top", "wrist", "joints"), (v.numpy() for v in values), strict=True)))
    wanted = expected("act")["act_actions"][:64] * joint_units("degrees", SO101, None).scale
    assert chunk[0] == pytest.approx(wanted, abs=1e-5)
    assert json.loads((tmp_path / "policy.json").read_text())["pace"]["replan_every"] == 48


def calibration(tmp_path: Path) -> Path:
    entries = {
        joint.name: {"id": joint.servo_id, "drive_mode": 0, "homing_offset": 0, "range_min": 1000, "range_max": 3048}
        for joint in load_description(SO101).joints
    }
    (tmp_path / "arm.json").write_text(json.dumps(entries))
    return tmp_path / "arm.json"


def test_joint_units_are_what_the_calibrated_arm_means_by_them(tmp_path: Path) -> None:
    from edge import _core

    path = calibration(tmp_path)
    arm = _core.Arm(SO101, path)
    ends = {"range": (np.full(6, -100.0), np.full(6, 100.0)), "degrees": (np.full(6, -90.0), np.full(6, 90.0))}
    for units, (low, high) in ends.items():
        low[5], high[5] = 0, 100  # of the gripper
        ours = joint_units(units, SO101, path)
        for theirs, tick in ((low, 1000), (high, 3048)):
            assert np.abs(arm.to_ticks(theirs * ours.scale + ours.shift) - tick).max() <= 1, units


def test_statistics_within_the_model_are_those_of_the_files(small: Path, tmp_path: Path) -> None:
    """As LeRobot kept them before there were processors."""
    older = write_checkpoint("diffusion", tmp_path / "older")
    kept = load_file(str(older / "model.safetensors"))
    for path in older.glob("policy_p*_step_*.safetensors"):
        prefix = "normalize_inputs" if "preprocessor" in path.name else "unnormalize_outputs"
        for name, tensor in load_file(str(path)).items():
            key, _, statistic = name.rpartition(".")
            kept[f"{prefix}.buffer_{key.replace('.', '_')}.{statistic}"] = tensor
    for path in older.glob("policy_*"):
        path.unlink()
    save_file(kept, str(older / "model.safetensors"))
    found, wanted = load(older).normal, load(small).normal
    for key, affine in wanted.inputs.items():
        assert found.inputs[key].scale == pytest.approx(affine.scale, rel=1e-6)
        assert found.inputs[key].shift == pytest.approx(affine.shift, rel=1e-6, abs=1e-6)
    assert found.action.scale == pytest.approx(wanted.action.scale, rel=1e-6)


def settings(**changes: Any) -> Callable[[Path], None]:
    def change(directory: Path) -> None:
        path = directory / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def weights_changed(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def apply(directory: Path) -> None:
        found = tensors("diffusion")
        change(found)
        save_file(found, str(directory / "model.safetensors"))

    return apply


def without(name: str) -> Callable[[Path], None]:
    return lambda directory: (directory / name).unlink()


OUT = "diffusion.rgb_encoder.out.weight"
BAD = [
    (settings(type="pi0"), "'pi0'"),
    (settings(vision_backbone="vit_b_16"), "vision_backbone"),
    (settings(prediction_type="v_prediction"), "v_prediction"),
    (settings(beta_schedule="sigmoid"), "sigmoid"),
    (settings(new_trick=True), "new_trick"),
    (settings(use_peft=True), "use_peft"),
    (settings(down_dims=[16, 64]), "does not fit"),
    (settings(normalization_mapping={"VISUAL": "LOG"}), "LOG"),
    (without("model.safetensors"), "lacks model.safetensors"),
    (without("policy_preprocessor.json"), "says nothing of its normalisation"),
    (without("policy_postprocessor.json"), "lacks policy_postprocessor.json"),
    (without("policy_preprocessor_step_3_normalizer_processor.safetensors"), "lacks policy_preprocessor_step_3"),
    (lambda d: (d / "model.safetensors").write_bytes(b"no tensors"), "cannot read"),
    (lambda d: (d / "config.json").write_text("{"), "cannot read"),
    (weights_changed(lambda t: t.pop(OUT)), f"lacks {OUT}"),
    (weights_changed(lambda t: t.update({OUT: torch.zeros(3, 4)})), f"{OUT} in model.safetensors does not fit"),
    (weights_changed(lambda t: t.update({OUT: torch.full((12, 12), torch.nan)})), "not finite"),
    (weights_changed(lambda t: t.update({"diffusion.more": torch.zeros(1)})), "diffusion.more"),
]


@pytest.mark.parametrize(("spoil", "words"), BAD, ids=[words for _, words in BAD])
def test_what_cannot_be_exported_is_named_and_nothing_is_written(
    spoil: Callable[[Path], object], words: str, small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "checkpoint"
    directory.mkdir()
    for path in small.iterdir():
        if path.suffix == ".safetensors":
            (directory / path.name).symlink_to(path)
        else:
            (directory / path.name).write_bytes(path.read_bytes())
    for name in ("model.safetensors", "policy_preprocessor_step_3_normalizer_processor.safetensors"):
        (directory / name).unlink()
        (directory / name).hardlink_to(small / name)
    # A spoiled file replaces its link: the checkpoint that the other tests use stays as it is.
    before = (small / "model.safetensors").stat().st_size
    if "cannot read" in words or words.startswith(("lacks diff", OUT)) or words in ("not finite", "diffusion.more"):
        (directory / "model.safetensors").unlink()
    spoil(directory)
    out = tmp_path / "out" / "policy.onnx"
    arguments = ["policy", "--checkpoint", str(directory), "--joint-units", "degrees", "--hz", "30", "--out", str(out)]
    assert main(arguments) == 2
    assert words in capsys.readouterr().err
    assert not out.parent.exists()
    assert (small / "model.safetensors").stat().st_size == before


def test_what_the_files_do_not_say_is_asked_for(small: Path, tmp_path: Path) -> None:
    for options, words in (
        (Options(hz=30), "in which units"),
        (Options(units="range", hz=30), "needs the arm's calibration"),
        (Options(units="degrees"), "how many targets a second"),
        (Options(units="degrees", hz=30, steps=101), "so many steps"),
        (Options(units="degrees", hz=30, noise="pink"), "pink"),
    ):
        with pytest.raises(ExportError, match=words):
            open_lerobot(small, options)
    open_lerobot(small, Options(units="range", hz=30, calibration=calibration(tmp_path)))


def test_a_setting_that_makes_no_difference_can_be_left_out(small: Path, tmp_path: Path) -> None:
    directory = tmp_path / "newer"
    directory.mkdir()
    for path in small.iterdir():
        (directory / path.name).symlink_to(path)
    (directory / "config.json").unlink()
    (directory / "config.json").write_bytes((HERE / "diffusion" / "config.json").read_bytes())
    settings(new_trick=True)(directory)
    load(directory, ["new_trick"])
