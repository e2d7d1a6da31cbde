"""The policy in fp32, fp16 and int8 in ONNX Runtime, side by side: time, the error each makes, share of the machine.

    python benchmarks/precision.py models/reference/policy.onnx --calibration-data data/tabletop

All graphs are evaluated in turns on the same observations, on one thread. Shares are of what the machine does at best
(benchmarks/limits.py) and of processor time, so that a busy machine changes them little; the times are by the clock and
do change. The share of the bandwidth counts the weights as stored, each read once.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import onnx

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import limits
from edge.policy.backends.onnx import OnnxBackend
from export.calibration import Inputs, demonstrations
from export.graph import read
from export.precision import CALIBRATED_WITH, CHECKED_WITH, PRECISIONS, convert

PRODUCTS = {"Gemm", "MatMul", "QGemm", "FusedGemm", "FusedMatMul", "MatMulIntegerToFloat"}


def weights(model: onnx.ModelProto) -> int:
    """Bytes of the constants as they are stored."""
    return sum(len(tensor.raw_data) for tensor in model.graph.initializer)


def by_kind(path: Path, feeds: list[Inputs]) -> dict[str, float]:
    """Shares of the time of convolutions, of products and of the rest, as ONNX Runtime's profile has them."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.enable_profiling, options.profile_file_prefix = True, f"{folder}/profile"
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        for feed in feeds:
            session.run(None, feed)
        events = json.loads(Path(session.end_profiling()).read_text())
    spent: dict[str, float] = defaultdict(float)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            kind = event["args"]["op_name"]
            name = "convolutions" if "Conv" in kind else "products" if kind in PRODUCTS else "the rest"
            spent[name] += event["dur"]
    whole = sum(spent.values())
    return {name: time / whole for name, time in sorted(spent.items())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("policy", type=Path, nargs="?", default=Path("models/reference/policy.onnx"))
    parser.add_argument("--calibration-data", type=Path, default=Path("data/tabletop"), metavar="DIR")
    parser.add_argument("--count", type=int, default=300, help="evaluations of each graph (default: %(default)s)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the graphs as DIR/fp16.onnx and so on")
    arguments = parser.parse_args()
    model = read(arguments.policy)
    calibration = demonstrations(arguments.calibration_data, CALIBRATED_WITH, "calibrate")
    check = demonstrations(arguments.calibration_data, CHECKED_WITH, "check")
    asked = limits.work(model)
    with tempfile.TemporaryDirectory() as folder:
        keep = arguments.keep or Path(folder)
        keep.mkdir(parents=True, exist_ok=True)
        reports, backends, stored = {}, {}, {}
        for precision in PRECISIONS:
            typed, reports[precision] = convert(model, precision, calibration, check, str(arguments.calibration_data))
            onnx.save(typed, keep / f"{precision}.onnx")
            backends[precision], stored[precision] = OnnxBackend(keep / f"{precision}.onnx"), weights(typed)
        spent: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
        used: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
        for index in range(arguments.count + 10):
            for precision, backend in backends.items():
                begin, before = time.perf_counter(), time.thread_time()
                backend.run(check[index % len(check)])
                if index >= 10:  # the first ones are warm-up
                    spent[precision].append((time.perf_counter() - begin) * 1e3)
                    used[precision].append((time.thread_time() - before) * 1e3)
        limit = limits.measured(clock=time.thread_time)
        print(f"{backends['fp32'].name}, one thread; {asked.flops / 1e6:.0f} MFLOP an evaluation")
        print(f"this machine, one thread: {limit}\n")
        for precision, times in spent.items():
            p50, p99 = np.percentile(times, [50, 99])
            own = float(np.median(used[precision]))
            error = reports[precision]["error"]["chunk"]
            share = limits.Work(asked.flops, stored[precision])
            print(
                f"{precision}  p50 {p50:6.2f}  p99 {p99:6.2f}  worst {max(times):6.2f} ms, "
                f"processor time p50 {own:5.2f} ms (n = {len(times)})\n      {share.shares(own / 1e3, limit)}, "
                f"weights {stored[precision] / 1e6:.1f} MB\n"
                f"      chunk from fp32: median {error['median']:.1e}, p99 {error['p99']:.1e}, "
                f"worst {error['worst']:.1e} rad (n = {len(check)})"
            )
            shares = by_kind(keep / f"{precision}.onnx", check[:50])
            print("      time in " + ", ".join(f"{name} {share:.0%}" for name, share in shares.items()))
        taken = reports["int8"]["operators"]
        print(f"\nint8: {len(taken['in int8'])} layers; in fp32 stay {len(taken['kept in fp32'])}")


if __name__ == "__main__":
    main()
