"""Exporting what cannot be exported: every bad checkpoint, prompt and disk ends in a typed error and leaves nothing.

Here: planners of any architecture, and disks (policy graphs: `test_export_disk.py`). LeRobot's checkpoints:
`test_lerobot.py`. Our own planner's rules: `test_export_planner.py`. Calibration data: `test_export_vlm.py` (planner),
`test_precision.py` (policy). What TensorRT lacks, and engines on a full disk: `test_engine_build.py`. Bundles:
`test_bundle.py`; on a robot: `test_store.py`. The report card: `test_card.py`.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from full_disk import files_at_most
from safetensors.torch import load_file, save_file

from export.errors import ExportError
from export.gguf_checkpoint import open_checkpoint
from export.gguf_convert import convert
from export.gguf_quantize import quantize
from export.planner import export_vlm
from export.planner_export import Wish
from export.planner_parity import Limits
from export.policy import write as write_policy
from export.source import Port, Source
from export.vlm_parity import VlmGate
from export.vlm_prompts import Prompt, load_prompts

#: A random model's best tokens are often nearly equal: answers may differ where logits and embeddings may not.
ALIKE = Limits(equal=0.5, logits=0.02, embedding=1e-3)
ANY = Limits(equal=0.0)


def copy(checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint, tmp_path / "copy"))


def reconfigure(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


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


def echo() -> Source:
    """A policy whose chunk is the joints plus constants that take 64 kB on the disk."""
    more = np.zeros((1, 6 * 2730), np.float32)

    def graph() -> onnx.ModelProto:
        ports = [onnx.helper.make_tensor_value_info(n, 1, [1, 6]) for n in ("joints", "chunk")]
        nodes = [
            onnx.helper.make_node("ReduceSum", ["more"], ["sum"], keepdims=0),
            onnx.helper.make_node("Add", ["joints", "sum"], ["chunk"]),
        ]
        constants = [onnx.numpy_helper.from_array(more, "more")]
        body = onnx.helper.make_graph(nodes, "echo", ports[:1], ports[1:], constants)
        return onnx.helper.make_model(body, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)

    joints, chunk = (Port(name, "float32", (1, 6), kind, "radians") for name, kind in (("joints", "a"), ("chunk", "b")))
    return Source(
        "echo",
        lambda joints: (joints,),
        (joints,),
        (chunk,),
        graph,
        lambda rng: {"joints": rng.normal(size=(1, 6)).astype(np.float32)},
        1,
        more.size,
    )


@pytest.mark.parametrize("size", [100, 20_000])
def test_a_disk_that_fills_leaves_no_half_policy(tmp_path: Path, size: int) -> None:
    out = tmp_path / "out/policy.onnx"
    with files_at_most(size), pytest.raises(ExportError, match="cannot write"):
        write_policy(echo(), out)
    assert not out.parent.exists()
    write_policy(echo(), out)
    before = {path.name: path.read_bytes() for path in out.parent.iterdir()}
    assert before.keys() == {"policy.onnx", "policy.json"}
    with files_at_most(size), pytest.raises(ExportError, match="cannot write"):
        write_policy(echo(), out)
    assert {path.name: path.read_bytes() for path in out.parent.iterdir()} == before


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


@pytest.mark.parametrize("surprise", ["shape", "name", "dtype", "nan"])
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
    elif surprise == "dtype":
        weights[name] = weights[name].to(torch.int64)
    else:
        weights[name][0, 0] = torch.nan
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


def test_a_line_ends_where_json_lines_end(prompts: Path) -> None:
    path = prompts.parent / "separators.jsonl"
    path.write_bytes('{"prompt": "one\u2028two\u0085three"}\r\n{"prompt": "four"}\n'.encode())
    assert [prompt.text for prompt in load_prompts(path)] == ["one\u2028two\u0085three", "four"]


def test_a_prompt_longer_than_the_context_is_refused(qwen: Path, tmp_path: Path) -> None:
    files = tmp_path / "t.gguf", tmp_path / "v.gguf"
    convert(qwen, *files)
    with pytest.raises(ExportError, match="too long"):
        VlmGate(qwen, [Prompt("cube " * 200)], context=64).full(files, ALIKE)
