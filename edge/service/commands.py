"""`edge serve`, and what is said to it: `edge task | status | stop | clear | resume`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from edge.config import Service as Defaults
from edge.service.client import Client
from edge.service.messages import Request

_SERVE = """\
Keep cameras and models open and do tasks as they are asked for. The arm is switched on for a task and off after it, as
with `edge run`. Nothing is done by itself: after a power loss the half-done task waits for `edge resume`.
"""

_SERVE_MORE = """\
examples:
  edge serve --config /etc/edgearm/config.toml
  edge task "put the red cube on the blue plate"      shows what happens; Ctrl-C leaves the task alone
  edge status                                         what is being done, and how old every sign of life is
  edge stop                                           the arm comes to rest
  edge clear                                          after a fault, once the arm is free and powered
  edge resume                                         go on with the task that was cut short
who may give commands: whoever may open the socket (its group)
"""

_DETACHED = "the task goes on; `edge status --follow` shows it, `edge stop` ends it"


def add(table: Any) -> argparse.ArgumentParser:
    """Adds the subcommands to `edge`'s; returns the parser of `serve`, which takes the machine's options too."""
    raw = argparse.RawDescriptionHelpFormatter
    serve: argparse.ArgumentParser = table.add_parser(
        "serve", help="keep everything open and take tasks from clients", description=_SERVE, epilog=_SERVE_MORE,
        formatter_class=raw,
    )  # fmt: skip
    serve.add_argument("--runs", metavar="DIR", help="where run directories go (default: runs)")
    serve.add_argument("--store", metavar="DIR", help="run the bundle in use there (edge bundle), not --bundle")
    serve.add_argument("--socket", metavar="FILE", help=f"where commands come in (default: {Defaults.socket})")
    serve.set_defaults(run=_serve)

    task = _command(table, "task", _task, "ask the service for a task, and show what happens")
    task.add_argument("text", metavar="TEXT", help='e.g. "put the red cube on the blue plate"')
    task.add_argument("--no-wait", action="store_true", help="return as soon as it is accepted")

    status = _command(table, "status", _status, "what the service is doing")
    status.add_argument("--follow", action="store_true", help="go on showing what happens until the task has ended")
    status.add_argument("--json", action="store_true", help="as one line of JSON")

    _command(table, "stop", _stop, "stop the running task; the arm comes to rest")
    _command(table, "clear", _clear, "let the service take tasks again after a fault")

    resume = _command(table, "resume", _resume, "go on with a task that was cut short")
    resume.add_argument(
        "run_name", nargs="?", default="", metavar="RUN", help="name of its run directory (default: the newest)"
    )
    resume.add_argument("--no-wait", action="store_true", help="return as soon as it is accepted")
    return serve


def _command(table: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = table.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.add_argument(
        "--socket", type=Path, default=Path(Defaults.socket), metavar="FILE", help=f"default: {Defaults.socket}"
    )
    parser.set_defaults(run=run)
    return parser


def _serve(arguments: argparse.Namespace) -> int:
    from edge import config
    from edge.cli import overrides
    from edge.service.start import start
    from edge.tabletop import API

    return start(config.load(arguments.config, overrides(arguments)), API)


def _task(arguments: argparse.Namespace) -> int:
    request = Request("task", text=arguments.text, follow=not arguments.no_wait)
    return _do(arguments.socket, request)


def _resume(arguments: argparse.Namespace) -> int:
    return _do(arguments.socket, Request("resume", run=arguments.run_name, follow=not arguments.no_wait))


def _do(socket: Path, request: Request) -> int:
    with Client(socket) as client:
        print(f"accepted  {client.ask(request)['accepted']}", flush=True)
        return _follow(client) if request.follow else 0


def _follow(client: Client) -> int:
    """Shows what happens; 0 if the task was finished."""
    try:
        for news in client.follow():
            if "line" in news:
                print(news["line"], flush=True)
            elif "ended" in news:
                ended = news["ended"]
                print(f"ended     {'finished' if ended['finished'] else 'not finished'}: {ended['reason']}")
                if ended.get("directory"):
                    print(f"written   {ended['directory']}")
                return 0 if ended["finished"] else 1
    except KeyboardInterrupt:
        print(f"\n{_DETACHED}", file=sys.stderr)
    return 1


def _status(arguments: argparse.Namespace) -> int:
    with Client(arguments.socket) as client:
        told = client.ask(Request("status", follow=arguments.follow))
        if arguments.json:
            print(json.dumps(told))
        else:
            print("\n".join(_lines(told)), flush=True)
        if arguments.follow and told["state"] in ("running", "closing"):
            return _follow(client)
    return 0


def _lines(told: dict[str, Any]) -> list[str]:
    """The status as a person reads it."""
    rows = [("state", told["state"]), ("fault", told["fault"]), ("task", told["task"])]
    if told["task"]:
        rows += [("phase", told["phase"]), ("reason", told["reason"]), ("call", told["call"])]
        rows += [("", f"{call} -> {outcome}") for call, outcome in told["calls"]]
        rows += [("remembers", f"{name} at x {pose[0]:.3f} y {pose[1]:.3f} m") for name, pose in told["places"].items()]
        rows += [("holds", told["carried"])]
    loop = told["loop"]
    if loop:
        late = f"late {loop['late_us']:.0f} µs (p99), {loop['late_max_us']:.0f} µs (max)"
        rows.append(("loop", f"{loop['rate_hz']:.0f} Hz, {late}, {loop['misses']} deadlines missed"))
    rows += [("camera", f"{name}: {age} ms old") for name, age in told["camera_age_ms"].items()]
    rows += [("warning", text) for text in told["warnings"]]
    if told["last"]:
        last = told["last"]
        rows.append(
            ("last", f"{'finished' if last['finished'] else 'not finished'}: {last['reason']}; {last['directory']}")
        )
    rows += [("bundle", f"{told['bundle']}, policy on {told['backend']}"), ("up", f"{told['up_s']:.0f} s")]
    return [f"{name:<9} {text}".replace("\n", "\n          ") for name, text in rows if text]


def _stop(arguments: argparse.Namespace) -> int:
    with Client(arguments.socket) as client:
        stopped = client.ask(Request("stop"))["stopped"]
    print(f"stopping: {stopped}" if stopped else "nothing runs")
    return 0


def _clear(arguments: argparse.Namespace) -> int:
    with Client(arguments.socket) as client:
        cleared = client.ask(Request("clear"))["cleared"]
    print(f"cleared: {cleared}" if cleared else "there was no fault")
    return 0
