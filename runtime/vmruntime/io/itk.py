"""Displacement fields in ITK's encoding, as ANTs, Slicer and nitransforms read them.

A 5-D NIfTI of shape (X, Y, Z, 1, 3), intent 1007 (vector), in millimetres: at each voxel of the
fixed grid the offset from its own world position to the place in the moving scan, in LPS axes.
Checked against SimpleITK in the tests.
"""

from __future__ import annotations

import os

import nibabel as nib
import numpy as np

from vmruntime.transform import Transform

__all__ = ["write_warp"]


def write_warp(path: str | os.PathLike[str], transform: Transform) -> None:
    """Write a transform as an ITK displacement field.

    Parameters
    ----------
    path
        ``.nii`` or ``.nii.gz``; overwritten.
    transform
        Fixed to moving.

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
    nib.save(image, path)
