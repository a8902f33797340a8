"""The one tree of errors that this package raises on purpose.

::

    VMError                     anything a user can act on; its text is one line
    ├── ScanError               a scan or label image that cannot be used
    ├── AlignmentError          two scans could not be aligned
    ├── GridMismatchError       two grids that had to be the same
    ├── ArtifactError           a file that is no usable registration artifact
    │   └── ManifestError       its manifest is missing, malformed or of a newer version
    ├── BackendError            an inference engine failed
    │   ├── BackendUnavailableError   it is not installed, or cannot run here
    │   ├── DeviceLostError     the GPU failed; nothing runs on it any more
    │   └── DeviceMemoryError   the GPU's memory is too short; it goes on with less
    ├── OutputError             a result could not be written
    ├── MissingDependencyError  an optional package is not installed
    └── TransformError          a transform or point file that cannot be used

``vmexport.errors`` adds the errors of the exporter below the same root, ``vmcalibration.errors``
and ``vmruntime.batch.errors`` theirs. A message says the fact, what was expected and what to do;
the commands print it as it is and exit with 1.
"""

from __future__ import annotations

__all__ = [
    "AlignmentError",
    "ArtifactError",
    "BackendError",
    "BackendUnavailableError",
    "DeviceLostError",
    "DeviceMemoryError",
    "GridMismatchError",
    "ManifestError",
    "MissingDependencyError",
    "OutputError",
    "ScanError",
    "TransformError",
    "VMError",
    "one_line",
]


def one_line(error: BaseException, limit: int = 200) -> str:
    """The text of an exception as one line of at most `limit` characters; its type if empty."""
    text = " ".join(str(error).split())
    return text[:limit] if text else type(error).__name__


class VMError(Exception):
    """Root of every error that this project raises on purpose."""


class ScanError(VMError):
    """A scan or label image cannot be used: unreadable, wrong shape, NaN, no affine."""


class AlignmentError(VMError):
    """Two scans could not be aligned: no overlap, or evidently a wrong result."""


class GridMismatchError(VMError):
    """Two grids that had to be the same are not."""


class ArtifactError(VMError):
    """A file is not a registration artifact that this version can use."""


class ManifestError(ArtifactError):
    """The manifest inside an artifact is missing, malformed or of a newer version."""


class BackendError(VMError):
    """An inference engine failed while loading or running an artifact."""


class BackendUnavailableError(BackendError):
    """The inference engine that was asked for is not installed or cannot run on this machine."""


class DeviceLostError(BackendError):
    """A GPU failed, and with it everything that this process holds there."""


class DeviceMemoryError(BackendError):
    """A GPU has not enough free memory for what was asked of it."""


class OutputError(VMError):
    """A result could not be written, or would have overwritten something."""


class MissingDependencyError(VMError):
    """An optional package is not installed; the message names the extra."""


class TransformError(VMError):
    """A transform or a list of points cannot be used: unreadable, unknown form, no inverse."""
