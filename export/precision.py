"""`python -m export precision`: the policy's graph in fp16 or int8, with the error it makes in radians.

The precision is in the graph, where every runtime reads it; newer TensorRT and ONNX Runtime know no other place.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from export.calibration import demonstrations, random_inputs
from export.command import Command
from export.errors import ExportError, ParityError
from export.graph import inputs_of, narrower, read, set_metadata, widen_images
from export.graph import metadata as given
from export.half import to_half
from export.quantize import METHOD, calibrate, quantizable, to_int8
from export.staging import staged_graph

Inputs = dict[str, NDArray[Any]]
PRECISIONS = ("fp32", "fp16", "int8")
CALIBRATED_WITH = 128
CHECKED_WITH = 256
_RANDOM, _UNCHANGED = 64, 8
"""Random inputs, where there are no demonstrations; an fp32 graph only has its casts moved."""
TRIED_WITH = 32
"""Observations of the calibration data by which it is decided which layers become int8."""


@dataclass(frozen=True)
class Tolerance:
    """Largest differences from the fp32 graph: of joint targets in radians (gripper: share of its opening).

    One of the SO-101's servos has steps of 0.0015 rad; 0.01 rad are 3.5 mm at the end of a stretched arm.

    Attributes:
        p99: Of an observation's worst target, exceeded by one observation in a hundred.
        worst: Of any target of any observation.
        finished_p99: The first of the probability.
    """

    p99: float
    worst: float
    finished_p99: float


TOLERANCES = {
    "fp32": Tolerance(1e-4, 1e-4, 1e-4),
    "fp16": Tolerance(2e-3, 5e-3, 0.01),
    "int8": Tolerance(2e-2, 5e-2, 0.15),
}


def convert(
    model: onnx.ModelProto, precision: str, calibration: Sequence[Inputs], check: Sequence[Inputs], source: str = ""
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """An fp32 graph in another precision; names, types and shapes of inputs and outputs stay.

    int8 is chosen layer by layer: each is tried alone, and from the harmless ones on as many are taken as together stay
    within three quarters of the tolerance on the calibration data. The rest stays fp32, and the report says which.

    Args:
        model: The fp32 graph.
        precision: One of `PRECISIONS`.
        calibration: Observations to calibrate int8 with; the others need none.
        check: Other observations, to judge the result by.
        source: Where they come from, for the report.

    Returns:
        The graph with `precision` and what made it in its metadata, and the report.

    Raises:
        ExportError: Unknown precision, no calibration data, or a graph that is not sound, or not fp32.
        ParityError: It differs from the fp32 graph by more than `TOLERANCES`.
    """
    if precision not in PRECISIONS:
        raise ExportError(f"unknown precision {precision!r}", expected=", ".join(PRECISIONS))
    _check_full(model)
    model = widen_images(model)
    report: dict[str, Any] = {"precision": precision}
    typed = model
    if precision == "fp16":
        typed, report["operators"] = to_half(model)
    elif precision == "int8":
        typed, report["operators"] = _integers(model, calibration)
        report["calibration"] = {"method": METHOD, "observations": len(calibration), "source": source}
    metadata = {"precision": precision}
    if "calibration" in report:
        metadata["calibration"] = json.dumps(report["calibration"], sort_keys=True)
    set_metadata(typed, metadata)
    limit = TOLERANCES[precision]
    error = errors(model, typed, check)
    report["error"] = {"than": "the fp32 graph", "observations": len(check), **error}
    report["tolerance"] = asdict(limit)
    for name, got in error.items():
        broken = _broken(name, got, limit)
        if broken:
            raise ParityError(
                f"the {precision} graph differs too much from the fp32 graph in {name!r}",
                expected=broken,
                got=f"p99 {got['p99']:.3g}, worst {got['worst']:.3g} (n = {len(check)})",
                fix="use a wider precision, or calibrate with demonstrations like those it will see",
            )
    return typed, report


def _check_full(model: onnx.ModelProto) -> None:
    """Refuses a graph that is not fp32: what it lost does not come back, and would be measured against itself."""
    said = given(model).get("precision")
    if said not in (None, "fp32"):
        found = said
    elif narrow := narrower(model):
        found = f"{narrow} inside"
    else:
        return
    fix = "give the fp32 graph: `python -m export policy` writes it without --precision"
    raise ExportError("the graph to convert is not fp32", expected="an fp32 graph", got=found, fix=fix)


def errors(reference: onnx.ModelProto, model: onnx.ModelProto, feeds: Sequence[Inputs]) -> dict[str, dict[str, float]]:
    """Median, 99th percentile and worst of the largest difference an observation makes, by output."""
    return _compared(outputs(reference, feeds), outputs(model, feeds))


def outputs(model: onnx.ModelProto, feeds: Sequence[Inputs]) -> list[dict[str, NDArray[Any]]]:
    """What a graph answers, in ONNX Runtime on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in model.graph.output]
    return [dict(zip(names, session.run(names, feed), strict=True)) for feed in feeds]


def _compared(
    expected: Sequence[dict[str, NDArray[Any]]], got: Sequence[dict[str, NDArray[Any]]]
) -> dict[str, dict[str, float]]:
    found = {}
    for name in expected[0]:
        worst = np.array([np.abs(a[name] - b[name]).max() for a, b in zip(expected, got, strict=True)], np.float64)
        found[name] = {
            "median": float(np.median(worst)),
            "p99": float(np.quantile(worst, 0.99)),
            "worst": float(worst.max()) if np.isfinite(worst).all() else float("inf"),
        }
    return found


def _broken(name: str, got: dict[str, float], limit: Tolerance, share: float = 1.0) -> str:
    """The limit that an output breaks, in words; empty if none."""
    if name == "finished":
        within = got["p99"] <= share * limit.finished_p99
        return "" if within else f"99 of 100 probabilities within {limit.finished_p99:g}"
    within = got["p99"] <= share * limit.p99 and got["worst"] <= share * limit.worst
    return "" if within else f"99 of 100 within {limit.p99:g} rad, all within {limit.worst:g} rad"


def _integers(model: onnx.ModelProto, calibration: Sequence[Inputs]) -> tuple[onnx.ModelProto, dict[str, Any]]:
    layers, kept = quantizable(model)
    ranges = calibrate(model, layers, calibration)
    feeds = calibration[:: max(1, len(calibration) // TRIED_WITH)]
    expected = outputs(model, feeds)

    def tried(chosen: list[str]) -> dict[str, dict[str, float]]:
        return _compared(expected, outputs(to_int8(model, chosen, ranges), feeds))

    alone = {layer: tried([layer]) for layer in layers}
    harm = {
        layer: max(error["p99"] for name, error in found.items() if name != "finished")
        for layer, found in alone.items()
    }
    order = sorted(layers, key=lambda layer: (harm[layer], layer))
    count = _as_many_as_fit(order, tried)
    chosen = order[:count]
    for layer in order[count:]:
        kept[layer] = f"alone it costs {harm[layer]:.2g} rad"
    types = {node.name: node.op_type for node in model.graph.node}
    report = {"in int8": {layer: types[layer] for layer in layers if layer in chosen}, "kept in fp32": kept}
    return to_int8(model, chosen, ranges), report


def _as_many_as_fit(order: list[str], tried: Callable[[list[str]], dict[str, dict[str, float]]]) -> int:
    """The most layers, least harmful first, whose common error is within three quarters of the tolerance."""
    fits, breaks = 0, len(order) + 1
    while breaks - fits > 1:
        middle = (fits + breaks) // 2
        found = tried(order[:middle])
        if any(_broken(name, error, TOLERANCES["int8"], 0.75) for name, error in found.items()):
            breaks = middle
        else:
            fits = middle
    return fits


def retype(source: Path, out: Path, arguments: Namespace) -> dict[str, Any]:
    """Gives a graph the precision that the options of `add_arguments` ask for, and notes it in the report beside it.

    Args:
        source: An fp32 graph.
        out: Where the other is written, within `export.staging.staged_graph`; may be the same.
        arguments: The options.

    Returns:
        The report of `convert`.

    Raises:
        ExportError, ParityError: See `convert`.
        OSError: It cannot be written.
    """
    precision, root = arguments.precision, arguments.calibration_data
    model, rng = read(source), np.random.default_rng(0)
    noted = _noted(source.with_suffix(".json"))
    if precision == "int8" and root is None:
        raise ExportError(
            "int8 needs calibration data",
            expected="demonstrations like what the policy will see",
            got="no --calibration-data",
            fix="name a dataset: --calibration-data data/tabletop (`python -m learning.demonstrations` records one)",
        )
    wanted = inputs_of(model)
    calibration: list[Inputs] = []
    if root is None:
        check = [random_inputs(wanted, rng) for _ in range(_RANDOM if precision != "fp32" else _UNCHANGED)]
    else:
        size = wanted["front"][1][1] if "front" in wanted else 0
        check = demonstrations(root, CHECKED_WITH, "check", size=size) if size else []
        found = {name: (value.dtype.name, value.shape) for name, value in check[0].items()} if check else {}
        if found != wanted:
            raise ExportError(
                f"{root} does not show what this policy sees",
                expected=str(wanted),
                got=str(found or "front, wrist, joints, call, goal"),
                fix="calibrate with data of its own robot, or export --precision fp16, which needs none",
            )
        if precision == "int8":
            calibration = demonstrations(root, arguments.observations, "calibrate", size=size)
    typed, report = convert(model, precision, calibration, check, "random inputs" if root is None else str(root))
    onnx.save(typed, out, "protobuf")
    report["bytes"] = out.stat().st_size
    note = json.dumps({**noted, "precision": report, "bytes": report["bytes"]}, indent=2, sort_keys=True)
    out.with_suffix(".json").write_text(note + "\n", encoding="utf-8")
    return report


def _noted(path: Path) -> dict[str, Any]:
    """What the export of the graph noted, if it did."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as problem:
        fix = "export the policy again, or remove the file"
        raise ExportError(f"cannot read {path}", expected="a JSON object", got=str(problem), fix=fix) from problem
    if not isinstance(found, dict):
        fix = "export the policy again, or remove the file"
        raise ExportError(f"{path} is no report", expected="a JSON object", got=type(found).__name__, fix=fix)
    return found


def add_arguments(parser: ArgumentParser) -> None:
    """The options that choose a precision."""
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="of the graph (default: fp32)")
    parser.add_argument(
        "--calibration-data", type=Path, metavar="DIR", help="demonstrations; int8 needs them: data/tabletop"
    )
    parser.add_argument(
        "--observations",
        type=int,
        default=CALIBRATED_WITH,
        metavar="N",
        help="to calibrate with (default: %(default)s)",
    )


def summary(report: dict[str, Any]) -> str:
    """One line: how large a graph that `retype` wrote is, and how far from the fp32 graph."""
    told = ", ".join(
        f"{name} p99 {error['p99']:.2g} worst {error['worst']:.2g}"
        for name, error in report["error"].items()
        if isinstance(error, dict)
    )
    limit = report["tolerance"]
    allowed = f"allowed {limit['p99']:g} and {limit['worst']:g} rad"
    what = f"{report['precision']}, {report['bytes'] / 1e6:.1f} MB"
    return f"{what}: {told} from the fp32 graph (n = {report['error']['observations']}; {allowed})"


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--policy", type=Path, required=True, metavar="FILE", help="an fp32 policy.onnx")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the typed graph")
    add_arguments(parser)


def _run(arguments: Namespace) -> int:
    with staged_graph(arguments.out) as draft:
        report = retype(arguments.policy, draft, arguments)
    print(f"{arguments.out}: {summary(report)}")
    return 0


COMMAND = Command(
    "Give an exported fp32 policy another precision. fp16 keeps softmax, normalisation, geometry and output layers in\n"
    "fp32; int8 is calibrated on demonstrations and takes as many layers as the tolerance allows. The result is\n"
    "compared with the fp32 graph, in radians, on other demonstrations (without any: on random inputs).\n\n"
    "  python -m export precision --policy build/policy/policy.onnx --precision int8 \\\n"
    "      --calibration-data data/tabletop --out build/int8/policy.onnx",
    _arguments,
    _run,
)
