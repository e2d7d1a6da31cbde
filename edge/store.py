"""Bundles on a robot: installed whole or not at all, switched in one step, and back when a new one does not work.

    <store>/bundles/<name>-<12 digits of the manifest's sha256>/    never changed once there
    <store>/current     link to the one that runs
    <store>/good        link to the last one that became ready
    <store>/previous    link to the one that was good before it
    <store>/trial       while `current` has not become ready yet: its name and how often it was started

Whatever is cut short at any moment leaves `current` on a whole bundle: a link is replaced by renaming, and a bundle
gets its name only after its files are on the disk and checked.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge import manifest
from edge.bundle_source import open_source
from edge.errors import BundleError
from edge.signature import SIGNATURE, check_signature
from edge.store_marks import BUNDLES, Marks, flush

STORE = Path("/var/lib/edgearm")
STARTS = 2
"""How often a new bundle may be started without becoming ready."""

_INCOMING = ".incoming-"
_RESERVE = 16 << 20
"""Bytes of the disk that an installation leaves free: the journal of a running task must go on."""


@dataclass(frozen=True)
class Installed:
    """A bundle in the store. `good`: it became ready and nothing did after it; `previous`: it was good before."""

    name: str
    path: Path
    bytes: int
    current: bool
    good: bool
    previous: bool


class BundleStore:
    """A directory of bundles. Several processes may use it at once; changes are made one after the other.

    Args:
        root: Made when something is installed.
        key: Public key (PEM) that bundles must be signed with; None to ask for no signature.
    """

    def __init__(self, root: Path = STORE, key: Path | None = None) -> None:
        self.root, self._key = root, key
        self._marks = Marks(root)

    def install(self, source: Path, *, api_hash: str | None = None) -> str:
        """Copies a bundle into the store and leaves what runs as it is.

        Args:
            source: A bundle directory, or a tar file of one.
            api_hash: Of the robot API that runs here; a bundle for another is refused.

        Returns:
            Its name. The same bundle again changes nothing, unless what is in the store was damaged.

        Raises:
            BundleError: It is not whole, not signed, for another API, or the disk has no room for it.
        """
        with _explained(f"{source} cannot be installed"), self._changing(), open_source(source) as files:
            self._clear_away()
            aside = Path(tempfile.mkdtemp(prefix=_INCOMING, dir=self.root))
            try:
                files.copy(manifest.MANIFEST, aside)
                if files.has(SIGNATURE):
                    files.copy(SIGNATURE, aside)
                if self._key is not None:
                    check_signature(aside / manifest.MANIFEST, self._key)
                bundle = manifest.load(aside)
                made_for = bundle.manifest.api_hash
                if api_hash is not None and made_for != api_hash:
                    fix = "export it again with the API of this version"
                    raise BundleError("the bundle is for another robot API", expected=api_hash, got=made_for, fix=fix)
                self._check_room(sum(files.size(name) for name in bundle.manifest.files))
                for name in bundle.manifest.files:
                    files.copy(name, aside)
                bundle.verify()
                name = f"{files.name}-{manifest.sha256(aside / manifest.MANIFEST)[:12]}"
                target = self._bundles / name
                if not _whole(target):
                    _settle(aside)
                    if not self._bundles.is_dir():
                        self._bundles.mkdir()
                        self._bundles.chmod(0o755)
                    if target.exists():  # damaged in the store: this is its repair
                        os.rename(target, self.root / f"{_INCOMING}damaged-{name}")
                    os.rename(aside, target)
                    flush(self._bundles)
                    flush(self.root)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
        return name

    def list(self) -> list[Installed]:
        """What is installed, by name."""
        marks = [self._marks.named(link) for link in ("current", "good", "previous")]
        paths = sorted(path for path in self._bundles.glob("*") if path.is_dir())
        return [
            Installed(
                path.name,
                path,
                sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
                *(path.name == mark for mark in marks),
            )
            for path in paths
        ]

    def current(self) -> Path:
        """The bundle that is to run.

        Raises:
            BundleError: None was chosen.
        """
        name = self._marks.named("current")
        if name is None:
            fix = "edge bundle install DIRECTORY --use"
            raise BundleError(f"no bundle is in use in {self.root}", expected="a chosen bundle", got="none", fix=fix)
        return self._bundles / name

    def use(self, name: str) -> None:
        """Switches to an installed bundle. It is on trial until `confirm`.

        Raises:
            BundleError: It is not there, or its files are not what they were.
        """
        with _explained(f"cannot switch to {name}"), self._changing():
            self._switch(self._known(name))

    def rollback(self) -> str:
        """Goes back: from a bundle on trial to the last good one, from a good one to the one before. Returns its name.

        Raises:
            BundleError: There is none to go back to.
        """
        with _explained("cannot go back"), self._changing():
            current, good = self._marks.named("current"), self._marks.named("good")
            target = good if current != good else self._marks.named("previous")
            if target is None or target == current:
                fix = "`edge bundle list` shows what is there, `edge bundle use NAME` takes one of them"
                raise BundleError("no bundle to go back to", expected="one that was in use before", got="none", fix=fix)
            self._switch(target)
        return target

    def remove(self, name: str) -> None:
        """Deletes a bundle that is neither in use nor what a rollback would need.

        Raises:
            BundleError: It is not there, or it is needed.
        """
        with _explained(f"{name} cannot be removed"), self._changing():
            path = self._bundles / self._known(name)
            for link in ("current", "good"):
                if self._marks.named(link) == name:
                    fix = "switch to another one first: edge bundle use NAME"
                    raise BundleError(f"{name} is in use", expected="one that is not needed", got=link, fix=fix)
            gone = self.root / f"{_INCOMING}gone-{name}"
            os.rename(path, gone)
            shutil.rmtree(gone)
            if self._marks.named("previous") == name:
                self._marks.drop("previous")

    # --- what a service does when it starts ------------------------------------------------------------------------

    def chosen(self) -> Path:
        """The bundle that the next `begin_start` will return. Nothing is counted.

        Raises:
            BundleError: No bundle is in use.
        """
        current, good = self.current(), self._marks.named("good")
        if good is not None and good != current.name and self._marks.starts(current.name) >= STARTS:
            return self._bundles / good
        return current

    def begin_start(self) -> tuple[Path, str]:
        """The bundle to open now; counts the start of one on trial, and goes back if it had its chances.

        Returns:
            The bundle's path, and what to tell the person, empty if there is nothing.

        Raises:
            BundleError: No bundle is in use.
        """
        with _explained("cannot choose a bundle"), self._changing():
            current, chosen = self.current().name, self.chosen()
            starts = self._marks.starts(current)
            if chosen.name != current:
                self._switch(chosen.name)
                return chosen, f"{current} did not become ready in {starts} starts: back to {chosen.name}"
            if current == self._marks.named("good"):
                return chosen, ""
            self._marks.count(current, starts + 1)
            return chosen, f"{current} is on trial, start {starts + 1} of {STARTS}"

    def confirm(self) -> None:
        """The current bundle became ready."""
        with _explained("cannot confirm the bundle"), self._changing():
            current, good = self.current().name, self._marks.named("good")
            if current != good:
                if good is not None:
                    self._marks.put("previous", good)
                self._marks.put("good", current)
            self._marks.drop("trial")

    # --- inside -------------------------------------------------------------------------------------------------

    @property
    def _bundles(self) -> Path:
        return self.root / BUNDLES

    def _known(self, name: str) -> str:
        names = [installed.name for installed in self.list()]
        if name not in names:
            got, fix = name, "edge bundle install DIRECTORY"
            raise BundleError("no such bundle", expected=", ".join(names) or "an installed one", got=got, fix=fix)
        return name

    def _switch(self, name: str) -> None:
        manifest.load(self._bundles / name).verify()
        if name != self._marks.named("good"):
            # First: a trial of what is not current counts for nothing, a current one without a trial would.
            self._marks.count(name, 0)
        self._marks.put("current", name)

    def _check_room(self, size: int) -> None:
        free = shutil.disk_usage(self.root).free
        if free < size + _RESERVE:
            raise BundleError(
                f"{self.root} has no room for the bundle",
                expected=f"{(size + _RESERVE) / 1e6:.0f} MB free",
                got=f"{free / 1e6:.0f} MB",
                fix="remove an old one: edge bundle list, edge bundle remove NAME",
            )

    def _clear_away(self) -> None:
        """What an installation that was cut short left."""
        for path in self.root.glob(f"{_INCOMING}*"):
            shutil.rmtree(path, ignore_errors=True)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        self.root.mkdir(parents=True, exist_ok=True)
        # Read-only: made by an administrator, it serves the service's own user too.
        lock = os.open(self.root / ".lock", os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            with contextlib.suppress(PermissionError):  # somebody else's, and readable then
                os.fchmod(lock, 0o644)
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


@contextlib.contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        fix = "nothing was switched; free space or grant the right, then try again"
        raise BundleError(what, got=f"{problem.filename or ''} {problem.strerror}".strip(), fix=fix) from problem


def _whole(path: Path) -> bool:
    """Whether there is a bundle, and its files are as made."""
    try:
        manifest.load(path).verify()
    except BundleError:
        return False
    return True


def _settle(directory: Path) -> None:
    """Readable for everybody, whatever the umask of who installs it, and on the disk."""
    for path in (*directory.rglob("*"), directory):
        path.chmod(0o755 if path.is_dir() else 0o644)
        flush(path)
