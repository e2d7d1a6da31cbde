"""Files that appear all at once or not at all: written aside, on the same disk, and renamed when all are whole."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from export.errors import ExportError

#: What a disk says that takes no more, or not there, whoever is asked.
_FULL = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM),
    *(errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG),
)


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
            flush(scratch / name)
        out.mkdir(exist_ok=True)
        for name in names:
            os.replace(scratch / name, out / name)
    except OSError as error:
        raise_if_unwritable(out, error, "a writable disk with room for the unquantized model beside the result")
        raise
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def staged_graph(out: Path) -> Iterator[Path]:
    """A path to write a graph at; it and its report, the `.json` beside it, move to `out` if the block ends well.

    An older graph stays, with its report, until the new one is whole. What is staged lies in the folder of `out`, which
    may be a disk of its own.

    Raises:
        ExportError: If the disk is full or not writable; nothing of this run is left on it. Or `out` is the report's.
    """
    if out.suffix == ".json":
        fix = f"name the graph: {out.with_suffix('.onnx')}"
        raise ExportError(
            f"{out} is where the report goes", expected="a file such as policy.onnx", got=out.name, fix=fix
        )
    folder = out.parent
    made, scratch = not folder.exists(), None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{out.stem}.", dir=folder))
        draft = scratch / out.name
        yield draft
        _move(draft, out)
    except OSError as error:
        raise_if_unwritable(out, error, "a writable disk with room for the graph")
        raise
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
        if made:
            with suppress(OSError):
                folder.rmdir()  # refused if anything came into it


def raise_if_unwritable(out: Path, error: OSError, expected: str) -> None:
    """Says of an error what to do, if it is one of a disk that takes no more.

    Raises:
        ExportError: If it is.
    """
    if error.errno not in _FULL:
        return
    where = Path(error.filename) if error.filename else out
    raise ExportError(
        f"cannot write {out}",
        expected=expected,
        got=f"{error.strerror or error} ({where.name})",
        fix="free some space or choose another --out; nothing was left behind",
    ) from error


def raise_if_full(path: Path) -> None:
    """Libraries do not always say why a write failed: ask the disk, by writing on where they could not.

    Raises:
        OSError: If nothing more can be written there.
    """
    with path.open("ab") as file:
        file.write(bytes(1 << 20))
        file.flush()
        os.fsync(file.fileno())


def write_whole(path: Path, text: str) -> None:
    """Writes a text file that is there whole or not at all; one that was there stays until then.

    Raises:
        ExportError: The disk is full or not writable, or the name is taken by something else than a file.
    """
    aside: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        aside = Path(name)
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
        mask = os.umask(0)
        os.umask(mask)
        aside.chmod(0o666 & ~mask)
        flush(aside)
        os.replace(aside, path)
    except OSError as error:
        raise ExportError(
            f"cannot write {path}",
            expected="the name of a file on a writable disk with room",
            got=error.strerror or str(error),
            fix="free some space or choose another place; nothing was left behind",
        ) from error
    finally:
        if aside is not None:
            aside.unlink(missing_ok=True)


def swap_in(aside: Path, out: Path) -> None:
    """Renames a directory to `out`; what was there is kept until the new one stands, and removed then.

    Raises:
        OSError: It cannot be renamed; what was there is there again.
    """
    if not out.exists():
        os.rename(aside, out)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{out.name}-old-", dir=out.parent))
    os.rename(out, old / "was")
    try:
        os.rename(aside, out)
    except OSError:
        os.rename(old / "was", out)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _move(draft: Path, out: Path) -> None:
    """Moves a graph and its report; if one cannot be moved, the older report is put back."""
    note, older = out.with_suffix(".json"), draft.with_name(draft.name + ".older")
    for path in (draft, draft.with_suffix(".json")):
        flush(path)
    had = note.exists()
    if had:
        os.replace(note, older)
    try:
        os.replace(draft.with_suffix(".json"), note)
        os.replace(draft, out)
    except OSError:
        note.unlink(missing_ok=True)
        if had:
            os.replace(older, note)
        raise


def flush(path: Path) -> None:
    """What is renamed must be on the disk first, or a power loss leaves an empty file under the new name."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
