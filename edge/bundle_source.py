"""Where a bundle is copied from: a directory, or a tar file of one. Only files that are asked for by name leave it."""

from __future__ import annotations

import contextlib
import lzma
import re
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from edge.errors import BundleError
from edge.manifest import MANIFEST


class Source(Protocol):
    """The files of one bundle, by the names that its manifest uses."""

    name: str
    """A short name, of letters, digits, dot, dash and underscore."""

    def has(self, name: str) -> bool:
        """Whether there is such a file."""

    def size(self, name: str) -> int:
        """In bytes.

        Raises:
            BundleError: There is no such file.
        """

    def copy(self, name: str, directory: Path) -> None:
        """Writes a file into a directory under the same name.

        Raises:
            BundleError: There is no such file, or its name leads out of the bundle.
            OSError: It cannot be read or written.
        """


@contextlib.contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Opens a bundle directory or a tar file (also compressed) that holds one, at its top or in one directory.

    Raises:
        BundleError: It is neither.
    """
    if path.is_dir():
        yield _Directory(path)
        return
    if not path.is_file():
        fix = "pass a bundle directory or a tar file of one"
        raise BundleError(f"no bundle at {path}", expected="a directory or a tar file", got="nothing there", fix=fix)
    try:
        with tarfile.open(path) as archive:
            yield _Archive(path, archive)
    except tarfile.TarError as problem:
        raise BundleError(f"{path} cannot be read", expected="a whole tar file", got=str(problem)) from problem
    except EOFError as problem:
        raise BundleError(f"{path} is cut short", expected="a whole tar file", got=str(problem)) from problem
    except (zlib.error, lzma.LZMAError) as problem:
        raise BundleError(f"{path} is damaged", expected="a whole tar file", got=str(problem)) from problem
    except OSError as problem:
        if problem.errno is not None:
            raise  # the disk's
        raise BundleError(f"{path} is damaged", expected="a whole tar file", got=str(problem)) from problem


class _Directory:
    def __init__(self, path: Path) -> None:
        self.name, self._path = _short(path.resolve().name), path

    def has(self, name: str) -> bool:
        return (self._path / _inside(name)).is_file()

    def size(self, name: str) -> int:
        return self._file(name).stat().st_size

    def copy(self, name: str, directory: Path) -> None:
        with self._file(name).open("rb") as source:
            _write(source, directory / name)

    def _file(self, name: str) -> Path:
        if not self.has(name):
            raise _lacks(name, str(self._path))
        return self._path / name


class _Archive:
    def __init__(self, path: Path, archive: tarfile.TarFile) -> None:
        self._path, self._archive = path, archive
        files = [member for member in archive if member.isfile()]
        tops = [PurePosixPath(member.name).parent for member in files if PurePosixPath(member.name).name == MANIFEST]
        top = min(tops, key=lambda directory: len(directory.parts), default=PurePosixPath())
        self._members = {
            str(PurePosixPath(member.name).relative_to(top)): member
            for member in files
            if PurePosixPath(member.name).is_relative_to(top)
        }
        self.name = _short(top.name or path.name.split(".")[0])

    def has(self, name: str) -> bool:
        return name in self._members

    def size(self, name: str) -> int:
        return self._member(name).size

    def copy(self, name: str, directory: Path) -> None:
        source = self._archive.extractfile(self._member(_inside(name)))
        assert source is not None  # only files are kept
        with source:
            _write(source, directory / name)

    def _member(self, name: str) -> tarfile.TarInfo:
        if name not in self._members:
            raise _lacks(name, str(self._path))
        return self._members[name]


def _inside(name: str) -> str:
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts:
        raise BundleError(f"{MANIFEST} lists a file outside the bundle", got=name, fix="list files by relative names")
    return name


def _write(source: IO[bytes], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as copy:
        shutil.copyfileobj(source, copy, 1 << 20)


def _lacks(name: str, where: str) -> BundleError:
    fix = "copy the whole bundle again, or export it again with `python -m export bundle`"
    return BundleError(f"{where} lacks {name}", expected=name, got="no such file", fix=fix)


def _short(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-") or "bundle"
