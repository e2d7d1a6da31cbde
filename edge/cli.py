"""`edge run | doctor | replay | report | bundle`, and a service with the commands to it."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from edge import bundle_commands
from edge.errors import ConfigError, EdgeError, StuckError
from edge.service import commands as service_commands
from edge.types import BACKENDS

BEGAN = time.monotonic()

_EXAMPLES = """\
examples:
  edge doctor --port /dev/ttyACM0 --front 0 --wrist 2
  edge run --task "put the red cube on the blue plate" --port /dev/ttyACM0 --front 0 --wrist 2
  edge run --task "swap the red cube and the green cube" --config arm.toml
  edge report runs/2026-01-31-120000
  edge replay runs/2026-01-31-120000 --speed 4
exit status: 0 done, 1 the task was given up, 2 something is wrong with the input, the bundle or the machine
"""

_RUN = """\
Do one task. The planner looks at the front camera and writes calls such as pick("red cube"); the policy turns each call
into motion; the control loop keeps it within the arm's limits. Ctrl-C brings the arm to rest.
"""

_RUN_MORE = """\
what a task may say: colours red green blue yellow orange purple; shapes cube, plate
  put the red cube on the blue plate        stack the green cube on the red cube
  swap the red cube and the green cube      put the cube that is nearest to the arm on the plate

examples:
  edge run --task "put the red cube on the blue plate" --port /dev/ttyACM0 --front 0 --wrist 2
  edge run --task "..." --config arm.toml --bundle models/reference --runs /var/log/edge
  edge run --resume --config arm.toml       after a power loss: the task goes on with what was remembered
  python -m learning.sim serve --seed 7     a simulated arm: prints the port and the camera addresses to use here

a configuration file holds the same and more; flags win over it:
  port = "/dev/ttyACM0"
  bundle = "models/reference"
  [cameras]
  front = "0"
  wrist = "http://robot:8080/wrist"
  [budgets]
  call_s = 12
"""


_DOCTOR = """\
Is everything there that a run needs? Without --port it says what is behind each serial port. It reads, and writes only
what --set-id or --lock asks for: that is said first, and read back.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a subcommand; typed errors go to stderr and end with their exit status."""
    arguments = _parser().parse_args(argv)
    try:
        status: int = arguments.run(arguments)
    except StuckError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.stdout.flush()
        os._exit(error.exit_status)  # an orderly end would free what the thread that hangs still uses, or wait for it
    except EdgeError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    except BrokenPipeError:
        return 0
    except OSError as error:  # where one is expected it is typed; of the rest a person wants the system's words
        name = f"{error.filename}: " if error.filename else ""
        print(f"error: {name}{error.strerror or error}", file=sys.stderr)
        return EdgeError.exit_status
    return status


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="edge", description="Runs a hierarchical robot policy on a robot.", epilog=_EXAMPLES, formatter_class=raw
    )
    table = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    run = table.add_parser("run", help="do one task", description=_RUN, epilog=_RUN_MORE, formatter_class=raw)
    run.add_argument("--task", metavar="TEXT", help="what to do, in words")
    run.add_argument(
        "--resume", type=Path, nargs="?", const=True, metavar="RUN_DIR",
        help="instead: go on with a run that did not finish, the newest if none is named",
    )  # fmt: skip
    _machine_options(run)
    run.add_argument("--runs", metavar="DIR", help="where run directories go (default: runs)")
    run.add_argument("--call-seconds", type=float, metavar="S", help="budget of one call (default: 12)")
    run.add_argument("--task-seconds", type=float, metavar="S", help="of a task without a planner (default: 60)")
    run.add_argument(
        "--keep-torque", action="store_true", help="leave the servos on at the end: the arm keeps what it holds"
    )
    run.add_argument("--no-video", action="store_true", help="do not record the front camera")
    run.set_defaults(run=_run)

    doctor = table.add_parser(
        "doctor", help="check bundle, port, arm, cameras and real-time rights; moves nothing",
        description=_DOCTOR, formatter_class=raw,
    )  # fmt: skip
    _machine_options(doctor)
    doctor.add_argument(
        "--set-id", type=int, metavar="N", help="write: the only servo on the bus becomes servo N, and nothing else"
    )
    doctor.add_argument("--lock", action="store_true", help="write: lock what the arm's servos have stored")
    doctor.set_defaults(run=_doctor)

    report = table.add_parser("report", help="sum up a finished run and draw its timeline again")
    report.add_argument("directory", type=Path, metavar="RUN_DIR", help="a directory that `edge run` made")
    report.set_defaults(run=_report)

    replay = table.add_parser("replay", help="show a finished run in the terminal again; moves nothing")
    replay.add_argument("directory", type=Path, metavar="RUN_DIR", help="a directory that `edge run` made")
    replay.add_argument("--speed", type=float, default=1.0, metavar="X", help="times real time (default: 1)")
    replay.set_defaults(run=_replay)

    bundle_commands.add(table)
    _machine_options(service_commands.add(table))
    return parser


def _machine_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file with any of these and more")
    parser.add_argument("--arm", metavar="FILE", help="description of the arm (default: the SO-101)")
    parser.add_argument("--port", metavar="TTY", help="serial port of the arm; on CAN also an interface, e.g. can0")
    parser.add_argument("--calibration", metavar="FILE", help="the arm's LeRobot calibration, as LeRobot wrote it")
    parser.add_argument("--front", metavar="CAMERA", help="fixed camera: V4L2 index, device path or URL")
    parser.add_argument("--wrist", metavar="CAMERA", help="camera on the gripper: likewise")
    parser.add_argument(
        "--camera", action="append", default=[], metavar="NAME=CAMERA", help="one that a policy calls by another name"
    )
    parser.add_argument("--bundle", metavar="DIR", help="what to run (default: models/reference)")
    parser.add_argument("--backend", choices=BACKENDS, help="what runs the policy (default: auto)")


def overrides(arguments: argparse.Namespace) -> dict[str, object]:
    """What flags say of the configuration, by dotted name; None where they say nothing."""
    named = dict(camera.partition("=")[::2] for camera in getattr(arguments, "camera", None) or ())
    if not all(named.values()):
        raise ConfigError("--camera cannot be used", expected="NAME=CAMERA", got=", ".join(named))
    return {
        **{f"cameras.named.{name}": address for name, address in named.items()},
        "arm": arguments.arm,
        "port": arguments.port,
        "calibration": arguments.calibration,
        "cameras.front": arguments.front,
        "cameras.wrist": arguments.wrist,
        "bundle": arguments.bundle,
        "policy.backend": arguments.backend,
        "runs": getattr(arguments, "runs", None),
        "budgets.task_s": getattr(arguments, "task_seconds", None),
        "budgets.call_s": getattr(arguments, "call_seconds", None),
        "loop.keep_torque": getattr(arguments, "keep_torque", False) or None,
        "service.socket": getattr(arguments, "socket", None),
        "service.store": getattr(arguments, "store", None),
    }


def _run(arguments: argparse.Namespace) -> int:
    from edge import config
    from edge.earlier import Which
    from edge.session import run_task
    from edge.tabletop import API

    settings = config.load(arguments.config, overrides(arguments))
    resume = Which.NEWEST if arguments.resume is True else arguments.resume
    video = not arguments.no_video
    return run_task(settings, arguments.task, API, began=BEGAN, video=video, resume=resume).exit_status


def _doctor(arguments: argparse.Namespace) -> int:
    from edge import config
    from edge.doctor import examine, set_up
    from edge.tabletop import API

    given = overrides(arguments)
    if arguments.config is None and not any(given.values()) and config.INSTALLED.is_file():
        arguments.config = config.INSTALLED
        print(f"note   nothing was named: this is about the service's {config.INSTALLED}")
    settings = config.load(arguments.config, given)
    if arguments.set_id is not None or arguments.lock:
        return set_up(settings, id=arguments.set_id, lock=arguments.lock)
    return examine(settings, API)


def _report(arguments: argparse.Namespace) -> int:
    from edge.report.directory import report

    for line in report(arguments.directory).lines():
        print(line)
    return 0


def _replay(arguments: argparse.Namespace) -> int:
    from edge.replay import replay

    return replay(arguments.directory, arguments.speed)


if __name__ == "__main__":
    sys.exit(main())
