"""Writing a transform in the format of its file's suffix."""

from __future__ import annotations

import os

import numpy as np

from vmruntime.chain import AffineStep, Chain, WarpStep
from vmruntime.io.itk import write_warp
from vmruntime.io.itk_composite import require_h5py, write_composite
from vmruntime.io.nifti import COMPRESSION
from vmruntime.transform import Transform

__all__ = ["TRANSFORM_SUFFIXES", "require_writer", "write_transform"]

TRANSFORM_SUFFIXES = (".nii.gz", ".nii", ".h5")


def require_writer(path: str | os.PathLike[str]) -> None:
    """Find out early whether this kind of file can be written here.

    Raises
    ------
    MissingDependencyError
        A composite was asked for, and h5py is not installed.
    """
    if os.fspath(path).lower().endswith(".h5"):
        require_h5py()


def write_transform(
    path: str | os.PathLike[str], transform: Transform, compression: int = COMPRESSION
) -> None:
    """Write a transform, fixed to moving.

    Parameters
    ----------
    path
        ``.nii`` or ``.nii.gz``: one displacement field on the fixed scan's grid, affine included.
        ``.h5``: an ITK composite of displacement field and affine, each as it is. Overwritten.
    transform
        What to write.
    compression
        Of a ``.nii.gz``, see `vmruntime.io.nifti.save_image`.

    Raises
    ------
    OSError
        The file cannot be written.
    MissingDependencyError
        A composite was asked for, and h5py is not installed.
    """
    if not os.fspath(path).lower().endswith(".h5"):
        write_warp(path, transform, compression)
        return
    deformation = Transform(
        transform.fixed, transform.fixed, np.eye(4), transform.displacement
    ).displacement_mm()
    steps = (WarpStep(deformation, transform.fixed), AffineStep(transform.affine))
    write_composite(path, Chain(steps))
