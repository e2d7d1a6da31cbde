"""Files that appear all at once or not at all: written aside, on the same disk, and renamed when all are whole."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from export.errors import ExportError

#: What a disk says that takes no more, whoever is asked.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.ENOTDIR)


@contextmanager
def staged(out: Path, names: tuple[str, ...]) -> Iterator[Path]:
    """A folder beside `out` to work in; `names` move from it into `out` if the block ends without an error.

    Other files that the block leaves are thrown away. An older set in `out` stays until the new one is whole.

    Args:
        out: Where the files shall be; made if needed.
        names: Of the files, in the order of moving: what tells that the set is complete comes last.

    Raises:
        ExportError: If the disk is full or not writable; nothing of this run is left on it.
    """
    scratch: Path | None = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
        yield scratch
        for name in names:
            _flush(scratch / name)
        out.mkdir(exist_ok=True)
        for name in names:
            os.replace(scratch / name, out / name)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        where = Path(error.filename) if error.filename else out
        raise ExportError(
            f"cannot write {out}",
            expected="a writable disk with room for the unquantized model beside the result",
            got=f"{error.strerror or error} ({where.name})",
            fix="free some space or choose another --out; nothing was left behind",
        ) from error
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)


def raise_if_full(path: Path) -> None:
    """Libraries do not always say why a write failed: ask the disk, by writing on where they could not.

    Raises:
        OSError: If nothing more can be written there.
    """
    with path.open("ab") as file:
        file.write(bytes(1 << 20))
        file.flush()
        os.fsync(file.fileno())


def _flush(path: Path) -> None:
    """What is renamed must be on the disk first, or a power loss leaves an empty file under the new name."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
