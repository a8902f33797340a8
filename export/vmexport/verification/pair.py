"""The pair of scans that an artifact is verified on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmexport.errors import ExportError
from vmruntime.errors import GridMismatchError
from vmruntime.intensity import IntensityRule
from vmruntime.io.images import Scan, read_labels, read_scan
from vmruntime.manifest import Manifest
from vmruntime.phantom import phantom_heads

__all__ = ["Pair", "VerifyOn", "choose_pair", "pair_from_files", "phantom_pair"]


@dataclass(frozen=True, eq=False)
class Pair:
    """Two scans on the model grid, in the model's intensities, with labels where there are some.

    Parameters
    ----------
    name
        Where they come from, for the manifest.
    moving, fixed
        ``(C, D, H, W)`` float32.
    moving_labels, fixed_labels
        ``(D, H, W)`` integers, or None.
    """

    name: str
    moving: NDArray[np.float32]
    fixed: NDArray[np.float32]
    moving_labels: NDArray[Any] | None = None
    fixed_labels: NDArray[Any] | None = None


@dataclass(frozen=True)
class VerifyOn:
    """The scans that a user wants a model verified on; a phantom where there are none.

    Parameters
    ----------
    moving, fixed
        On the model's grid.
    moving_labels, fixed_labels
        Their segmentations.
    """

    moving: Scan | None = None
    fixed: Scan | None = None
    moving_labels: Scan | None = None
    fixed_labels: Scan | None = None

    def __post_init__(self) -> None:
        if (self.moving is None) != (self.fixed is None):
            raise ExportError("a pair to verify on needs both a moving and a fixed scan")
        if self.moving is None and not (self.moving_labels is None is self.fixed_labels):
            raise ExportError(
                "labels to verify with need their scans: give the moving and fixed scan"
            )


def choose_pair(manifest: Manifest, shape: tuple[int, int, int], scans: VerifyOn) -> Pair:
    """The scans that were given, or a phantom on a grid of this shape.

    Raises
    ------
    ExportError
        Scans were given for a model of several channels.
    ScanError, GridMismatchError
        A scan cannot be used.
    """
    channels = (manifest.moving_channels, manifest.fixed_channels)
    if scans.moving is None or scans.fixed is None:
        return phantom_pair(shape, channels)
    if channels != (1, 1):
        raise ExportError(
            "scans to verify on have one channel, the model takes more; "
            "leave them out to verify on a phantom"
        )
    return pair_from_files(
        manifest, scans.moving, scans.fixed, scans.moving_labels, scans.fixed_labels
    )


def pair_from_files(
    manifest: Manifest,
    moving: Scan,
    fixed: Scan,
    moving_labels: Scan | None = None,
    fixed_labels: Scan | None = None,
) -> Pair:
    """Read a pair and bring it to the model's intensities.

    Raises
    ------
    ScanError
        A file cannot be used.
    GridMismatchError
        A scan is not on the model's grid, or labels are not on their scan's.
    """
    rule = IntensityRule.parse(manifest.intensity)
    scans = [read_scan(moving), read_scan(fixed)]
    labels = [None if file is None else read_labels(file) for file in (moving_labels, fixed_labels)]
    for scan, segmentation in zip(scans, labels, strict=True):
        differences = manifest.grid_differences(scan.grid)
        if differences:
            raise GridMismatchError(
                f"{scan.name}: is not on the model's grid: {', '.join(differences)}; "
                "give a pair that is, or none to verify on a phantom"
            )
        if segmentation is not None and not segmentation.grid.matches(scan.grid):
            raise GridMismatchError(
                f"{segmentation.name}: lies on {segmentation.grid.describe()}, not on its scan's "
                f"grid {scan.grid.describe()}; give the labels of that scan"
            )
    arrays = [rule.apply(scan.data)[np.newaxis] for scan in scans]
    segmentations = [None if s is None else s.data for s in labels]
    return Pair("files", arrays[0], arrays[1], segmentations[0], segmentations[1])


def phantom_pair(shape: tuple[int, int, int], channels: tuple[int, int] = (1, 1)) -> Pair:
    """Two made-up heads on any grid, see `vmruntime.phantom`.

    Parameters
    ----------
    shape
        ``(D, H, W)``.
    channels
        Channels of the moving and of the fixed scan.
    """
    (moving, moving_labels), (fixed, fixed_labels) = phantom_heads(shape, channels)
    return Pair("phantom", moving, fixed, moving_labels, fixed_labels)
