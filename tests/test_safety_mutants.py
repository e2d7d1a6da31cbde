"""The mutation test of the safety limiter changes code, and nothing that the compiler does not see."""

from __future__ import annotations

import re
import runpy
import subprocess
from pathlib import Path

import pytest

MUTATE = runpy.run_path(str(Path(__file__).parent / "safety" / "mutate.py"))


def bare(line: str) -> str:
    return re.sub(r"\s", "", line)


@pytest.mark.parametrize("file", MUTATE["FILES"])
def test_every_mutated_line_is_one_the_compiler_sees(file: str) -> None:
    command = ["gcc", "-fpreprocessed", "-dD", "-E", str(MUTATE["SAFETY"] / file)]
    seen = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    code = {bare(line) for line in seen.splitlines()}
    mutants = MUTATE["mutants"](file)
    assert mutants
    assert [str(mutant) for mutant in mutants if bare(mutant.before) not in code] == []


def test_annotations_are_blanked_and_lines_keep_their_numbers() -> None:
    text = "/*@ requires a < b;\n    ensures a == 1; */\n{\n    //@ assert a < 2;\n    return a; // a > 3\n}"
    assert MUTATE["code_lines"](text) == ["", "", "{", "", "    return a;", "}"]
