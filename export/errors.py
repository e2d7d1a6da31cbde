"""What can go wrong between training and the robot."""

from __future__ import annotations

from edge.errors import EdgeError


class ExportError(EdgeError):
    """A checkpoint cannot be exported as it is."""


class ParityError(ExportError):
    """What was exported does not do what was trained."""

    exit_status = 3
