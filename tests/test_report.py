"""What a run leaves behind: the log, the figures, the timeline and the video."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.display import PlainLines, panel
from edge.errors import CameraError, ConfigError
from edge.motion import Motion
from edge.recorder import CAPTION, PICTURE, VideoRecorder, caption
from edge.report.directory import draw_apart, report
from edge.report.timeline import MOTION, TIMELINE, save_motion
from edge.run_log import LOG, RunLog, read_log
from edge.status import Status
from edge.types import Frame

SECOND = 1_000_000_000
TASK = "swap the red cube and the green cube"


def write_run(directory: Path) -> None:
    """A short run: a missed grasp, a good one, a refused chunk, and the end."""
    with RunLog(directory) as log:
        log.write("start", 0, config={})
        log.write("task", 1 * SECOND, text=TASK)
        for begin, outcome in ((2, "missed"), (5, "ok")):
            log.write("plan", begin * SECOND, text='pick("red cube")', ms=100.0 * begin, tokens=9)
            log.write("call", begin * SECOND, text='pick("red cube")', goal=None)
            for i in range(4):
                chunk = {"accepted": i != 3, "infer_ms": 2.0 + i, "finished": i / 3, "id": i}
                log.write("chunk", begin * SECOND + i * SECOND // 5, **chunk)
            if outcome == "ok":
                log.write("grasped", 6 * SECOND, text="red cube", pose=[0.2, 0.1, 0.02, 0.0])
            log.write("end", (begin + 2) * SECOND, text="", call='pick("red cube")', outcome=outcome)
        log.write("loop", 7 * SECOND, state="hold", rate_hz=1000.0, late_us=50.0, late_max_us=300.0)
        log.write("finished", 8 * SECOND, text="the planner says it is done")


def test_a_run_is_summed_up(tmp_path: Path) -> None:
    write_run(tmp_path)
    summary = report(tmp_path, picture=False)
    assert (summary.task, summary.phase, summary.seconds) == (TASK, "finished", 8.0)
    assert summary.calls == (('pick("red cube")', "missed", 2.0), ('pick("red cube")', "ok", 2.0))
    assert summary.chunks_refused == 2
    assert summary.infer_ms is not None
    assert (summary.infer_ms.n, summary.infer_ms.p50, summary.infer_ms.worst) == (8, 3.5, 5.0)
    assert summary.plan_ms is not None
    assert summary.plan_ms.worst == 500.0
    text = "\n".join(summary.lines())
    for words in (TASK, 'pick("red cube") -> missed', "rate_hz 1000"):
        assert words in text


def test_a_service_draws_without_matplotlib_in_its_own_memory(tmp_path: Path) -> None:
    write_run(tmp_path)
    work = "import sys, pathlib; from edge.report.directory import draw_apart, report; at = pathlib.Path(sys.argv[1])"
    work += "; report(at, picture=False); draw_apart(at); sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", work, str(tmp_path)], check=True)
    assert (tmp_path / TIMELINE).read_bytes().startswith(b"\x89PNG")


def test_a_picture_that_cannot_be_drawn_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    draw_apart(tmp_path)
    said = capfd.readouterr().err
    assert LOG in said
    assert f"no {TIMELINE}" in said


def test_a_run_that_never_moved_is_summed_up_too(tmp_path: Path) -> None:
    with RunLog(tmp_path) as log:
        log.write("start", 0)
        log.write("error", SECOND, text="camera 'front' does not open")
    summary = report(tmp_path)
    assert summary.calls == ()
    assert (tmp_path / TIMELINE).stat().st_size > 0


def test_the_timeline_is_a_picture_of_calls_and_joints(tmp_path: Path) -> None:
    import cv2

    write_run(tmp_path)
    report(tmp_path)
    without_motion = cv2.imread(str(tmp_path / TIMELINE))
    time_ns = np.linspace(SECOND, 8 * SECOND, 200).astype(np.int64)
    wave = np.sin(np.linspace(0, 9, 200))[:, None] * np.arange(1, 7)
    save_motion(tmp_path / MOTION, time_ns, wave, wave + 0.1)
    report(tmp_path)
    with_motion = cv2.imread(str(tmp_path / TIMELINE))
    assert without_motion.shape[1] > 1000
    call_green, call_amber = (80, 175, 76), (0, 179, 255)  # BGR of ok and missed
    for colour in (call_green, call_amber):
        assert (np.abs(with_motion.astype(int) - colour).max(2) < 10).sum() > 500
    assert (with_motion != without_motion).any()


def test_every_line_can_be_read_when_write_returns(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    log.write("task", text="a")
    assert [record["text"] for record in read_log(tmp_path)] == ["a"]
    log.close()
    log.write("task", text="too late")
    assert len(list(read_log(tmp_path))) == 1


def test_numbers_of_numpy_are_written_as_numbers(tmp_path: Path) -> None:
    with RunLog(tmp_path) as log:
        log.write("x", a=np.float32(0.5), b=np.arange(3), c=Path("p"))
    record = json.loads((tmp_path / LOG).read_text())
    assert (record["a"], record["b"], record["c"]) == (0.5, [0, 1, 2], "p")


def test_a_log_that_cannot_be_written_fails_once_and_nobody_who_writes(tmp_path: Path) -> None:
    heard: list[str] = []
    (tmp_path / LOG).symlink_to("/dev/full")
    with RunLog(tmp_path, lambda record: heard.append(record["text"])) as log:
        for text in "abc":
            log.write("x", text=text)
    assert log.problem is not None
    assert log.problem.got == f"{tmp_path / LOG}: No space left on device"
    assert heard == ["a", "b", "c"]
    log.write("x", text="too late")
    assert len(heard) == 3


@pytest.mark.parametrize("size", [0, 10, 200])
def test_joints_of_which_the_disk_kept_a_part_are_told_and_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], size: int
) -> None:
    write_run(tmp_path)
    save_motion(tmp_path / MOTION, np.arange(100), np.zeros((100, 6)), np.zeros((100, 6)))
    whole = (tmp_path / MOTION).read_bytes()
    (tmp_path / MOTION).write_bytes(whole[:size])
    assert report(tmp_path).task == TASK
    assert f"{MOTION} cannot be read" in capsys.readouterr().err
    assert (tmp_path / TIMELINE).stat().st_size > 0


def test_figures_are_told_where_the_timeline_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path)
    (tmp_path / TIMELINE).symlink_to("/dev/full")
    assert report(tmp_path).task == TASK
    assert f"no {TIMELINE}: No space left on device" in capsys.readouterr().err


def test_a_log_without_its_end_is_told(tmp_path: Path) -> None:
    write_run(tmp_path)
    note = "the log has no end"
    assert note in "\n".join(report(tmp_path, picture=False).lines())
    with RunLog(tmp_path) as log:
        log.write("exit", 9 * SECOND, text="")
    assert note not in "\n".join(report(tmp_path, picture=False).lines())


def test_threads_do_not_mix_their_lines(tmp_path: Path) -> None:
    with RunLog(tmp_path) as log:
        threads = [
            threading.Thread(target=lambda: [log.write("x", text="y" * 500) for _ in range(100)]) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(list(read_log(tmp_path))) == 400


def test_a_last_line_cut_off_by_a_power_loss_is_left_out_and_damage_before_it_is_told(tmp_path: Path) -> None:
    write_run(tmp_path)
    whole = (tmp_path / LOG).read_text()
    (tmp_path / LOG).write_text(whole[:-20])
    assert len(list(read_log(tmp_path))) == len(whole.splitlines()) - 1
    (tmp_path / LOG).write_text("{broken\n" + whole)
    with pytest.raises(ConfigError, match="line 1"):
        list(read_log(tmp_path))


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it never came to that")


def apply_run(directory: Path) -> Status:
    write_run(directory)
    status = Status()
    for record in read_log(directory):
        status.apply(record)
    return status


def test_the_panel_shows_what_a_person_wants_to_know(tmp_path: Path) -> None:
    from rich.console import Console

    status = apply_run(tmp_path)
    console = Console(record=True, width=120, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(panel(status))
    text = console.export_text()
    for words in (
        TASK,
        "finished: the planner says",
        "red cube was at x 20.0 y 10.0 cm",
        "missed",
        "1000 Hz",
        "500 ms",
    ):
        assert words in text


def test_without_a_terminal_the_events_are_plain_lines(tmp_path: Path) -> None:
    lines: list[str] = []

    class Stream:
        def write(self, text: str) -> None:
            lines.append(text)

        def flush(self) -> None: ...

    write_run(tmp_path)
    status, display = Status(), PlainLines(Stream())  # type: ignore[arg-type]
    for record in read_log(tmp_path):
        status.apply(record)
        display.record(record, status)
    text = "".join(lines)
    assert text.count("\n") == 7  # task, two calls, one grasp, two ends, finished
    assert "   6.00  grasped   red cube" in text


def test_the_video_shows_the_camera_with_the_call_written_on_it(tmp_path: Path) -> None:
    import av

    status = Status(task=TASK, phase="acting", call='pick("red cube")')
    image = np.full((192, 192, 3), (200, 30, 30), np.uint8)
    warnings: list[str] = []
    path = tmp_path / "front.mp4"
    asked = itertools.count()
    seen = [0]

    def latest() -> Frame:
        seen[0] = next(asked)
        return Frame("front", image, 0)

    recorder = VideoRecorder(path, latest, status, warnings.append)
    recorder.start()
    wait_until(lambda: seen[0] >= 5 or bool(warnings))
    recorder.stop()
    assert warnings == []
    with av.open(str(path)) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
        assert video.streams.video[0].average_rate == 20
    assert len(frames) >= 5
    assert frames[0].shape == (PICTURE + CAPTION, PICTURE, 3)
    assert np.abs(frames[0][100, 100].astype(int) - (200, 30, 30)).max() < 12


def test_the_caption_changes_with_the_call() -> None:
    image = np.zeros((192, 192, 3), np.uint8)
    one, two = (caption(image, Status(task=TASK, phase="acting", call=call)) for call in ("pick", "place"))
    assert (one[:PICTURE] == two[:PICTURE]).all()
    assert (one[PICTURE:] != two[PICTURE:]).any()


def test_a_camera_that_is_gone_darkens_the_video_and_does_not_end_it(tmp_path: Path) -> None:
    import av

    bright = Frame("front", np.full((192, 192, 3), 210, np.uint8), 0)
    asked = itertools.count()
    seen = [0]

    def latest() -> Frame:
        seen[0] = next(asked)
        if seen[0] < 4:
            return bright
        raise CameraError("camera 'front' shows nothing new")

    recorder = VideoRecorder(tmp_path / "front.mp4", latest, Status(), pytest.fail)
    recorder.start()
    wait_until(lambda: seen[0] >= 8)
    recorder.stop()
    with av.open(str(tmp_path / "front.mp4")) as video:
        means = [frame.to_ndarray(format="rgb24")[:PICTURE].mean() for frame in video.decode(video=0)]
    assert means[0] > 200
    assert means[-1] < 80


def test_a_video_that_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    warnings: list[str] = []
    frame = Frame("front", np.zeros((192, 192, 3), np.uint8), 0)
    recorder = VideoRecorder(tmp_path / "no/where.mp4", lambda: frame, Status(), warnings.append)
    recorder.start()
    wait_until(lambda: bool(warnings))
    recorder.stop()
    assert len(warnings) == 1
    assert warnings[0].startswith("no video")


def test_motion_knows_the_joints_of_a_moment() -> None:
    kind: Any = [("time_ns", "i8"), ("measured", "f8", 6), ("commanded", "f8", 6)]
    parts = [np.zeros(3, kind), np.zeros(0, kind), np.zeros(3, kind)]
    for k, part in enumerate((parts[0], parts[2])):
        part["time_ns"] = np.arange(3) * 10 + 30 * k
        part["measured"] = (part["time_ns"] / 10)[:, None]
    drained = iter(parts)
    motion = Motion(lambda: next(drained, parts[1]))
    motion.collect()
    asked = {-1: None, 0: 0, 9: 0, 25: 2, 35: 3, 99: 5}
    for moment, joint in asked.items():
        measured = motion.measured_at(moment)
        assert (None if measured is None else measured[0]) == joint
    assert [len(a) for a in motion.arrays()] == [6, 6, 6]
