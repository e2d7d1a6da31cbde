"""What the commands of this package ask of their numbers."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace


def check_least(parser: ArgumentParser, arguments: Namespace, **least: int) -> None:
    """Ends the program where a number is too small; one that was not given, or that a subcommand lacks, is not judged.

    Args:
        parser: Says it, and how the command is used.
        arguments: What was given.
        least: By the name of the option.
    """
    for name, bound in least.items():
        value = getattr(arguments, name, None)
        if value is not None and value < bound:
            parser.error(f"--{name}: {bound} or more, not {value}")
