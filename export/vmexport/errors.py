"""Errors of the exporter, below the runtime's one root.

::

    VMError (vmruntime.errors)
    ├── CheckpointError     a file is no checkpoint that can be read
    ├── ExportError         a network cannot be turned into an artifact
    │   └── EngineBuildError    an artifact cannot be turned into an engine
    └── VerificationError   the artifact does not do what its source does
"""

from __future__ import annotations

from vmruntime.errors import VMError

__all__ = ["CheckpointError", "EngineBuildError", "ExportError", "VerificationError"]


class CheckpointError(VMError):
    """A file is not a checkpoint that can be read: unknown layout, damaged, or with code in it."""


class ExportError(VMError):
    """A network cannot be turned into an artifact as asked."""


class EngineBuildError(ExportError):
    """An artifact cannot be turned into an engine as asked, or became one that is not as asked."""


class VerificationError(VMError):
    """An artifact differs from its source by more than the limit; it was not written."""
