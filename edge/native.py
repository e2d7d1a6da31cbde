"""Whether the compiled core loads: the one place that says what to do when it does not."""

from __future__ import annotations

import importlib

from edge.errors import ConfigError

_CORE = "edge._core"


def check_native() -> None:
    """Before the first import of the core.

    Raises:
        ConfigError: It does not load.
    """
    try:
        importlib.import_module(_CORE)
    except ImportError as problem:
        fix = "build it: `pip install .` or `make build`"
        raise ConfigError("the native core does not load", expected=_CORE, got=str(problem), fix=fix) from problem
