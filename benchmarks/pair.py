"""The pair of scans that everything here is measured on, and what a result on it is worth.

subject_n -> test_scan with VoxelMorph's official brain model: real scans that both stand on the
model's grid, with labels. They are not part of this repository: ``../shared/assets`` or
``$VM_ASSETS``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import learn2reg
import numpy as np
from numpy.typing import NDArray

from vmruntime import Displacement, Volume
from vmruntime.io.images import read_labels, read_scan
from vmruntime.quality import overlap, regularity, similarity
from vmruntime.warp import warp_linear, warp_nearest

__all__ = [
    "AFFINE", "ASSETS", "CHECKPOINT", "FILES", "ROOT", "SHAPE", "judge", "judge_carried",
    "labels_of", "require_assets", "scans", "wanted_labels",
]  # fmt: skip

ROOT = Path(__file__).resolve().parents[1]
ASSETS = Path(os.environ.get("VM_ASSETS", ROOT.parent / "shared" / "assets"))
CHECKPOINT = ASSETS / "models" / "vxm_dense_brain_T1_3D_mse.pt"
SHAPE = (160, 192, 224)
AFFINE = np.array([[-1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]], np.float64)
"""LIA, the model's orientation."""

FILES = {
    "moving": ASSETS / "scans" / "subject_n_aligned.nii.gz",
    "fixed": ASSETS / "scans" / "test_scan_aligned.nii.gz",
    "moving_seg": ASSETS / "scans" / "subject_n_aligned_aseg.nii.gz",
    "fixed_seg": ASSETS / "scans" / "test_scan_aligned_aseg.nii.gz",
}


def require_assets() -> None:
    """End the program where the model and the scans are not there."""
    if not CHECKPOINT.is_file():
        sys.exit(f"no model at {CHECKPOINT}; set VM_ASSETS to the folder of models and scans")


@cache
def scans() -> tuple[Volume, Volume]:
    """Moving and fixed scan as stored, 0 to 255."""
    return read_scan(FILES["moving"]), read_scan(FILES["fixed"])


@cache
def labels_of(role: str) -> Volume:
    """FreeSurfer's labels of the ``"moving"`` or the ``"fixed"`` scan."""
    return read_labels(FILES[f"{role}_seg"])


@cache
def wanted_labels() -> tuple[int, ...]:
    """The 30 labels that VoxelMorph reports Dice on."""
    with np.load(ASSETS / "scans" / "voxelmorph_labels.npz") as stored:
        return tuple(int(label) for label in stored[stored.files[0]])


def judge(displacement: NDArray[np.float32]) -> dict[str, Any]:
    """What a ``(3, D, H, W)`` displacement in voxels of the fixed scan's grid is worth."""
    moving, fixed = scans()
    field = Displacement(np.ascontiguousarray(displacement), fixed.grid)
    moved = warp_linear(moving.data.astype(np.float32), field.data)
    carried = warp_nearest(labels_of("moving").data, field.data)
    found = regularity(field.data)
    return {
        **judge_carried(moved, carried),
        "folding_voxels": found.folding_voxels,
        "folding_percent": found.folding_percent,
        "learn2reg": {
            **learn2reg.labels_agree(
                labels_of("fixed").data, labels_of("moving").data, carried, wanted_labels()
            ),
            "sd_log_j": learn2reg.sd_log_j(field.data),
            "folding_voxels": learn2reg.folding_voxels(field.data),
        },
    }


def judge_carried(moved: NDArray[Any], carried: NDArray[Any]) -> dict[str, Any]:
    """NCC of a moved scan, and Dice of labels that were carried with it, on the fixed grid."""
    fixed = scans()[1].data.astype(np.float32)
    labels: Iterable[int] = wanted_labels()
    return {
        "ncc": similarity(moved.astype(np.float32), fixed, local=False).ncc,
        "dice": overlap(carried, labels_of("fixed").data, labels).mean,
    }
