"""A subcommand of `python -m export`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """What a module offers under one subcommand name.

    Args:
        description: Shown by `--help`: what it reads, makes and checks, with an example.
        add_arguments: Declares the options.
        run: Does the work; returns the process exit status. May raise `EdgeError`.
    """

    description: str
    add_arguments: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], int]
