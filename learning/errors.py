"""What can go wrong between training and its checkpoints."""

from __future__ import annotations

from edge.errors import EdgeError


class CheckpointError(EdgeError, ValueError):
    """A checkpoint is missing, half trained, or was made from something else."""
