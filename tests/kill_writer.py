"""Kills a process that writes a journal, again and again, and looks at what it left.

A child appends changes and reports each over a pipe once it was acknowledged; the parent kills it at a random moment.
What the journal then holds must be the state after the acknowledged changes, or after one more: the one under way. A
journal is gone on with a few times, so that what is recovered is also written behind.

    python tests/kill_writer.py --rounds 1000 --seed 1 --directory /var/tmp
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import struct
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from edge._core import SubtaskMemory

LIVES = 8
"""Processes that write to a journal, one after the other, before a new one is made."""


def change(memory: SubtaskMemory, number: int) -> None:
    """The change with this number: always the same one, and a legal one behind those before it."""
    task, step = divmod(number, 41)
    call, part = divmod(step - 1, 4)
    name = f"cube {call % 3}"
    if step == 0:
        memory.clear(f"task {task}")
    elif part == 0:
        memory.begin(f'pick("{name}")', name, number)
    elif part == 1:
        memory.grasped(name, (number, 0.1, 0.2, 0.3))
    elif part == 2:
        memory.released(name, (number, -0.1, -0.2, -0.3))
    else:
        memory.end("ok" if call % 2 else "timeout", number)


def contents(memory: SubtaskMemory) -> tuple[object, ...]:
    """Everything that can be asked of a memory."""
    released = [memory.released_at(f"cube {i}") for i in range(3)]
    return memory.task, memory.calls(), memory.places(), released, memory.running, memory.held, memory.ending


def expected(count: int) -> tuple[object, ...]:
    """After so many changes; what came before the last task makes no difference."""
    memory = SubtaskMemory()
    for number in range((count - 1) // 41 * 41 if count else 0, count):
        change(memory, number)
    return contents(memory)


def write_until_killed(path: Path, begin: int, pipe: int) -> None:
    """Runs in the child."""
    memory = SubtaskMemory(str(path))
    number = begin
    while True:
        change(memory, number)
        number += 1
        os.write(pipe, struct.pack("<I", number))


def kill_one(path: Path, begin: int, delay_s: float) -> tuple[int, int]:
    """Lets a process write for a while; how many changes were acknowledged, and how many are recovered."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(read_end)
            write_until_killed(path, begin, write_end)
        finally:
            os._exit(1)
    os.close(write_end)
    time.sleep(delay_s)
    os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status), "the writer failed before it was killed"
    told = b""
    while block := os.read(read_end, 65536):
        told += block
    os.close(read_end)
    acknowledged = struct.unpack("<I", told[-4:])[0] if told else begin
    if not path.exists():
        return acknowledged, 0
    memory = SubtaskMemory.peek(str(path))
    recovered = memory.recovery["records"]
    assert contents(memory) == expected(recovered), f"{path}: not the state after {recovered} changes"
    assert memory.recovery["damaged_bytes"] == 0
    return acknowledged, recovered


def kill_many(rounds: int, seed: int, directory: Path, longest_s: float) -> dict[str, int]:
    """Kills `rounds` writers; counts of what was seen."""
    random_ = random.Random(seed)
    seen = {"rounds": rounds, "acknowledged": 0, "under_way": 0, "before_the_first": 0}
    recovered = 0
    for number in range(rounds):
        path = directory / f"journal-{number // LIVES}"
        begin = 0 if number % LIVES == 0 else recovered
        acknowledged, recovered = kill_one(path, begin, random_.uniform(0, longest_s))
        assert acknowledged <= recovered <= acknowledged + 1, f"round {number}: {acknowledged=}, {recovered=}"
        seen["acknowledged"] += acknowledged - begin
        seen["under_way"] += recovered - acknowledged
        seen["before_the_first"] += acknowledged == begin
    return seen


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the counts as JSON; an assertion fails if a journal broke its promise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--directory", type=Path, help="on the disk to be tried (default: in memory)")
    parser.add_argument("--longest-ms", type=float, default=20.0, help="a writer is killed before that")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(dir=arguments.directory or memory_directory()) as directory:
        print(json.dumps(kill_many(arguments.rounds, arguments.seed, Path(directory), arguments.longest_ms / 1e3)))


def memory_directory() -> Path | None:
    """Where files are in memory, so that many can be written soon; None: where temporary files go."""
    shared = Path("/dev/shm")
    return shared if os.access(shared, os.W_OK) else None


if __name__ == "__main__":
    main()
