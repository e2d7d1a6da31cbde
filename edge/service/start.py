"""What happens when the service starts: cameras first, then the bundle, and only then is it ready."""

from __future__ import annotations

import dataclasses
import signal
import sys
from pathlib import Path
from types import FrameType

from edge.api import RobotApi
from edge.config import RunConfig
from edge.display import PlainLines
from edge.earlier import found_before
from edge.errors import BundleError, EdgeError
from edge.machine import check_bundle, check_cameras, open_arm, open_cameras, open_models, share_memory
from edge.service.notify import Notifier
from edge.service.service import Service
from edge.store import BundleStore


def start(config: RunConfig, api: RobotApi) -> int:
    """Opens everything, then serves until SIGTERM, SIGINT or SIGHUP; the arm is at rest when it returns.

    A camera that is not there must not count against a new bundle, so the bundle's trial begins when they are open. One
    that the bundle wants and nobody has named does count. What fails ends the process: the service manager starts it
    again, and after `edge.store.STARTS` times the store goes back.

    Returns:
        The process exit status.

    Raises:
        EdgeError: What does not open.
    """
    share_memory()
    notifier = Notifier.from_environment()
    open_arm(config)  # numbers that no loop can do; the arm itself may be switched on later
    store = BundleStore(Path(config.service.store)) if config.service.store else None
    chosen = None
    if store is not None:
        chosen = store.chosen()
        try:
            check_cameras(config)
        except EdgeError:
            store.begin_start()
            raise
    with open_cameras(config) as cameras:
        if store is not None:
            path, told = store.begin_start()
            if path != chosen:
                raise BundleError("another bundle was chosen meanwhile", expected=str(chosen), got=str(path))
            config = dataclasses.replace(
                config, bundle=str(path), service=dataclasses.replace(config.service, store="")
            )
            if told:
                print(f"bundle    {told}", flush=True)
        with open_models(config, api, check_bundle(config, api)) as models:
            service = Service(config, api, models, cameras, notifier, PlainLines(sys.stdout))

            def end(number: int, frame: FrameType | None) -> None:
                service.end()

            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, end)
            if store is not None:
                store.confirm()
            print(f"ready     {models.bundle.path}, policy on {models.policy.backend_name}", flush=True)
            for line in found_before(Path(config.runs), "edge resume"):
                print(line, flush=True)
            service.serve()
    print("ended     the arm is at rest", flush=True)
    return 0
