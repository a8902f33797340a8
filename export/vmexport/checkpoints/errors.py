"""What can be wrong with a checkpoint."""

from __future__ import annotations

from vmexport.errors import CheckpointError

__all__ = ["CheckpointError", "UnsafeCheckpointError"]


class UnsafeCheckpointError(CheckpointError):
    """A pickle asks for more than tensors and plain values; none of its code was run."""
