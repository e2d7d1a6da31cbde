"""The most stack that the firmware can need: stack_bound.py firmware.elf

Read from the machine code, library functions included: what every function pushes, and whom it calls. Fails for
what has no bound: recursion, a call through a pointer, a stack pointer that is computed, or more than the linker script
gives. Frames of our own functions are compared with what the compiler says (*.su beside the program).
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

MAIN = "board_start"
HANDLERS = ("board_upward_receive", "board_upward_transmit", "board_bus_receive", "board_bus_transmit",
            "board_bench_receive", "board_bark")  # fmt: skip
RAM = 0x20000000
"""Where the stack ends, which lies lowest."""
EXCEPTION_BYTES = 8 * 4 + 4
"""What the processor itself stacks, and what it may leave for alignment."""

_FUNCTION = re.compile(r"^[0-9a-f]+ <([^>]+)>:$")
_INSTRUCTION = re.compile(r"^\s*[0-9a-f]+:\t[0-9a-f ]+\t(\S+)(?:\t([^;@]*))?")
_TARGET = re.compile(r"<([^>+]+)(\+0x[0-9a-f]+)?>")
_REGISTERS = {f"r{n}": n for n in range(13)} | {"sl": 10, "fp": 11, "ip": 12, "sp": 13, "lr": 14, "pc": 15}


class UnboundedError(Exception):
    """The stack has no bound that this script can prove."""


@dataclass
class Function:
    name: str
    frame: int = 0
    calls: set[str] = field(default_factory=set)


def count(registers: str) -> int:
    total = 0
    for part in registers.strip("{} ").split(","):
        first, _, last = part.strip().partition("-")
        total += _REGISTERS[last or first] - _REGISTERS[first] + 1
    return total


def read(elf: Path) -> dict[str, Function]:
    """Every function with the sum of all that it pushes: never less than its frame."""
    listing = subprocess.run(["arm-none-eabi-objdump", "-d", elf], capture_output=True, text=True, check=True).stdout
    functions: dict[str, Function] = {}
    current = Function("")
    for line in listing.splitlines():
        if match := _FUNCTION.match(line):
            current = functions.setdefault(match[1], Function(match[1]))
        elif match := _INSTRUCTION.match(line):
            follow(current, match[1], (match[2] or "").strip())
    return functions


def follow(function: Function, operation: str, operands: str) -> None:
    plain = operation.split(".")[0]
    if plain == "push" or (plain in ("stmdb", "stmfd") and operands.startswith("sp!")):
        function.frame += 4 * count(operands[operands.index("{") :])
    elif plain in ("str", "strd") and "[sp, #-" in operands and operands.endswith("!"):
        function.frame += int(re.search(r"#-(\d+)", operands)[1])  # type: ignore[index]
    elif plain in ("sub", "subw") and operands.startswith("sp,"):
        size = re.search(r"#(\d+)", operands)
        if size is None:
            raise UnboundedError(f"{function.name} computes its stack pointer: {operation} {operands}")
        function.frame += int(size[1])
    elif plain in ("mov", "msr") and operands.startswith(("sp,", "MSP", "PSP")):
        raise UnboundedError(f"{function.name} sets its stack pointer: {operation} {operands}")
    elif plain == "ldr" and re.match(r"pc, \[sp\], #", operands):
        pass  # a return
    elif plain == "blx" or (plain == "bx" and operands != "lr") or (plain in ("ldr", "mov") and operands[:3] == "pc,"):
        raise UnboundedError(f"{function.name} calls through a pointer: {operation} {operands}")
    elif re.fullmatch(r"bl?(eq|ne|cs|cc|mi|pl|vs|vc|hi|ls|ge|lt|gt|le)?|cbn?z", plain):
        target = _TARGET.search(operands)
        if target is not None and (target[1] != function.name or plain == "bl"):
            function.calls.add(target[1])


def deepest(functions: dict[str, Function], name: str, above: tuple[str, ...] = ()) -> tuple[int, tuple[str, ...]]:
    """Bytes from this function down, and the way there."""
    if name in above:
        raise UnboundedError("recursion: " + " > ".join((*above[above.index(name) :], name)))
    function = functions[name]
    below = max((deepest(functions, called, (*above, name)) for called in function.calls), default=(0, ()))
    return function.frame + below[0], (name, *below[1])


def compare(functions: dict[str, Function], folder: Path) -> int:
    """How many of the compiler's own figures are covered; a function that it has inlined has none."""
    compared = 0
    for path in folder.glob("*.su"):
        for line in path.read_text().splitlines():
            where, size, kind = line.split("\t")
            name = where.rsplit(":", 1)[1]
            if kind != "static":
                raise UnboundedError(f"{name}: the compiler calls its frame {kind}")
            if name in functions:
                compared += 1
                if functions[name].frame < int(size):
                    raise UnboundedError(f"{name}: {functions[name].frame} bytes found, the compiler says {size}")
    return compared


def main() -> int:
    elf = Path(sys.argv[1])
    symbols = subprocess.run(["arm-none-eabi-nm", elf], capture_output=True, text=True, check=True).stdout
    given = int(re.search(r"^([0-9a-f]+) . board_stack_top$", symbols, re.MULTILINE)[1], 16) - RAM  # type: ignore[index]
    try:
        functions = read(elf)
        compared = compare(functions, elf.parent)
        loop, way = deepest(functions, MAIN)
        # No interrupt interrupts another, but the watchdog's bark any.
        handlers = {name: deepest(functions, name)[0] for name in HANDLERS}
        bark = handlers.pop("board_bark")
    except UnboundedError as error:
        print(f"no bound for the stack: {error}", file=sys.stderr)
        return 1
    total = loop + max(handlers.values()) + bark + 2 * EXCEPTION_BYTES
    print(f"stack: {total} bytes at most of {given}: loop {loop}, interrupt {max(handlers.values())}, watchdog {bark}, "
          f"exceptions {2 * EXCEPTION_BYTES}; {compared} frames as the compiler has them")  # fmt: skip
    print("deepest: " + " > ".join(way))
    if total > given:
        print(f"more than the linker script gives, {given} bytes", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
