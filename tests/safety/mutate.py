"""Mutation test of the safety limiter: every small change of its C must make a fast run of its tests fail.

    python tests/safety/mutate.py [--file limiter.c] [--list]

Changes operators, constants and conditions, swaps the two ends of the limits, and deletes statements. A mutant is
killed when it does not compile without warnings, when a law or a vector does not hold, when it crashes, trips the
sanitizer for undefined behaviour, or takes 2 s of processor
time instead of 0.4 s. There is no list of excused survivors:
code with a mutant that changes nothing is rewritten until there is none.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).resolve().parent
SAFETY = TESTS.parents[1] / "firmware_bridge" / "safety"
FILES = ("brake.c", "limiter.c", "units.c")
LAW_STEPS = "10000"
PROCESSOR_S = 2

# What stands in the source, and what it is changed to. Spaces keep unary operators and declarations apart.
SWAPS = {
    " + ": (" - ",), " - ": (" + ",), " * ": (" / ", " + "), " / ": (" * ",),
    " < ": (" <= ", " >= "), " <= ": (" < ", " > "), " > ": (" >= ", " <= "), " >= ": (" > ", " < "),
    " == ": (" != ",), " != ": (" == ",), " && ": (" || ",), " || ": (" && ",),
    " >> ": (" << ",), " | ": (" & ",), " |= ": (" = ", " &= "), " += ": (" -= ", " = "), " -= ": (" += ", " = "),
    "++": ("--",), "--": ("++",), "(-": ("(",), ", -": (", ",), "= -": ("= ",), "(!": ("(",), "break;": ("continue;",),
    "safety_larger(": ("safety_smaller(",), "safety_smaller(": ("safety_larger(",),
    "limits->lower": ("limits->upper",), "limits->upper": ("limits->lower",),
    ".low": (".high",), ".high": (".low",), "path.rest": ("path.turn",), "path.turn": ("path.rest",),
    "true": ("false",), "false": ("true",), "floor(": ("ceil(",), "ceil(": ("floor(",), "fmin(": ("fmax(",),
}  # fmt: skip
NUMBER = re.compile(r"(?<![\w.])(\d+)(\.0)?(?![\w.])")
STATEMENT = re.compile(r"^\s+(?!const |return |static |int\d|double |case |safety_\w+ \w+ =|span |unsigned )[^{}]*;$")


@dataclass(frozen=True)
class Mutant:
    file: str
    line: int
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.before.strip()}  ->  {self.after.strip() or '(deleted)'}"


def code_lines(text: str) -> list[str]:
    """The lines with comments, annotations among them, and includes blanked, so that only code is changed."""
    bare = re.sub(r"/\*.*?\*/|//[^\n]*", lambda m: re.sub(r"[^\n]", " ", m.group()), text, flags=re.DOTALL)
    return ["" if line.startswith("#include") else line.rstrip() for line in bare.split("\n")]


def changes(line: str) -> Iterator[str]:
    for old, news in SWAPS.items():
        for match in re.finditer(re.escape(old), line):
            for new in news:
                yield line[: match.start()] + new + line[match.end() :]
    for match in NUMBER.finditer(line):
        value, fraction = int(match.group(1)), match.group(2) or ""
        for other in (value + 1, value - 1):
            yield line[: match.start()] + f"{other}{fraction}" + line[match.end() :]
    if condition := re.match(r"^(\s+(?:\} else )?(?:if|while) )\((.*)\) \{$", line):
        yield f"{condition.group(1)}(!({condition.group(2)})) {{"
    if STATEMENT.match(line):
        yield ""


def mutants(file: str) -> list[Mutant]:
    lines = code_lines((SAFETY / file).read_text())
    found = {Mutant(file, number, line, after) for number, line in enumerate(lines, 1) for after in changes(line)}
    return sorted(found, key=lambda m: (m.line, m.after))


@dataclass(frozen=True)
class Bench:
    """A folder with everything compiled but the file under change."""

    folder: Path

    def compile(self, source: Path, output: Path, *extra: str) -> bool:
        command = [
            "gcc",
            "-std=c99",
            *(extra or ("-O2",)),
            f"-I{TESTS}",
            f"-I{SAFETY}",
            "-c",
            str(source),
            "-o",
            str(output),
        ]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def prepare(self) -> None:
        for source in (*TESTS.glob("*.c"), *(SAFETY / file for file in FILES)):
            if not self.compile(source, self.folder / f"{source.stem}.o"):
                sys.exit(f"{source} does not compile")

    def passes(self, file: str, text: str) -> bool:
        changed = self.folder / f"mutant_{file}"
        changed.write_text(text)
        mutant = self.folder / "mutant.o"
        if not self.compile(changed, mutant, "-O0", "-Wall", "-Wextra", "-Werror",
                            "-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"):  # fmt: skip
            return False
        ours = [str(self.folder / f"{Path(other).stem}.o") for other in FILES if other != file] + [str(mutant)]
        laws = sorted(str(path) for path in self.folder.glob("laws_*.o"))
        vectors = [str(self.folder / f"{name}.o") for name in ("vectors", "vectors_main")]
        for main, arguments in ((laws, [LAW_STEPS]), (vectors, ["check"])):
            program = self.folder / "program"
            linked = ["gcc", *main, str(self.folder / "support.o"), *ours, "-lm", "-o", str(program)]
            subprocess.run(linked, check=True, capture_output=True)
            # Processor time, not the clock's: a busy machine must not kill a mutant.
            limited = ["sh", "-c", f'ulimit -t {PROCESSOR_S}; exec "$@"', "sh", str(program), *arguments]
            done = subprocess.run(limited, capture_output=True, check=False)
            if done.returncode != 0:
                return False
        return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", choices=FILES, help="only this file")
    parser.add_argument("--list", action="store_true", help="print the mutants and stop")
    options = parser.parse_args()
    todo = [mutant for file in ([options.file] if options.file else FILES) for mutant in mutants(file)]
    if options.list:
        print(*todo, f"{len(todo)} mutants", sep="\n")
        return
    survivors = 0
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        bench.prepare()
        if not bench.passes(FILES[0], (SAFETY / FILES[0]).read_text()):
            sys.exit("the tests fail on the original")
        for mutant in todo:
            lines = (SAFETY / mutant.file).read_text().split("\n")
            lines[mutant.line - 1] = mutant.after
            if bench.passes(mutant.file, "\n".join(lines)):
                survivors += 1
                print(f"survived  {mutant}", flush=True)
    print(f"{len(todo) - survivors} of {len(todo)} mutants killed")
    sys.exit(1 if survivors else 0)


if __name__ == "__main__":
    main()
