"""Exporting any vision-language model: architectures convert and agree with PyTorch; what does not is refused."""

from __future__ import annotations

import json
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGUFReader
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_vlms import FAMILIES, build_vlm

from export.__main__ import main
from export.errors import ExportError, ParityError
from export.gguf_checkpoint import open_checkpoint
from export.gguf_convert import convert
from export.gguf_importance import Gatherer
from export.gguf_quantize import quantize
from export.llama_vlm import LlamaVlm
from export.planner import MMPROJ_FILE, MODEL_FILE, export_vlm
from export.planner_export import Wish
from export.planner_parity import Limits
from export.torch_vlm import TorchVlm
from export.vlm_parity import VlmGate
from export.vlm_prompts import Prompt, load_prompts

#: A random model's best tokens are often nearly equal: answers may differ where logits and embeddings may not.
ALIKE = Limits(equal=0.5, logits=0.02, embedding=1e-3)
ANY = Limits(equal=0.0)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("vlm")


@pytest.fixture(scope="module")
def prompts(home: Path) -> Path:
    random = np.random.default_rng(0)
    rows: list[dict[str, str]] = [{"prompt": "stack 12 cubes"}]
    for number in range(3):
        name = f"{number}.png"
        Image.fromarray(random.integers(0, 256, (90 + number, 120, 3), dtype=np.uint8)).save(home / name)
        rows.append({"prompt": f"put the red cube {number}\n<image>what is in the picture?\n\nnext:", "image": name})
    path = home / "prompts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def qwen(home: Path) -> Path:
    build_vlm("qwen2_vl", home / "qwen")
    return home / "qwen"


def copy(checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint, tmp_path / "copy"))


def reconfigure(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def stored(path: Path, name: str) -> np.ndarray:
    """The bytes of one tensor."""
    tensor = next(tensor for tensor in GGUFReader(path).tensors if tensor.name == name)
    return np.array(tensor.data).view(np.uint8)


@contextmanager
def files_at_most(size: int) -> Iterator[None]:
    """Writing a file on beyond this size fails, as on a full disk. Python ignores the signal that goes with it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("family", FAMILIES)
def test_an_architecture_exports_and_agrees_with_pytorch(family: str, prompts: Path, tmp_path: Path) -> None:
    build_vlm(family, tmp_path / "checkpoint")
    out = tmp_path / "out"
    wish = Wish("q8_0", limits=ANY)
    report = export_vlm(tmp_path / "checkpoint", prompts, out, wish=wish, answer_tokens=4, full=ALIKE)
    full, small = report["parity"]["full"], report["parity"]["q8_0"]
    assert full["cases"] == small["cases"] == 4
    assert 0 < full["embedding_error"] < 1e-3
    assert full["embedding_error"] < small["embedding_error"] < 0.05
    assert full["kl"] < small["kl"] < 1e-3
    assert report["vision_type"] == "q8_0"
    assert sorted(path.name for path in out.iterdir()) == [MMPROJ_FILE, MODEL_FILE, "planner.json"]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_vision_half_of_other_weights_is_refused(qwen: Path, prompts: Path, tmp_path: Path) -> None:
    changed = copy(qwen, tmp_path)
    weights = load_file(changed / "model.safetensors")
    weights["visual.blocks.0.mlp.fc1.bias"] += 0.01
    save_file(weights, changed / "model.safetensors", metadata={"format": "pt"})
    files = tmp_path / "text.gguf", tmp_path / "vision.gguf"
    convert(changed, *files, vision_type="f32")
    with pytest.raises(ParityError, match="sees something else"):
        VlmGate(qwen, load_prompts(prompts), answer_tokens=2).full(files, ALIKE)


def test_a_tokenizer_named_wrongly_is_refused(qwen: Path, prompts: Path, tmp_path: Path) -> None:
    wish = Wish(pre_tokenizer="gpt-2")
    with pytest.raises(ParityError, match="other tokens"):
        export_vlm(qwen, prompts, tmp_path / "out", wish=wish, full=ALIKE)
    assert list(tmp_path.iterdir()) == []


def test_a_tokenizer_that_is_not_recognised_is_refused(qwen: Path, tmp_path: Path) -> None:
    other = copy(qwen, tmp_path)
    core = json.loads((other / "tokenizer.json").read_text())
    core["pre_tokenizer"] = {"type": "Whitespace"}
    (other / "tokenizer.json").write_text(json.dumps(core))
    with pytest.raises(ExportError, match="does not recognise the tokenizer") as caught:
        convert(other, tmp_path / "t.gguf", tmp_path / "v.gguf")
    assert "--pre-tokenizer" in caught.value.fix


def test_the_gate_says_which_type_would_pass(qwen: Path, prompts: Path, tmp_path: Path) -> None:
    """Full precision equals itself, so f16 text with an f32 vision half always passes; 3 bits do not."""
    wish = Wish("q3_k_s", vision="f32", limits=Limits(equal=1.0))
    with pytest.raises(ParityError, match="does not plan") as caught:
        export_vlm(qwen, prompts, tmp_path / "out", wish=wish, answer_tokens=24, full=ALIKE)
    assert "passes" in caught.value.fix
    assert "no larger" not in caught.value.fix
    assert list(tmp_path.iterdir()) == []


def test_a_target_chooses_the_largest_type_that_fits(qwen: Path, prompts: Path, tmp_path: Path) -> None:
    common = {"answer_tokens": 2, "full": ALIKE}
    large = export_vlm(qwen, prompts, tmp_path / "a", wish=Wish(max_mb=100, limits=ANY), **common)  # type: ignore[arg-type]
    assert large["type"] == "f16"
    total = sum(large["bytes"].values()) / 1e6
    wish = Wish(max_mb=0.6 * total, limits=ANY)
    small = export_vlm(qwen, prompts, tmp_path / "b", wish=wish, **common)  # type: ignore[arg-type]
    assert sum(small["bytes"].values()) / 1e6 <= 0.6 * total
    assert small["type"] == "q8_0"
    assert "f16" in small["why"]
    with pytest.raises(ExportError, match="no type fits") as caught:
        export_vlm(qwen, prompts, tmp_path / "c", wish=Wish(max_mb=0.1, limits=ANY), **common)  # type: ignore[arg-type]
    assert "at least" in caught.value.expected


def test_a_memory_target_is_measured_in_a_process_of_its_own(qwen: Path, prompts: Path, tmp_path: Path) -> None:
    wish = Wish(max_memory_mb=10_000, limits=ANY)
    report = export_vlm(qwen, prompts, tmp_path / "out", wish=wish, answer_tokens=2, full=ALIKE)
    assert report["type"] == "f16"
    assert "MB of memory (f16 " in report["why"]
    with pytest.raises(ExportError, match="of memory"):
        export_vlm(qwen, prompts, tmp_path / "b", wish=Wish(max_memory_mb=1), answer_tokens=2, full=ALIKE)


@pytest.mark.parametrize(
    "wishes",
    [
        {"text": "q9"},
        {"vision": "q9"},
        {"text": "f32"},
        {"text": "q8_0", "max_mb": 5.0},
        {"max_mb": 5.0, "max_memory_mb": 5.0},
        {"max_mb": 0.0},
    ],
)
def test_wishes_that_make_no_sense_are_refused(wishes: dict[str, object]) -> None:
    with pytest.raises(ExportError):
        Wish(**wishes)  # type: ignore[arg-type]


# --- importance matrix ------------------------------------------------------------------------------------------------


def test_importance_is_the_mean_square_of_the_inputs(qwen: Path, tmp_path: Path) -> None:
    """Against PyTorch: the input of the first layer's Q is what its norm gives."""
    files = tmp_path / "t.gguf", tmp_path / "v.gguf"
    convert(qwen, *files, vision_type="f32")
    gatherer = Gatherer()
    with LlamaVlm(files, observer=gatherer.callback) as side:
        pieces, _ = side.start("put the red cube on the plate", None)
    reference, seen = TorchVlm(qwen), list[torch.Tensor]()
    norm = reference.model.model.language_model.layers[0].input_layernorm
    norm.register_forward_hook(lambda module, inputs, output: seen.append(output[0]))
    reference.logits(pieces, None, [0])
    expected = (seen[0].double() ** 2).mean(0).numpy()
    np.testing.assert_allclose(gatherer.result()["blk.0.attn_q.weight"], expected, rtol=0.01)


def test_importance_covers_both_halves_and_changes_what_is_written(qwen: Path, prompts: Path, tmp_path: Path) -> None:
    files = tmp_path / "t.gguf", tmp_path / "v.gguf"
    convert(qwen, *files, vision_type="f32")
    importance = VlmGate(qwen, load_prompts(prompts), answer_tokens=2).importance(files, load_prompts(prompts))
    assert {"blk.1.ffn_down.weight", "v.blk.3.ffn_down.weight"} <= importance.keys()
    assert all((values >= 0).all() and values.max() > 0 for values in importance.values())
    for source, name in zip(files, ("blk.1.ffn_down.weight", "v.blk.3.ffn_down.weight"), strict=True):
        plain, weighted = tmp_path / "plain.gguf", tmp_path / "weighted.gguf"
        quantize(source, plain, "q4_0")
        quantize(source, weighted, "q4_0", importance)
        ours, theirs = (stored(path, name) for path in (plain, weighted))
        assert ours.shape == theirs.shape
        assert (ours != theirs).any()


def test_a_type_that_needs_importance_says_so(qwen: Path, prompts: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="needs an importance matrix") as caught:
        export_vlm(qwen, prompts, tmp_path / "out", wish=Wish("iq2_xs"), answer_tokens=2, full=ALIKE)
    assert "--calibration" in caught.value.fix
    missing = Wish("iq2_xs", calibration=tmp_path / "none.jsonl")
    with pytest.raises(ExportError, match="no prompts"):
        export_vlm(qwen, prompts, tmp_path / "out", wish=missing, answer_tokens=2, full=ALIKE)
    assert list(tmp_path.iterdir()) == []


def test_no_calibration_data_is_an_error() -> None:
    with pytest.raises(ExportError, match="no calibration prompt"):
        Gatherer().result()


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1 << 10, 1 << 20, 3 << 19])
def test_a_disk_that_fills_leaves_nothing_behind(qwen: Path, prompts: Path, tmp_path: Path, size: int) -> None:
    with files_at_most(size), pytest.raises(ExportError, match="cannot write"):
        export_vlm(qwen, prompts, tmp_path / "out", wish=Wish("f16", limits=ANY), answer_tokens=2, full=ALIKE)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_while_quantizing_is_not_taken_for_another_error(qwen: Path, tmp_path: Path) -> None:
    files = tmp_path / "t.gguf", tmp_path / "v.gguf"
    convert(qwen, *files)
    with files_at_most(500_000), pytest.raises(OSError, match="large"):
        quantize(files[0], tmp_path / "small.gguf", "q8_0")


def test_an_older_export_survives_a_failed_one(qwen: Path, prompts: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_vlm(qwen, prompts, out, wish=Wish("f16", limits=ANY), answer_tokens=2, full=ALIKE)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with files_at_most(1 << 20), pytest.raises(ExportError, match="cannot write"):
        export_vlm(qwen, prompts, out, wish=Wish("q8_0", limits=ANY), answer_tokens=2, full=ALIKE)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "preprocessor_config.json", "model.safetensors"])
def test_a_missing_file_is_named(qwen: Path, tmp_path: Path, name: str) -> None:
    folder = copy(qwen, tmp_path)
    (folder / name).unlink()
    with pytest.raises(ExportError, match=r"^no "):
        open_checkpoint(folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_file_cut_short_is_refused(qwen: Path, tmp_path: Path, name: str) -> None:
    folder = copy(qwen, tmp_path)
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ExportError):
        convert(folder, tmp_path / "t.gguf", tmp_path / "v.gguf")


def test_an_unknown_architecture_is_refused(qwen: Path, tmp_path: Path) -> None:
    folder = copy(qwen, tmp_path)
    reconfigure(folder, architectures=["SomethingNewForConditionalGeneration"])
    with pytest.raises(ExportError, match="does not know the") as caught:
        open_checkpoint(folder)
    assert "Qwen2VLForConditionalGeneration" in caught.value.expected


def test_a_text_model_is_refused(qwen: Path, tmp_path: Path) -> None:
    folder = copy(qwen, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    del config["vision_config"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ExportError, match="no vision-language model"):
        open_checkpoint(folder)


@pytest.mark.parametrize("surprise", ["shape", "name", "dtype"])
def test_weights_that_are_not_what_the_configuration_says_are_refused(
    qwen: Path, prompts: Path, tmp_path: Path, surprise: str
) -> None:
    folder = copy(qwen, tmp_path)
    weights = load_file(folder / "model.safetensors")
    name = "visual.blocks.0.mlp.fc1.weight"
    if surprise == "shape":
        weights[name] = weights[name][:-32].contiguous()
    elif surprise == "name":
        weights["visual.blocks.0.mlp.fc9.weight"] = weights.pop(name)
    else:
        weights[name] = weights[name].to(torch.int64)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ExportError):
        export_vlm(folder, prompts, tmp_path / "out", wish=Wish(limits=ANY), answer_tokens=2, full=ALIKE)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "line",
    [
        "",
        "not json",
        "[]",
        '{"image": "0.png"}',
        '{"prompt": "x", "picture": "0.png"}',
        '{"prompt": "<image>"}',
        '{"prompt": "<image><image>", "image": "0.png"}',
        '{"prompt": "x", "image": "missing.png"}',
        '{"prompt": "x", "image": "prompts.jsonl"}',
    ],
)
def test_prompts_that_cannot_be_read_are_refused(prompts: Path, line: str) -> None:
    path = prompts.parent / "bad.jsonl"
    path.write_text(line)
    with pytest.raises(ExportError):
        load_prompts(path)


def test_a_prompt_without_a_place_for_its_picture_shows_it_first(prompts: Path) -> None:
    path = prompts.parent / "first.jsonl"
    path.write_text('{"prompt": "what now?", "image": "0.png"}\n\n')
    (prompt,) = load_prompts(path)
    assert prompt.text == "<image>what now?"
    assert prompt.image is not None
    assert prompt.image.shape == (90, 120, 3)


def test_a_prompt_longer_than_the_context_is_refused(qwen: Path, tmp_path: Path) -> None:
    files = tmp_path / "t.gguf", tmp_path / "v.gguf"
    convert(qwen, *files)
    with pytest.raises(ExportError, match="too long"):
        VlmGate(qwen, [Prompt("cube " * 200)], context=64).full(files, ALIKE)


def test_the_command_line_exports(
    qwen: Path, prompts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["planner", "--checkpoint", str(qwen), "--prompts", str(prompts), "--out", str(tmp_path / "out")]
    short = ["--answer-tokens", "1", "--equal", "0", "--calibration", str(prompts)]
    status = main([*options, *short, "--type", "q4_k_m", "--vision-type", "f16"])
    text = capsys.readouterr()
    if status == 0:
        assert "text q4_k_m, vision f16: asked for, importance matrix of" in text.out
    else:  # a random model may be undecided between two tokens in PyTorch already
        assert status == 3
        assert "full precision does not plan" in text.err
