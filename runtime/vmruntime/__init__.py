"""Registers scans with an artifact that vm-export made; needs no PyTorch.

::

    from vmruntime import Registrar

    with Registrar.load("model.onnx") as registrar:
        result = registrar.register("moving.nii.gz", "fixed.nii.gz")
        result.moved.save("moved.nii.gz")
"""

from vmruntime.artifact import Artifact
from vmruntime.displacement import Displacement
from vmruntime.errors import (
    AlignmentError,
    ArtifactError,
    BackendError,
    BackendUnavailableError,
    GridMismatchError,
    ManifestError,
    MissingDependencyError,
    OutputError,
    ScanError,
    TransformError,
    VMError,
)
from vmruntime.grid import Grid
from vmruntime.intensity import IntensityRule
from vmruntime.manifest import Manifest
from vmruntime.quality import Quality
from vmruntime.registrar import Registrar
from vmruntime.registration import Registration
from vmruntime.transform import Transform
from vmruntime.version import __version__
from vmruntime.volume import Volume

__all__ = [
    "AlignmentError",
    "Artifact",
    "ArtifactError",
    "BackendError",
    "BackendUnavailableError",
    "Displacement",
    "Grid",
    "GridMismatchError",
    "IntensityRule",
    "Manifest",
    "ManifestError",
    "MissingDependencyError",
    "OutputError",
    "Quality",
    "Registrar",
    "Registration",
    "ScanError",
    "Transform",
    "TransformError",
    "VMError",
    "Volume",
    "__version__",
]
