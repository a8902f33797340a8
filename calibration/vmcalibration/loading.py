"""One pair as the network takes it, from files of any grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vmcalibration.pairs import PairFiles
from vmexport.verification import Pair
from vmruntime.grid import Grid
from vmruntime.io.images import read_labels, read_scan
from vmruntime.manifest import Manifest
from vmruntime.preparation import Preparation, decide, sample
from vmruntime.stages import Stages
from vmruntime.transform import Transform
from vmruntime.volume import Volume
from vmruntime.workplace import HostWorkplace

__all__ = ["load_pair"]


def load_pair(
    files: PairFiles, manifest: Manifest, threads: int, intensity: str | None = None
) -> Pair:
    """Read a pair and bring it to the model's grid as vm-infer does.

    Segmentations are brought there too (nearest neighbour), so that Dice is measured on the
    model's grid whatever grid the scans have.

    Parameters
    ----------
    files
        The pair.
    manifest
        The model's contract.
    threads
        Threads to use.
    intensity
        Rule for scans without one of their own; None for the manifest's.

    Raises
    ------
    ScanError, GridMismatchError, AlignmentError, ManifestError
        As `Registrar.register` raises them.
    """
    moving, fixed = read_scan(files.moving), read_scan(files.fixed)
    labels = []
    for scan, segmentation, role in (
        (moving, files.moving_seg, "moving"),
        (fixed, files.fixed_seg, "fixed"),
    ):
        volume = None if segmentation is None else read_labels(segmentation)
        if volume is not None:
            volume.require_grid(scan.grid, role)
        labels.append(volume)
    how = Preparation(
        moving_intensity=files.moving_intensity or intensity,
        fixed_intensity=files.fixed_intensity or intensity,
    )
    decision = decide(manifest, moving, fixed, how, Stages(), threads)
    workplace = HostWorkplace(threads)
    prepared = sample(decision, moving, fixed, workplace)
    return Pair(
        files.name,
        prepared.moving.data[np.newaxis],
        prepared.fixed.data[np.newaxis],
        _on_grid(labels[0], decision.affine, decision.model, workplace),
        _on_grid(labels[1], np.eye(4), decision.model, workplace),
    )


def _on_grid(
    labels: Volume | None, affine: NDArray[np.float64], model: Grid, workplace: HostWorkplace
) -> NDArray[np.integer] | None:
    if labels is None:
        return None
    transform = Transform(model, labels.grid, affine)
    (carried,) = workplace.carry(transform, [(labels, "nearest")], model)
    data: NDArray[np.integer] = carried.data
    return data
