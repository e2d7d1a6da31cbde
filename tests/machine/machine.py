"""A Debian or Ubuntu with systemd as its first process, in a container: booted, rebooted, cut off."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
PORT = "/dev/ttyACM0"
_PATIENCE_S = 120.0
_RESET = 133  # what systemd-nspawn ends with when the system in it has asked for a reboot


class Machine:
    """What `run.sh` has unpacked, with a disk of its own that outlives its power.

    Args:
        system: The folder of `run.sh`; stays as it is.
        work: Where the disk is.
        devices: Paths on this machine by their names on that one.
    """

    def __init__(self, system: Path, work: Path, devices: Mapping[str, str]) -> None:
        self._wheels, self._devices = system / "wheels", dict(devices)
        self._log = work / "console.log"
        self.disk = work / "disk"
        layers = {"lowerdir": system / "root", "upperdir": work / "changes", "workdir": work / "scratch"}
        for folder in (self.disk, layers["upperdir"], layers["workdir"]):
            folder.mkdir()
        options = ",".join(f"{name}={path}" for name, path in layers.items())
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, self.disk], check=True)
        self._container: subprocess.Popen[bytes] | None = None

    def boot(self) -> None:
        """Power on; returns when all has been started."""
        words = ["systemd-nspawn", "--register=no", "--keep-unit", "--console=pipe", "--boot", "--quiet"]
        words += ["--timezone=off", "--capability=CAP_IPC_LOCK"]
        words += [f"--directory={self.disk}", f"--bind-ro={self._wheels}:/wheels"]
        words += [f"--bind={path}:{name}" for name, path in self._devices.items()]
        with self._log.open("ab") as log:
            self._container = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self.until(self._running, "the machine has booted")

    def reboot(self) -> None:
        """As `systemctl reboot` does."""
        assert self._container is not None
        self.run("systemctl", "reboot")
        assert self._container.wait(_PATIENCE_S) == _RESET, self._log.read_text()[-2000:]
        self.boot()

    def cut_power(self) -> None:
        """Everything on it is gone at once."""
        leader, container = self._leader(), self._container
        assert leader is not None
        assert container is not None
        subprocess.run(["kill", "-KILL", str(leader)], check=True)
        container.wait()

    def run(self, *words: str, user: str = "root", check: bool = True) -> str:
        """Runs a command there; returns what it said.

        Raises:
            AssertionError: It failed, and was to be checked.
        """
        done = self.ask(*words, user=user)
        said = done.stdout + done.stderr
        assert not check or done.returncode == 0, f"{' '.join(words)}: {done.returncode}\n{said}"
        return said

    def ask(self, *words: str, user: str = "root") -> subprocess.CompletedProcess[str]:
        """The same with its exit status."""
        enter = ["nsenter", f"--target={self._leader()}", "--mount", "--uts", "--ipc", "--pid", "--wdns=/"]
        enter += ["env", "-i", "LANG=C.UTF-8", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
        enter += [] if user == "root" else ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
        return subprocess.run([*enter, *words], capture_output=True, text=True, check=False, timeout=900)

    def process(self, inside: int) -> Path:
        """Where this machine keeps what it knows of one of its processes."""
        for path in Path("/proc").glob("[0-9]*/status"):
            with contextlib.suppress(OSError):
                numbers = next(line for line in path.read_text().splitlines() if line.startswith("NSpid:")).split()[1:]
                if len(numbers) > 1 and int(numbers[-1]) == inside and _below(int(numbers[0]), self._leader() or 0):
                    return path.parent
        raise AssertionError(f"no process {inside} in the container")

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Waits for something that has to happen; how long it takes on a busy machine is not the point."""
        end = time.monotonic() + _PATIENCE_S
        while not condition():
            assert time.monotonic() < end, f"never: {what}\n{self._log.read_text()[-2000:]}"
            time.sleep(0.1)

    def close(self) -> None:
        """Power off for good; the disk is gone."""
        if self._container is not None and self._container.poll() is None:
            with contextlib.suppress(AssertionError):
                self.cut_power()
        subprocess.run(["umount", self.disk], check=True)

    def _leader(self) -> int | None:
        assert self._container is not None
        assert self._container.poll() is None, f"the container has ended\n{self._log.read_text()[-2000:]}"
        children = Path(f"/proc/{self._container.pid}/task/{self._container.pid}/children").read_text().split()
        return int(children[0]) if children else None

    def _running(self) -> bool:
        if self._leader() is None:
            return False
        said = self.run("systemctl", "is-system-running", check=False)
        return any(word in said for word in ("running", "degraded"))


class Service:
    """edgearm on such a machine."""

    UNIT = "edgearm.service"

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def tell(self, *words: str, user: str = "root") -> subprocess.CompletedProcess[str]:
        """`edge` with these words."""
        return self.machine.ask("edge", *words, user=user)

    def status(self) -> dict[str, Any]:
        """What it says of itself; empty while it cannot be asked."""
        said = self.tell("status", "--json")
        return json.loads(said.stdout) if said.returncode == 0 else {}

    def property(self, name: str) -> str:
        """What systemd says of the unit."""
        return self.machine.run("systemctl", "show", "--value", f"--property={name}", self.UNIT).strip()

    def journal(self) -> str:
        """What the unit has said since the last boot, and systemd of it."""
        return self.machine.run("journalctl", "--boot", "--unit", self.UNIT, "--output=cat", "--no-pager")

    def idle(self) -> None:
        """Until it takes tasks."""
        self.machine.until(lambda: self.status().get("state") == "idle", "the service is idle")

    def acting(self) -> None:
        """Until a call is being done."""
        self.machine.until(lambda: self.status().get("call", "") != "", "a call is being done")

    def signal(self, name: str) -> None:
        """Sends its process a signal, by the shell's own `kill`: a small system has no other."""
        self.machine.run("sh", "-c", f"kill -{name} {self.property('MainPID')}")

    def main(self) -> Path:
        """Its process, as this machine sees it."""
        return self.machine.process(int(self.property("MainPID")))


def _below(process: int, ancestor: int) -> bool:
    while process > 1:
        if process == ancestor:
            return True
        process = int(Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[1])
    return False
