"""python -m firmware_bridge.emulators so101 | mcu | line | slcan | damiao: devices on ptys, for any client of such."""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import signal
import sys
import time
from pathlib import Path

from firmware_bridge.arm_table import read_description
from firmware_bridge.emulators.can_bus import CanBus, EchoNode
from firmware_bridge.emulators.damiao import MODELS, bench_arm
from firmware_bridge.emulators.damiao_port import DamiaoPort
from firmware_bridge.emulators.faults import SYNTAX, FaultError, FaultPlan
from firmware_bridge.emulators.faulty_port import FaultyPort
from firmware_bridge.emulators.framing import SPLITTERS
from firmware_bridge.emulators.kinematics import KinematicServos
from firmware_bridge.emulators.mcu_process import SO101_ARM, McuProcess
from firmware_bridge.emulators.process import SO101_IDS, BusProcess
from firmware_bridge.emulators.slcan import STYLES, SlcanAdapter
from firmware_bridge.emulators.slcan_ports import SlcanPorts
from firmware_bridge.emulators.watch import Watch

_PERIOD_S = 0.004
_LOOK_S, _COUNT_S = 0.1, 1.0


def run_so101(link: Path | None, faults: FaultPlan, quiet: bool) -> None:
    """The servos of an arm, until Ctrl-C."""
    with BusProcess(SO101_IDS, link=link, faults=faults) as bus, contextlib.suppress(KeyboardInterrupt):
        print(f"servos {', '.join(map(str, SO101_IDS))} on {link or bus.port} at 1 Mbps; Ctrl-C ends", flush=True)
        _say(faults)
        servos, watch = KinematicServos(bus.block), Watch(bus.block)
        start_s = due_s = look_s = time.monotonic()
        while bus.running:
            servos.step(_PERIOD_S)
            if due_s >= look_s and not quiet:
                look_s += _LOOK_S
                for line in watch.lines(time.monotonic() - start_s):
                    print(line, flush=True)
            due_s += _PERIOD_S
            time.sleep(max(0.0, due_s - time.monotonic()))


def run_mcu(
    arm: Path,
    calibration: Path | None,
    link: Path | None,
    faults: FaultPlan,
    upward: FaultPlan,
    pace: float,
    quiet: bool,
) -> None:
    """A bridge microcontroller and its servos, until Ctrl-C. Lines on standard input push its buttons."""
    description = read_description(arm)
    if "servo" not in description:
        raise ValueError(f"--arm {arm}: the description of an arm with Feetech servos; this one has none")
    ids = [joint["servo_id"] for joint in description["joints"]]
    with (
        McuProcess(arm, ids, calibration=calibration, link=link, faults=faults, upward_faults=upward, pace=pace) as mcu,
        contextlib.suppress(KeyboardInterrupt),
    ):
        print(
            f"bridge microcontroller, servos {', '.join(map(str, ids))}, on {link or mcu.port}; Ctrl-C ends", flush=True
        )
        print("S and Enter: emergency stop, R: let go of it, H: hang, P: power dip", flush=True)
        _say(faults)
        _say(upward)
        watch, start_s, listened = Watch(mcu.block), time.monotonic(), [sys.stdin.fileno()]
        while mcu.running:
            if select.select(listened, [], [], _LOOK_S)[0]:
                pushed = os.read(listened[0], 64)
                listened = listened if pushed else []
                mcu.push(bytes(byte for byte in pushed.upper() if byte in b"SRHP"))
            for line in watch.lines(time.monotonic() - start_s) if not quiet else ():
                print(line, flush=True)


def run_line(behind: str, link: Path | None, faults: FaultPlan, protocol: str) -> None:
    """A faulty line in front of a port, until Ctrl-C or until the port is gone."""
    with FaultyPort(behind, faults, protocol, link) as line, contextlib.suppress(KeyboardInterrupt):
        print(f"{link or line.port} leads to {behind}, {protocol} frames; Ctrl-C ends", flush=True)
        _say(faults)
        shown: dict[str, dict[str, int]] = {}
        while not line.gone:
            time.sleep(_COUNT_S)
            counts = {name: dict(way.counts) for name, way in line.lines.items() if way.counts}
            if counts != shown:
                shown = counts
                texts = (f"{name}: {', '.join(f'{k} {n}' for k, n in c.items())}" for name, c in counts.items())
                print("; ".join(texts), flush=True)
        print(f"{behind} is gone: {line.gone}", flush=True)


def run_slcan(link: Path | None, adapters: int, style: str) -> None:
    """CAN adapters on one bus, until Ctrl-C. One alone has a node to talk to, as nobody else would acknowledge it."""
    bus = CanBus()
    made = [SlcanAdapter(bus, style) for _ in range(adapters)]
    if adapters == 1:
        bus.nodes.append(EchoNode())
    links = [] if link is None else [link, *(link.with_name(f"{link.name}-{n}") for n in range(2, adapters + 1))]
    with SlcanPorts(bus, made, links) as served, contextlib.suppress(KeyboardInterrupt):
        for path in links or served.ports:
            print(f"slcan adapter ({style}) on {path}", flush=True)
        echo = "; a node sends every data frame back with the lowest bit of its identifier turned over"
        print(f"one CAN bus{echo if adapters == 1 else ''}; Ctrl-C ends", flush=True)
        while True:
            signal.pause()


def run_damiao(link: Path | None, style: str, wrong_limits: list[int], missing: list[int]) -> None:
    """The motors of a CAN arm behind an adapter, until Ctrl-C."""
    settings = bench_arm({id: MODELS["DM4310"]._replace(velocity=45.0) for id in wrong_limits})
    settings = [setting for setting in settings if setting.id not in missing]
    with DamiaoPort(settings, style, link) as port, contextlib.suppress(KeyboardInterrupt):
        ids = ", ".join(f"{setting.id} (answers as {setting.master_id})" for setting in settings)
        print(f"Damiao motors {ids} behind an slcan adapter ({style}) on {link or port.port}; Ctrl-C ends", flush=True)
        while True:
            signal.pause()


def _say(faults: FaultPlan) -> None:
    if faults.faults:
        print(f"goes wrong, seed {faults.seed}: {'; '.join(map(str, faults.faults))}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m firmware_bridge.emulators", description="Emulates devices on ptys; point any client at them."
    )
    kinds = parser.add_subparsers(dest="device", required=True, metavar="DEVICE")
    plain = argparse.RawDescriptionHelpFormatter
    so101 = kinds.add_parser(
        "so101",
        help="an arm: six STS3215 with ids 1 to 6, Feetech protocol, 1 Mbps; they carry nothing",
        epilog=SYNTAX,
        formatter_class=plain,
    )
    mcu = kinds.add_parser(
        "mcu",
        help="the microcontroller of docs/bridge-protocol.md, with an arm of such servos behind it",
        epilog=SYNTAX,
        formatter_class=plain,
    )
    mcu.add_argument("--arm", type=Path, default=SO101_ARM, metavar="FILE", help="the arm's description")
    mcu.add_argument("--calibration", type=Path, metavar="FILE", help="LeRobot's, if the computer has one")
    mcu.add_argument(
        "--upward-fault", action="append", default=[], help="as --fault, on the line to the computer; may be repeated"
    )
    mcu.add_argument("--pace", type=float, default=1.0, help="device seconds in a second, at most 1; 1 unless told")
    for kind in (so101, mcu):
        kind.add_argument("--quiet", action="store_true", help="say nothing but the port")
    line = kinds.add_parser(
        "line",
        help="a line on which things go wrong, in front of a port",
        description="Makes a pty whose bytes go to and from PORT, real or emulated, with faults on the way.",
        epilog=SYNTAX,
        formatter_class=plain,
    )
    line.add_argument("port", metavar="PORT", help="where it leads")
    line.add_argument("--protocol", choices=SPLITTERS, default="feetech", help="what is spoken: where frames end")
    slcan = kinds.add_parser("slcan", help="USB adapters on a CAN bus, which speak slcan")
    slcan.add_argument(
        "--adapters", type=int, default=1, help="how many, on one bus; one alone meets a node that echoes"
    )
    slcan.add_argument("--style", choices=STYLES, default=STYLES[0], help="whose firmware they behave like")
    damiao = kinds.add_parser("damiao", help="a CAN arm: six Damiao motors behind a USB adapter that speaks slcan")
    damiao.add_argument("--style", choices=STYLES, default=STYLES[0], help="whose firmware the adapter behaves like")
    damiao.add_argument(
        "--wrong-limits", type=int, nargs="+", default=[], metavar="ID", help="motors with other limits"
    )
    damiao.add_argument("--missing", type=int, nargs="+", default=[], metavar="ID", help="motors that are not there")
    for kind in (so101, mcu, line):
        kind.add_argument("--fault", action="append", default=[], help="what goes wrong, see below; may be repeated")
        kind.add_argument("--seed", type=int, default=0, help="which frames it happens to follows from this number")
    for kind in (so101, mcu, line, slcan, damiao):
        kind.add_argument("--link", type=Path, help="also make this symbolic link to the pty, e.g. /tmp/so101")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that the link is removed
    try:
        if arguments.device == "slcan":
            if arguments.adapters < 1:
                parser.error(f"--adapters {arguments.adapters}: 1 or more")
            run_slcan(arguments.link, arguments.adapters, arguments.style)
            return
        if arguments.device == "damiao":
            run_damiao(arguments.link, arguments.style, arguments.wrong_limits, arguments.missing)
            return
        faults = FaultPlan.of(arguments.fault, arguments.seed)
        if arguments.device == "line":
            if faults.on_servos:
                parser.error(f"--fault {faults.on_servos[0]}: happens to servos, not on a line")
            run_line(arguments.port, arguments.link, faults, arguments.protocol)
        elif arguments.device == "mcu":
            upward = FaultPlan.of(arguments.upward_fault, arguments.seed)
            a = arguments
            run_mcu(a.arm, a.calibration, a.link, faults, upward, a.pace, a.quiet)
        else:
            run_so101(arguments.link, faults, arguments.quiet)
    except FaultError as error:
        parser.error(f"--fault: {error}")
    except (OSError, ValueError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
