"""The run configuration: a file, flags over it, and mistakes that name their remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.config import Loop, RunConfig, load
from edge.errors import ConfigError, PlannerError
from edge.planner import native

EXAMPLE = """
port = "/dev/ttyACM0"
bundle = "reference"
[cameras]
front = "0"
wrist = "http://robot/wrist"
[budgets]
call_s = 20
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "arm.toml"
    path.write_text(EXAMPLE)
    return path


def test_no_file_gives_the_defaults() -> None:
    assert load() == RunConfig()


def test_a_file_is_read_and_its_paths_are_relative_to_it(file: Path) -> None:
    config = load(file)
    assert config.port == "/dev/ttyACM0"
    assert config.cameras.wrist == "http://robot/wrist"
    assert config.budgets.call_s == 20.0
    assert config.budgets.calls == RunConfig().budgets.calls
    assert Path(config.bundle) == file.parent / "reference"


def test_flags_win_and_absent_flags_change_nothing(file: Path) -> None:
    config = load(file, {"port": "/dev/pts/7", "cameras.front": None, "cameras.wrist": "2", "bundle": "elsewhere"})
    assert (config.port, config.cameras.front, config.cameras.wrist) == ("/dev/pts/7", "0", "2")
    assert config.bundle == "elsewhere"


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("prot = 'x'", "port"),
        ("[camera]\nfront = '0'", "cameras"),
        ("[loop]\nrate = 500", "rate_hz"),
        ("[budgets]\ncall = 3", "calls?"),
    ],
)
def test_an_unknown_key_names_the_nearest_one(tmp_path: Path, text: str, near: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"did you mean '{near}") as caught:
        load(path)
    assert "bad.toml" in caught.value.what


def test_a_key_like_nothing_known_lists_what_is(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("xyzzy = 1")
    with pytest.raises(ConfigError, match="unknown key 'xyzzy'") as caught:
        load(path)
    assert "cameras" in caught.value.expected


@pytest.mark.parametrize(
    "text",
    [
        "port = 3",
        "[budgets]\ncalls = 1.5",
        "[budgets]\ncall_s = 0",
        "[loop]\nrate_hz = nan",
        "[loop]\nrate_hz = 50",
        "[loop]\nrate_hz = 1e9",
        "[loop]\nbus_hz = nan",
        "[loop]\npriority = 100",
        "[loop]\ncpu = -1",
        "[loop]\ncpu = 100000",
        "[loop]\ncpu = 1.0",
        "[loop]\nbus_hz = 14",  # three cycles are 214 ms, the watchdog bites after 200
        "[loop]\nwatchdog_ms = 5",
        "[loop]\nwatchdog_ms = nan",
        "cameras = 1",
        "[budgets]\nretries = -1",
    ],
)
def test_a_value_that_cannot_be_used_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert caught.value.got


def test_feedback_may_be_three_bus_cycles_old_and_12_ms_at_least() -> None:
    assert [Loop(bus_hz=hz).feedback_timeout_ns for hz in (100.0, 250.0, 1000.0)] == [
        30_000_000,
        12_000_000,
        12_000_000,
    ]


def test_limits_of_the_loop_that_contradict_each_other_are_both_named() -> None:
    with pytest.raises(ConfigError, match=r"loop.watchdog_ms and loop.bus_hz") as caught:
        RunConfig(loop=Loop(bus_hz=14.0))
    assert "214.286" in caught.value.expected
    assert caught.value.got == "200"


def test_a_mistake_in_the_file_is_found_even_where_a_flag_would_hide_it(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("port = 3")
    with pytest.raises(ConfigError, match="port"):
        load(path, {"port": "/dev/pts/7"})


def test_a_file_that_is_missing_or_not_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        load(tmp_path / "nowhere.toml")
    (tmp_path / "broken.toml").write_text("port = ")
    with pytest.raises(ConfigError, match="not TOML"):
        load(tmp_path / "broken.toml")


def test_whether_the_planner_runs_on_the_gpu_is_one_of_three_words() -> None:
    assert load(None, {"planner.gpu": "off"}).planner.gpu == "off"
    with pytest.raises(ConfigError, match=r"planner\.gpu cannot be used"):
        load(None, {"planner.gpu": "yes"})


@pytest.mark.parametrize(
    ("built", "choice", "used"),
    [(True, "auto", True), (True, "on", True), (True, "off", False), (False, "auto", False), (False, "off", False)],
)
def test_auto_takes_the_gpu_that_llama_cpp_was_built_for(
    monkeypatch: pytest.MonkeyPatch, built: bool, choice: str, used: bool
) -> None:
    monkeypatch.setattr(native, "build_flags", lambda: ("", built))
    assert native.gpu_wanted(choice) is used


def test_on_refuses_to_go_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "build_flags", lambda: ("AVX2", False))
    with pytest.raises(PlannerError, match="GPU") as caught:
        native.gpu_wanted("on")
    assert "GGML_CUDA" in caught.value.fix
