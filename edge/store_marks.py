"""Which bundle of a store runs, which ran well, how often one on trial was started: small files, replaced by renaming.

The directory may belong to the service's own user while root changes what is in it. So nothing here follows a link
that somebody else has put in a file's place.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

BUNDLES = "bundles"


class Marks:
    """The links `current`, `good` and `previous`, and the file `trial`.

    Args:
        root: The store.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def named(self, link: str) -> str | None:
        """The bundle that a link leads to; None if there is no such link or bundle."""
        try:
            name = Path(os.readlink(self._root / link)).name
        except OSError:
            return None
        return name if (self._root / BUNDLES / name).is_dir() else None

    def put(self, link: str, name: str) -> None:
        """Lets a link lead to a bundle, in one step."""
        part = self._root / f".{link}"
        part.unlink(missing_ok=True)
        os.symlink(Path(BUNDLES) / name, part)
        os.replace(part, self._root / link)
        flush(self._root)

    def drop(self, link: str) -> None:
        """Removes a link, or the trial."""
        (self._root / link).unlink(missing_ok=True)

    def starts(self, name: str) -> int:
        """How often a bundle on trial was started; 0 for one that is not."""
        try:
            trial = json.loads((self._root / "trial").read_text(encoding="utf-8"))
            return int(trial["starts"]) if trial["name"] == name else 0
        except (OSError, ValueError, KeyError, TypeError):
            return 0

    def count(self, name: str, starts: int) -> None:
        """Writes down how often a bundle on trial was started."""
        part = self._root / ".trial"
        part.unlink(missing_ok=True)
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        with open(handle, "w", encoding="utf-8") as stream:
            os.fchmod(handle, 0o644)  # whatever root's umask: the service reads it
            json.dump({"name": name, "starts": starts}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, self._root / "trial")
        flush(self._root)


def flush(path: Path) -> None:
    """A file's bytes, or a directory's entries, onto the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
