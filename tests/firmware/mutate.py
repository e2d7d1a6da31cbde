"""Mutation test of what decides in the microcontroller: a small change of its C must make the firmware's tests fail.

    python tests/firmware/mutate.py [--file drives.c] [--sample 50] [--list]

The changes, and what counts as killed, are those of tests/safety/mutate.py. Unlike there a survivor may be a change
that nobody can see from outside: the score is reported, and every survivor printed.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).resolve().parent
sys.path.insert(0, str(TESTS.parent / "safety"))
from mutate import Mutant, changes, code_lines  # noqa: E402

BRIDGE = TESTS.parents[1] / "firmware_bridge"
NAMES = {
    "firmware": ("arm_table.c", "drives.c", "firmware.c", "motion.c", "servo_bus.c"),
    "codec": (
        "bridge.c", "bridge_can.c", "bridge_gate.c", "bridge_serial.c", "cobs.c", "crc32.c", "damiao.c", "dynamixel.c",
        "feetech.c",
    ),
}  # fmt: skip
FILES = {name: BRIDGE / folder / name for folder, names in NAMES.items() for name in names}
INCLUDE = [
    f"-I{folder}" for folder in (TESTS, TESTS.parent / "codec", *map(BRIDGE.joinpath, ("firmware", "codec", "safety")))
]
STRICT = ("-O1", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
PROCESSOR_S = 20
PROGRAMS = ("firmware", "codec")


def mutants(name: str) -> list[Mutant]:
    lines = code_lines(FILES[name].read_text())
    found = {Mutant(name, number, line, after) for number, line in enumerate(lines, 1) for after in changes(line)}
    return sorted(found, key=lambda m: (m.line, m.after))


class Bench:
    """A folder with everything compiled but the file under change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ours = [path for part in ("firmware", "codec", "safety") for path in (BRIDGE / part).glob("*.c")]
        self._tests = {
            "firmware": [*TESTS.glob("*.c"), TESTS.parent / "codec/check.c"],
            "codec": [*(TESTS.parent / "codec").glob("*.c")],
        }
        for kind, sources in {"ours": ours, **self._tests}.items():
            (folder / kind).mkdir()
            for source in sources:
                if not self._compile(source, folder / kind / f"{source.stem}.o", "-O1"):
                    sys.exit(f"{source} does not compile")

    def _compile(self, source: Path, output: Path, *flags: str) -> bool:
        command = ["gcc", "-std=c99", *flags, *INCLUDE, "-c", str(source), "-o", str(output)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def passes(self, name: str, text: str) -> bool:
        changed = self.folder / f"mutant_{name}"
        changed.write_text(text)
        if not self._compile(changed, self.folder / "mutant.o", *STRICT):
            return False
        rest = [str(path) for path in (self.folder / "ours").glob("*.o") if path.stem != Path(name).stem]
        for tests in ("firmware",) if FILES[name].parent.name == "firmware" else PROGRAMS[::-1]:
            # The codecs' tests need nothing of the firmware, whose HAL only its own tests have.
            objects = [path for path in rest if tests == "firmware" or not self._of_firmware(path)]
            program = self.folder / tests / "program"
            tested = [str(path) for path in (self.folder / tests).glob("*.o")]
            parts = [*tested, *objects, str(self.folder / "mutant.o"), "-lm"]
            linked = ["gcc", "-fsanitize=address,undefined", *parts, "-o", str(program)]
            subprocess.run(linked, check=True, capture_output=True)
            # Processor time, not the clock's: a busy machine must not kill a mutant.
            limited = ["sh", "-c", f'ulimit -t {PROCESSOR_S}; exec "$0"', str(program)]
            if subprocess.run(limited, capture_output=True, check=False).returncode != 0:
                return False
        return True

    @staticmethod
    def _of_firmware(path: str) -> bool:
        return (BRIDGE / "firmware" / f"{Path(path).stem}.c").exists()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", choices=FILES, help="only this file")
    parser.add_argument("--sample", type=int, help="only so many, drawn by chance, the same in every run")
    parser.add_argument("--list", action="store_true", help="print the mutants and stop")
    options = parser.parse_args()
    todo = [mutant for name in ([options.file] if options.file else FILES) for mutant in mutants(name)]
    if options.sample is not None:
        todo = random.Random(0).sample(todo, min(options.sample, len(todo)))
    if options.list:
        print(*todo, f"{len(todo)} mutants", sep="\n")
        return
    survivors = 0
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        for name, path in FILES.items():
            if not bench.passes(name, path.read_text()):
                sys.exit(f"the tests fail on the original of {name}")
        for done, mutant in enumerate(todo, 1):
            lines = FILES[mutant.file].read_text().split("\n")
            lines[mutant.line - 1] = mutant.after
            if bench.passes(mutant.file, "\n".join(lines)):
                survivors += 1
                print(f"survived  {mutant}", flush=True)
            if done % 10 == 0:
                print(f"{done - survivors} of {done} killed so far", flush=True)
    print(f"{len(todo) - survivors} of {len(todo)} mutants killed")


if __name__ == "__main__":
    main()
