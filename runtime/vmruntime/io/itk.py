"""Displacement fields in ITK's encoding, as ANTs, Slicer and nitransforms read them.

A 5-D NIfTI of shape (X, Y, Z, 1, 3), intent 1007 (vector), in millimetres: at each voxel of the
fixed grid the offset from its own world position to the place in the moving scan, in LPS axes.
Checked against SimpleITK in the tests.
"""

from __future__ import annotations

import os
from typing import Any

import nibabel as nib
import numpy as np

from vmruntime.chain import WarpStep
from vmruntime.errors import ScanError, TransformError, one_line
from vmruntime.grid import Grid
from vmruntime.io.nifti import COMPRESSION, save_image
from vmruntime.transform import Transform

__all__ = ["read_warp", "write_warp"]

INTENT_VECTOR = 1007

EXPECTED = "a displacement field as ITK and ANTs write it (5-D NIfTI, intent 1007)"


def read_warp(path: str | os.PathLike[str]) -> WarpStep:
    """Read a displacement field in ITK's encoding.

    Parameters
    ----------
    path
        5-D NIfTI of shape (X, Y, Z, 1, 3) with intent 1007, as ANTs, SimpleITK, Slicer and
        `write_warp` make it. Look-alikes (4-D, another intent) are refused: their axes may be
        LPS, RAS or voxels, which no header tells.

    Returns
    -------
    WarpStep
        In RAS+ mm.

    Raises
    ------
    TransformError
        Missing, truncated or damaged file, another encoding, NaN or infinite values.
    """
    name = os.fspath(path)
    try:
        image: Any = nib.load(name)
        known = isinstance(image, nib.Nifti1Pair)
        intent = int(image.header["intent_code"]) if known else 0
    except FileNotFoundError:
        raise TransformError(f"{name}: no such file; check the path") from None
    except Exception as error:  # damaged headers surface as many kinds of error
        raise TransformError(f"{name}: cannot be read as {EXPECTED}: {one_line(error)}") from error
    if not known or len(image.shape) != 5 or image.shape[3:] != (1, 3) or intent != INTENT_VECTOR:
        raise TransformError(
            f"{name}: has the shape {tuple(map(int, image.shape))} and intent {intent}; {EXPECTED} "
            "was expected: write it with ITK, ANTs or vm-infer --warp"
        )
    try:
        data = np.asarray(image.dataobj, dtype=np.float32)
        grid = Grid(image.shape[:3], image.affine)
    except (MemoryError, ScanError) as error:
        if isinstance(error, MemoryError):
            raise
        raise TransformError(f"{name}: {error}") from None
    # zlib, gzip, mmap and nibabel each have their own errors for a file that ends early.
    except Exception as error:
        raise TransformError(
            f"{name}: its values cannot be read, the file is truncated or damaged "
            f"({one_line(error)}); copy it again"
        ) from error
    if not np.isfinite(data).all():
        raise TransformError(f"{name}: holds NaN or infinite displacements; register again")
    offsets = np.ascontiguousarray(data[:, :, :, 0, :])
    offsets[..., :2] *= -1  # LPS to RAS
    return WarpStep(offsets, grid)


def write_warp(
    path: str | os.PathLike[str], transform: Transform, compression: int = COMPRESSION
) -> None:
    """Write a transform as an ITK displacement field.

    Parameters
    ----------
    path
        ``.nii`` or ``.nii.gz``; overwritten.
    transform
        Fixed to moving.
    compression
        See `vmruntime.io.nifti.save_image`.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    offsets = transform.displacement_mm()
    offsets[..., :2] *= -1  # RAS to LPS
    image = nib.Nifti1Image(offsets[:, :, :, np.newaxis, :], transform.fixed.affine)
    image.header.set_intent("vector")
    image.header.set_xyzt_units("mm")
    image.set_qform(transform.fixed.affine, code=1)
    image.set_sform(transform.fixed.affine, code=1)
    save_image(image, path, compression)
