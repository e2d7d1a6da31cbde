"""Typed errors: each says what was expected, what came, and what to do next."""

from __future__ import annotations


class EdgeError(Exception):
    """Base of every error this project raises on purpose.

    Args:
        what: One line naming the thing that is wrong.
        expected: What would have been accepted.
        got: What came instead.
        fix: What the person can do about it.
    """

    #: Process exit status of the command line when this error ends it.
    exit_status = 2

    def __init__(self, what: str, *, expected: str = "", got: str = "", fix: str = "") -> None:
        self.what, self.expected, self.got, self.fix = what, expected, got, fix
        super().__init__(what, expected, got, fix)

    def __reduce__(self) -> tuple[object, ...]:
        """So that one raised in a worker process arrives as itself; by default its words would be given by position."""
        return _again, (type(self), self.what, self.expected, self.got, self.fix)

    def __str__(self) -> str:
        rows = (("expected", self.expected), ("got", self.got), ("fix", self.fix))
        return "\n".join([self.what, *(f"  {name}: {text}" for name, text in rows if text)])


def _again(kind: type[EdgeError], what: str, expected: str, got: str, fix: str) -> EdgeError:
    return kind(what, expected=expected, got=got, fix=fix)


class ApiError(EdgeError):
    """A declaration of the robot API is not usable."""


class CallError(EdgeError):
    """A line of text is not a call of the robot API."""


class ConfigError(EdgeError):
    """A configuration file or option is not usable."""


class BundleError(EdgeError):
    """A bundle is incomplete, damaged, or made for another robot."""


class PlannerError(EdgeError):
    """The planner cannot be loaded or wrote no valid call within its budget."""


class PolicyError(EdgeError):
    """The policy cannot be loaded or produced an unusable chunk."""


class StuckError(EdgeError):
    """A thread does not come back out of a model, which others must neither use nor free: the process has to end."""


class CameraError(EdgeError):
    """A camera does not open, or its frames are stale."""


class LinkError(EdgeError):
    """A port is missing, busy, or stopped answering."""


class ArmError(EdgeError):
    """The arm is not the described one, or refuses to move."""


class DiskError(EdgeError):
    """The disk of a run directory is full or fails."""


class TaskError(EdgeError):
    """A task is empty or names something the robot does not know."""


class ServiceError(EdgeError):
    """A command to the service is not understood, not possible now, or finds no service."""


class BusyError(ServiceError):
    """The service has no place for this client now, but may have in a moment."""
