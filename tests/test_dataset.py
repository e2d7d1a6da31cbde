"""What is written comes back: numbers exactly, pictures nearly, and the order never depends on who wrote first."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from edge.policy.transforms import square
from learning.dataset import DatasetError, DatasetWriter, Episode, build_cache, finish, open_cache
from learning.dataset.video import decode

CUBE_COLOURS = ((200, 30, 30), (30, 160, 40), (30, 60, 200), (230, 200, 30), (240, 130, 20), (130, 40, 170))
TASKS = ("put the red cube on the blue plate", "swap the red cube and the green cube")


def _film(steps: int, rng: np.random.Generator) -> np.ndarray:
    """A shaded table with one small saturated cube of each colour sliding over it."""
    ramp = np.linspace(90, 190, 192)
    film = np.repeat((ramp[:, None, None] + ramp[None, :, None] * 0.2 + np.zeros(3))[None], steps, 0).astype(np.uint8)
    for colour in CUBE_COLOURS:
        x, y = rng.integers(10, 150, 2)
        for step in range(steps):
            film[step, y : y + 13, x + step % 20 : x + step % 20 + 13] = colour
    return film


def _episode(seed: int) -> Episode:
    rng = np.random.default_rng(seed)
    steps = int(rng.integers(6, 14))
    half = steps // 2
    return Episode(
        state=rng.normal(size=(steps, 6)).astype(np.float32),
        action=rng.normal(size=(steps, 6)).astype(np.float32),
        front=_film(steps, rng),
        wrist=_film(steps, rng),
        call=('pick("red cube")',) * half + ('place_on("blue plate")',) * (steps - half),
        hint=rng.integers(-1, 10, (steps, 2)).astype(np.int8),
        goal=rng.normal(size=(steps, 6)).astype(np.float32),
        finished=(np.arange(steps) == steps - 1).astype(np.float32),
        task=TASKS[seed % 2],
        extra={"target_front": rng.normal(size=(steps, 2)).astype(np.float32), "held": np.ones((steps, 1), np.float32)},
    )


def _write(root: Path, worker: int, seeds: range, per_file: int = 2) -> None:
    with DatasetWriter(root, worker=worker, episodes_per_file=per_file) as writer:
        for seed in seeds:
            writer.add(_episode(seed))


def _psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2)))


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    _write(tmp_path / "data", 0, range(3))
    _write(tmp_path / "data", 1, range(3, 5))
    info = finish(tmp_path / "data")
    cache = build_cache(tmp_path / "data", tmp_path / "cache", size=96)
    episodes = [_episode(seed) for seed in range(5)]

    assert len(cache) == info["total_frames"] == sum(map(len, episodes))
    assert cache.bounds.tolist() == np.cumsum([0, *map(len, episodes)]).tolist()
    for number, episode in enumerate(episodes):
        rows = slice(cache.bounds[number], cache.bounds[number + 1])
        np.testing.assert_array_equal(cache.state[rows], episode.state)
        np.testing.assert_array_equal(cache.action[rows], episode.action)
        np.testing.assert_array_equal(cache.hint[rows], episode.hint)
        np.testing.assert_array_equal(cache.goal[rows], episode.goal)
        np.testing.assert_array_equal(cache.finished[rows], episode.finished)
        np.testing.assert_array_equal(cache.extra["target_front"][rows], episode.extra["target_front"])
        np.testing.assert_array_equal(cache.extra["held"][rows], episode.extra["held"])
        assert tuple(cache.calls[index] for index in cache.call[rows]) == episode.call
        assert {cache.tasks[index] for index in cache.task[rows]} == {episode.task}
        assert set(cache.episode[rows].tolist()) == {number}
        for camera in ("front", "wrist"):
            small = np.stack([square(image, 96) for image in getattr(episode, camera)])
            assert _psnr(getattr(cache, camera)[rows], small) > 38


def test_saturated_colours_survive_the_video(tmp_path: Path) -> None:
    episode = _episode(0)
    _write(tmp_path, 0, range(1))
    frames = np.stack(list(decode(tmp_path / "videos/observation.images.front/chunk-000/file-000.mp4")))
    assert frames.shape == episode.front.shape
    assert _psnr(frames, episode.front) > 38
    for colour in CUBE_COLOURS:
        pixels = (episode.front == colour).all(-1)
        assert np.abs(frames[pixels].mean(0) - colour).max() < 6


def _contents(root: Path) -> dict[str, object]:
    numbers = {p.relative_to(root).as_posix(): pq.read_table(p) for p in root.rglob("*.parquet")}
    meta = {p.name: json.loads(p.read_text()) for p in (root / "meta").glob("*.json")}
    return {**numbers, **meta}


def test_parallel_workers_give_the_dataset_that_one_after_the_other_gives(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("fork")
    shares = {0: range(3), 1: range(3, 6), 2: range(6, 7)}
    processes = [spawn.Process(target=_write, args=(tmp_path / "parallel", w, s)) for w, s in reversed(shares.items())]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    for worker, share in shares.items():
        _write(tmp_path / "serial", worker, share)
    finish(tmp_path / "parallel")
    finish(tmp_path / "serial")
    assert _contents(tmp_path / "parallel") == _contents(tmp_path / "serial")


def test_finish_may_be_repeated_and_takes_in_what_came_later(tmp_path: Path) -> None:
    _write(tmp_path, 0, range(2))
    finish(tmp_path)
    before = _contents(tmp_path)
    finish(tmp_path)
    assert _contents(tmp_path) == before
    _write(tmp_path, 0, range(2, 3))  # the same worker continues with its next file
    assert finish(tmp_path)["total_episodes"] == 3
    tables = [pq.read_table(path) for path in sorted((tmp_path / "data").glob("*/*.parquet"))]
    index = [row for table in tables for row in table.column("index").to_pylist()]
    assert index == list(range(len(index)))


def test_a_killed_worker_loses_its_open_file_only(tmp_path: Path) -> None:
    writer = DatasetWriter(tmp_path, episodes_per_file=2)
    for seed in range(3):
        writer.add(_episode(seed))
    del writer  # never closed, as after a kill
    assert finish(tmp_path)["total_episodes"] == 2
    _write(tmp_path, 0, range(2, 4))
    assert finish(tmp_path)["total_episodes"] == 4
    assert len(build_cache(tmp_path, tmp_path / "cache")) == sum(len(_episode(seed)) for seed in range(4))


def test_the_index_and_the_features_are_what_lerobot_reads(tmp_path: Path) -> None:
    _write(tmp_path, 0, range(3))
    info = finish(tmp_path)
    features = info["features"]
    assert info["codebase_version"] == "v3.0"
    assert info["fps"] == 20
    assert info["splits"] == {"train": "0:3"}
    assert {name: (feature["dtype"], tuple(feature["shape"])) for name, feature in features.items()} == {
        "observation.images.front": ("video", (192, 192, 3)),
        "observation.images.wrist": ("video", (192, 192, 3)),
        "observation.state": ("float32", (6,)),
        "action": ("float32", (6,)),
        "call": ("string", (1,)),
        "call_hint": ("int8", (2,)),
        "goal": ("float32", (6,)),
        "finished": ("float32", (1,)),
        "extra.held": ("float32", (1,)),
        "extra.target_front": ("float32", (2,)),
        "timestamp": ("float32", (1,)),
        "frame_index": ("int64", (1,)),
        "episode_index": ("int64", (1,)),
        "index": ("int64", (1,)),
        "task_index": ("int64", (1,)),
    }
    columns = set(pq.read_schema(tmp_path / "data/chunk-000/file-000.parquet").names)
    assert columns == {name for name, feature in features.items() if feature["dtype"] != "video"}
    stats = json.loads((tmp_path / "meta/stats.json").read_text())
    assert set(stats) == set(features) - {"call"}
    assert np.shape(stats["observation.images.front"]["mean"]) == (3, 1, 1)
    assert np.shape(stats["action"]["q99"]) == (6,)
    episodes = pq.read_table(tmp_path / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    third = episodes[2]  # second file of the worker: its seconds count from the start of that video
    assert (third["data/file_index"], third["videos/observation.images.wrist/from_timestamp"]) == (1, 0.0)
    assert third["dataset_from_index"] == episodes[1]["dataset_to_index"]
    tasks = pq.read_table(tmp_path / "meta/tasks.parquet").to_pydict()
    assert tasks["__index_level_0__"] == sorted(TASKS)
    assert tasks["task_index"] == [0, 1]


def test_image_statistics_are_those_of_the_pixels(tmp_path: Path) -> None:
    _write(tmp_path, 0, range(2))
    finish(tmp_path)
    stats = json.loads((tmp_path / "meta/stats.json").read_text())["observation.images.front"]
    sample = np.concatenate([_episode(seed).front[::8, ::4, ::4].reshape(-1, 3) for seed in range(2)]) / 255
    np.testing.assert_allclose(np.ravel(stats["mean"]), sample.mean(0), atol=1e-6)
    np.testing.assert_allclose(np.ravel(stats["std"]), sample.std(0), atol=1e-6)
    np.testing.assert_allclose(np.ravel(stats["q50"]), np.quantile(sample, 0.5, axis=0), atol=1 / 255)


def test_an_interrupted_cache_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, out = tmp_path / "data", tmp_path / "cache"
    _write(root, 0, range(6))
    finish(root)
    decoded: list[Path] = []

    def dying(path: Path):  # type: ignore[no-untyped-def]
        if len(decoded) == 3:
            raise KeyboardInterrupt
        decoded.append(path)
        return decode(path)

    monkeypatch.setattr("learning.dataset.cache.decode", dying)
    with pytest.raises(KeyboardInterrupt):
        build_cache(root, out, size=48, threads=1)
    with pytest.raises(DatasetError, match="no complete cache"):
        open_cache(out)
    resumed: list[Path] = []
    monkeypatch.setattr("learning.dataset.cache.decode", lambda path: resumed.append(path) or decode(path))
    cache = build_cache(root, out, size=48)
    assert len(resumed) == 3
    assert not set(resumed) & set(decoded)
    small = np.stack([square(image, 48) for image in _episode(0).front])
    assert _psnr(cache.front[: cache.bounds[1]], small) > 38
    build_cache(root, out, size=48)
    assert len(resumed) == 3  # complete: opened as it is


def test_unusable_episodes_are_refused(tmp_path: Path) -> None:
    good = _episode(0)
    fields = {name: getattr(good, name) for name in Episode.__dataclass_fields__}
    with pytest.raises(DatasetError, match="action"):
        Episode(**{**fields, "action": good.action.astype(np.float64)})
    with pytest.raises(DatasetError, match="NaN"):
        Episode(**{**fields, "goal": np.full_like(good.goal, np.nan)})
    with pytest.raises(DatasetError, match="empty"):
        Episode(**{**fields, "task": " "})
    writer = DatasetWriter(tmp_path)
    writer.add(good)
    with pytest.raises(DatasetError, match="other labels"):
        writer.add(Episode(**{**fields, "extra": {}}))


def test_a_dataset_without_complete_files_is_not_finished(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no complete file"):
        finish(tmp_path)
    with pytest.raises(DatasetError, match="no finished dataset"):
        build_cache(tmp_path, tmp_path / "cache")
