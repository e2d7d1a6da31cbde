"""The store of bundles: whole or not at all, switched in one step, back when a new one does not work."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_policy import write_graph

from edge import store as store_module
from edge.cli import main
from edge.config import Cameras, RunConfig, Service
from edge.errors import BundleError, ConfigError
from edge.machine import wanted_cameras
from edge.manifest import MANIFEST, load
from edge.service import start as start_module
from edge.signature import SIGNATURE
from edge.store import STARTS, BundleStore
from edge.tabletop import API
from export.bundle import build


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two bundles that differ, `a` and `b`."""
    root = tmp_path_factory.mktemp("made")
    for seed, name in enumerate("ab"):
        build(API, write_graph(root / f"{name}.onnx"), root / name, seed=seed)
    return root


@pytest.fixture
def store(tmp_path: Path) -> BundleStore:
    return BundleStore(tmp_path / "store")


def good(store: BundleStore, source: Path) -> str:
    """Installs a bundle and lets it become ready."""
    name = store.install(source)
    store.use(name)
    store.begin_start()
    store.confirm()
    return name


def test_installing_changes_nothing_that_runs(store: BundleStore, made: Path) -> None:
    first = good(store, made / "a")
    second = store.install(made / "b")
    assert store.current().name == first
    assert [(entry.name, entry.current, entry.good) for entry in store.list()] == [
        (first, True, True),
        (second, False, False),
    ]
    load(store.root / "bundles" / second).verify()
    assert store.install(made / "b") == second
    assert len(store.list()) == 2
    assert not list(store.root.glob(".incoming-*"))


@pytest.mark.parametrize("packing", ["tar", "tar.gz"])
@pytest.mark.parametrize("top", ["", "a"])
def test_a_tar_file_is_the_same_bundle(store: BundleStore, made: Path, tmp_path: Path, packing: str, top: str) -> None:
    archive = tmp_path / f"a.{packing}"
    with tarfile.open(archive, "w:gz" if packing.endswith("gz") else "w") as tar:
        tar.add(made / "a", top or ".")
    assert store.install(archive) == store.install(made / "a")


def test_of_a_tar_file_only_what_the_manifest_lists_is_taken(store: BundleStore, made: Path, tmp_path: Path) -> None:
    archive = tmp_path / "evil.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(made / "a", "a")
        for name in ("../outside", "/outside", "a/../../outside", "a/more"):
            member = tarfile.TarInfo(name)
            tar.addfile(member)
        link = tarfile.TarInfo("a/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    name = store.install(archive)
    assert {path.name for path in (store.root / "bundles" / name).iterdir()} == {MANIFEST, "policy.onnx"}
    assert not list(tmp_path.rglob("outside"))


def damaged(made: Path, to: Path, change: Any) -> Path:
    shutil.copytree(made / "a", to)
    change(to)
    return to


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _outside(bundle: Path) -> None:
    text = json.loads((bundle / MANIFEST).read_text())
    text["files"]["../policy.onnx"] = "0"
    (bundle / MANIFEST).write_text(json.dumps(text))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda bundle: _flip(bundle / "policy.onnx"), "policy.onnx"),
        (lambda bundle: (bundle / "policy.onnx").unlink(), "policy.onnx"),
        (lambda bundle: (bundle / MANIFEST).unlink(), MANIFEST),
        (lambda bundle: (bundle / MANIFEST).write_text("{"), "JSON"),
        (_outside, "outside"),
    ],
)
def test_what_is_not_whole_is_refused(store: BundleStore, made: Path, tmp_path: Path, change: Any, what: str) -> None:
    running = good(store, made / "b")
    with pytest.raises(BundleError, match=what):
        store.install(damaged(made, tmp_path / "a", change))
    assert [entry.name for entry in store.list()] == [running]
    assert not list(store.root.glob(".incoming-*"))


def test_half_a_tar_file_is_refused(store: BundleStore, made: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole.tar.gz"
    with tarfile.open(whole, "w:gz") as tar:
        tar.add(made / "a", "a")
    data = whole.read_bytes()
    for share in range(1, 10):
        half = tmp_path / "half.tar.gz"
        half.write_bytes(data[: len(data) * share // 10])
        with pytest.raises(BundleError):
            store.install(half)
    assert store.list() == []


def test_no_file_and_no_bundle_are_refused(store: BundleStore, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no bundle at"):
        store.install(tmp_path / "nothing")
    (tmp_path / "text.tar").write_text("not a tar file")
    with pytest.raises(BundleError, match="cannot be read"):
        store.install(tmp_path / "text.tar")


def test_another_api_is_refused(store: BundleStore, made: Path) -> None:
    with pytest.raises(BundleError, match="another robot API"):
        store.install(made / "a", api_hash="0" * 64)
    assert store.install(made / "a", api_hash=API.hash)


def test_a_disk_without_room_is_seen_before_anything_is_written(
    store: BundleStore, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = good(store, made / "a")
    usage = shutil.disk_usage(store.root)
    monkeypatch.setattr(store_module.shutil, "disk_usage", lambda _: usage._replace(free=1 << 20))
    with pytest.raises(BundleError, match="no room"):
        store.install(made / "b")
    assert store.current().name == running


def test_a_disk_that_fills_half_way_leaves_nothing(
    store: BundleStore, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = good(store, made / "a")

    def full(source: Any, target: Any, length: int = 0) -> None:
        target.write(source.read(100))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("edge.bundle_source.shutil.copyfileobj", full)
    with pytest.raises(BundleError, match="No space left"):
        store.install(made / "b")
    assert [entry.name for entry in store.list()] == [running]
    assert not list(store.root.glob(".incoming-*"))


_KILLED = """
import os, sys
from pathlib import Path
from edge.store import BundleStore
calls = 0
def counted(function):
    def call(*arguments, **more):
        global calls
        calls += 1
        if calls == int(sys.argv[3]):
            os._exit(9)
        return function(*arguments, **more)
    return call
for name in ("rename", "replace", "symlink", "fsync", "unlink"):
    setattr(os, name, counted(getattr(os, name)))
store = BundleStore(Path(sys.argv[1]))
store.use(store.install(Path(sys.argv[2])))
store.begin_start()
store.confirm()
"""


def test_cut_short_at_any_moment_a_whole_bundle_is_in_use(store: BundleStore, made: Path) -> None:
    """Killed at its first, second, … change of the disk until one run gets through all of them."""
    running = good(store, made / "a")
    for moment in range(1, 200):
        command = [sys.executable, "-c", _KILLED, str(store.root), str(made / "b"), str(moment)]
        ended = subprocess.run(command, check=False, capture_output=True).returncode
        assert ended in (0, 9)
        current = store.current()
        load(current).verify()
        if current.name != running:  # then it is on trial, or was confirmed
            path, _ = store.begin_start()
            assert path == current
        if ended == 0:
            break
    assert moment > 10
    assert store.current().name != running
    entries = {entry.name: entry for entry in store.list()}
    assert entries[store.current().name].good
    assert entries[running].previous
    store.install(made / "a")
    assert not list(store.root.glob(".incoming-*"))


def test_a_bundle_that_does_not_become_ready_is_taken_back(store: BundleStore, made: Path) -> None:
    first = good(store, made / "a")
    second = store.install(made / "b")
    store.use(second)
    for start in range(STARTS):
        path, told = store.begin_start()
        assert path.name == second
        assert f"start {start + 1}" in told
    path, told = store.begin_start()
    assert path.name == first == store.current().name
    assert "back to" in told
    assert store.begin_start() == (path, "")


def test_what_the_next_start_will_open_is_known_before_it_is_counted(store: BundleStore, made: Path) -> None:
    with pytest.raises(BundleError, match="no bundle is in use"):
        store.chosen()
    good(store, made / "a")
    store.use(store.install(made / "b"))
    for _ in range(STARTS + 2):
        for _ in range(3):
            chosen = store.chosen()
        assert store.begin_start()[0] == chosen


class _CamerasOpenError(Exception):
    """The service has come so far as to open cameras."""


def start_service(store: BundleStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Starts `edge serve` up to the point where it opens cameras; returns their names."""
    opened: list[tuple[str, ...]] = []

    def open_cameras(config: RunConfig) -> None:
        opened.append(wanted_cameras(config))
        raise _CamerasOpenError

    monkeypatch.setattr(start_module, "open_cameras", open_cameras)
    config = RunConfig(
        port=str(tmp_path / "tty"), cameras=Cameras(front="0", wrist="2"), service=Service(store=str(store.root))
    )
    with pytest.raises(_CamerasOpenError):
        start_module.start(config, API)
    return opened[0]


def test_a_bundle_for_a_camera_that_nobody_named_is_taken_back(
    store: BundleStore, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The names are the bundle's; a camera that has one and does not open is not its fault."""
    first = good(store, made / "a")
    assert start_service(store, tmp_path, monkeypatch) == ("front", "wrist")
    shutil.copytree(made / "b", tmp_path / "other")
    text = (tmp_path / "other" / MANIFEST).read_text()
    (tmp_path / "other" / MANIFEST).write_text(text.replace('"wrist"', '"top"'))
    store.use(store.install(tmp_path / "other"))
    for _ in range(STARTS):
        with pytest.raises(ConfigError, match="--camera top"):
            start_service(store, tmp_path, monkeypatch)
    assert start_service(store, tmp_path, monkeypatch) == ("front", "wrist")  # of the one that it will go back to
    assert store.begin_start()[0].name == first == store.current().name


def test_a_damaged_bundle_is_repaired_by_installing_it_again(store: BundleStore, made: Path) -> None:
    name = good(store, made / "a")
    _flip(store.root / "bundles" / name / "policy.onnx")
    assert store.install(made / "a") == name
    load(store.current()).verify()
    store.install(made / "b")
    assert not list(store.root.glob(".incoming-*"))


def test_who_installs_as_root_leaves_it_readable_for_the_service(store: BundleStore, made: Path) -> None:
    before = os.umask(0o077)
    try:
        good(store, made / "a")
        store.use(store.install(made / "b"))
    finally:
        os.umask(before)
    for path in (*(store.root / "bundles").rglob("*"), store.root / "bundles", store.root / "trial"):
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644), path
    assert (store.root / ".lock").stat().st_mode & 0o777 == 0o644


def test_what_the_services_user_puts_in_a_files_place_is_not_written_to(
    store: BundleStore, made: Path, tmp_path: Path
) -> None:
    """It may own the directory in which root installs."""
    name = store.install(made / "a")
    victim = tmp_path / "shadow"
    victim.write_text("root's")
    (store.root / ".trial").symlink_to(victim)
    store.use(name)
    assert victim.read_text() == "root's"
    (store.root / ".lock").unlink()
    (store.root / ".lock").symlink_to(victim)
    with pytest.raises(BundleError, match="symbolic links"):
        store.use(name)


@pytest.mark.parametrize("packing", ["gz", "xz", "bz2"])
def test_a_damaged_tar_file_is_a_typed_error(store: BundleStore, made: Path, tmp_path: Path, packing: str) -> None:
    archive = tmp_path / f"a.tar.{packing}"
    with tarfile.open(archive, f"w:{packing}") as tar:  # type: ignore[call-overload]
        tar.add(made / "a", "a")
    whole = archive.read_bytes()
    for at in range(20, len(whole), max(1, len(whole) // 60)):
        archive.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        with contextlib.suppress(BundleError):  # a flip in the padding may do no harm
            store.install(archive)


def test_the_first_bundle_has_nothing_to_go_back_to(store: BundleStore, made: Path) -> None:
    store.use(store.install(made / "a"))
    for _ in range(STARTS + 2):
        path, _ = store.begin_start()
    assert path == store.current()
    with pytest.raises(BundleError, match="go back"):
        store.rollback()


def test_rollback_goes_to_the_last_good_one_and_then_to_the_one_before(store: BundleStore, made: Path) -> None:
    first, second = good(store, made / "a"), good(store, made / "b")
    assert store.rollback() == first
    store.begin_start()
    store.confirm()
    assert store.rollback() == second
    assert store.rollback() == first  # the second is on trial again and has not become ready


def test_what_is_needed_is_not_removed(store: BundleStore, made: Path) -> None:
    first, second = good(store, made / "a"), good(store, made / "b")
    with pytest.raises(BundleError, match="in use"):
        store.remove(second)
    store.remove(first)
    assert [entry.name for entry in store.list()] == [second]
    with pytest.raises(BundleError, match="no such bundle"):
        store.use(first)
    with pytest.raises(BundleError, match="go back"):
        store.rollback()


def test_a_bundle_that_was_damaged_in_the_store_is_not_switched_to(store: BundleStore, made: Path) -> None:
    first, second = good(store, made / "a"), store.install(made / "b")
    _flip(store.root / "bundles" / second / "policy.onnx")
    with pytest.raises(BundleError, match="not the file"):
        store.use(second)
    assert store.current().name == first


def sign(bundle: Path, key: Path) -> None:
    command = ["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", str(key), "-in", str(bundle / MANIFEST)]
    subprocess.run([*command, "-out", str(bundle / SIGNATURE)], check=True)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pairs made with the commands that the errors name: `ours` and `theirs`."""
    root = tmp_path_factory.mktemp("keys")
    for name in ("ours", "theirs"):
        private = root / f"{name}.pem"
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(private)], check=True)
        command = ["openssl", "pkey", "-in", str(private), "-pubout", "-out", str(root / f"{name}.pub")]
        subprocess.run(command, check=True)
    return root


def test_with_a_key_only_what_its_holder_signed_is_installed(made: Path, keys: Path, tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    store = BundleStore(tmp_path / "store", keys / "ours.pub")
    bundle = tmp_path / "bundle"
    shutil.copytree(made / "a", bundle)
    with pytest.raises(BundleError, match="not signed"):
        store.install(bundle)
    sign(bundle, keys / "theirs.pem")
    with pytest.raises(BundleError, match="not signed by the holder"):
        store.install(bundle)
    sign(bundle, keys / "ours.pem")
    name = store.install(bundle)
    assert (store.root / "bundles" / name / SIGNATURE).is_file()
    manifest = json.loads((bundle / MANIFEST).read_text())
    (bundle / MANIFEST).write_text(json.dumps(manifest))  # says the same in other bytes
    with pytest.raises(BundleError, match="not signed by the holder"):
        store.install(bundle)
    (keys / "none.pub").write_text("no key")
    with pytest.raises(BundleError, match="not a public key"):
        BundleStore(tmp_path / "other", keys / "none.pub").install(bundle)


@given(
    st.lists(st.sampled_from(["install a", "install b", "use a", "use b", "start", "ready", "rollback"]), max_size=12)
)
@settings(max_examples=60, deadline=None)
def test_whatever_is_done_in_whatever_order_what_runs_is_whole(
    tmp_path_factory: pytest.TempPathFactory, made: Path, steps: list[str]
) -> None:
    store = BundleStore(tmp_path_factory.mktemp("store"))
    names: dict[str, str] = {}
    for step in steps:
        what, _, which = step.partition(" ")
        try:
            if what == "install":
                names[which] = store.install(made / which)
            elif what == "use":
                store.use(names.get(which, which))
            elif what == "start":
                store.begin_start()
            elif what == "ready":
                store.confirm()
            else:
                store.rollback()
        except BundleError:
            pass
        if any(entry.current for entry in store.list()):
            load(store.current()).verify()
        assert sum(entry.good for entry in store.list()) <= 1


def test_the_commands_a_person_uses(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--store", str(tmp_path / "store")]

    def edge(*words: str) -> str:
        assert main(["bundle", *words, *where]) == 0
        return capsys.readouterr().out

    assert "no bundle in" in edge("list")
    name = edge("install", str(made / "a"), "--use").splitlines()[0].split()[-1]
    assert "on trial" in edge("list")
    BundleStore(tmp_path / "store").confirm()
    other = edge("install", str(made / "b")).splitlines()[0].split()[-1]
    assert f"* {name}" in (shown := edge("list"))
    assert f"  {other}" in shown
    assert "switched" in edge("use", other)
    assert name in edge("rollback")
    edge("remove", other)
    assert other not in edge("list")
    assert main(["bundle", "use", other, *where]) == 2
    assert "no such bundle" in capsys.readouterr().err
