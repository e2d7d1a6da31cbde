"""What an importance matrix is worth: the same planner quantized with and without one, on cases that it has not seen.

    python benchmarks/importance.py --checkpoint checkpoints/planner --cases cases.npz --calibration others.npz

For each type and both ways: size of the language half, calls equal to PyTorch's, and the mean Kullback–Leibler
divergence of the next token's distribution along PyTorch's answers. The vision half stays at 8 bits, the same in both.
`--write SEED COUNT FILE` draws cases with the trainer's own simulator instead.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from edge.tabletop import API
from export.gguf_convert import convert
from export.gguf_quantize import quantize
from export.planner_gate import RobotGate
from export.planner_parity import Limits

TYPES = ("q8_0", "q6_k", "q5_k_m", "q5_0", "q4_k_m", "q4_0", "iq4_nl", "q3_k_m", "q2_k")
ANY = Limits(equal=0.0)


def write_cases(seed: int, count: int, path: Path) -> None:
    """Situations of every kind with the right call, drawn with another seed than the trainer's."""
    from learning.planner.evaluate import cases
    from learning.planner.pictures import Studio
    from learning.planner.save import save_cases

    studio = Studio(np.random.default_rng([seed, 98]))
    save_cases(path, cases(studio, count, seed))
    studio.close()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", nargs=3, metavar=("SEED", "COUNT", "FILE"))
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--cases", type=Path, help="evaluation")
    parser.add_argument("--calibration", type=Path)
    parser.add_argument("--types", nargs="+", default=TYPES)
    chosen = parser.parse_args()
    if chosen.write:
        write_cases(int(chosen.write[0]), int(chosen.write[1]), Path(chosen.write[2]))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        gate = RobotGate(API, chosen.checkpoint, chosen.cases)
        full = folder / "full.gguf", folder / "full-mmproj.gguf"
        convert(chosen.checkpoint, *full, gate.stamp, vision_type="f32")
        importance = gate.calibrate(full, chosen.calibration)
        vision = folder / "vision.gguf"
        quantize(full[1], vision, "q8_0")
        print(f"{'type':8} {'MB':>6} {'plain':>9} {'KL':>9} {'importance':>11} {'KL':>9}   equal calls of the cases")
        for name in chosen.types:
            rows = []
            for matrix in (None, importance):
                text = folder / f"{name}-{matrix is not None}.gguf"
                quantize(full[0], text, name, matrix)
                rows.append(gate.quantized((text, vision), name, ANY))
            plain, better = rows
            print(
                f"{name:8} {text.stat().st_size / 1e6:6.2f} {plain.equal:5}/{plain.cases} {plain.kl:9.2e} "
                f"{better.equal:7}/{better.cases} {better.kl:9.2e}",
                flush=True,
            )


if __name__ == "__main__":
    main()
