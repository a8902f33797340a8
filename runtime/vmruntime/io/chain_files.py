"""Reading several transform files as one chain, as antsApplyTransforms takes them."""

from __future__ import annotations

import os
from collections.abc import Sequence

from vmruntime.chain import AffineStep, Chain, Step
from vmruntime.errors import TransformError
from vmruntime.grid import Grid
from vmruntime.io.affine_files import read_affine
from vmruntime.io.itk import read_warp
from vmruntime.io.itk_composite import read_composite

__all__ = ["read_chain"]

WARP_SUFFIXES = (".nii", ".nii.gz")


def read_chain(
    paths: Sequence[str | os.PathLike[str]],
    invert: Sequence[bool] = (),
    *,
    moving: Grid | None = None,
    fixed: Grid | None = None,
) -> Chain:
    """Read transforms in antsApplyTransforms' order.

    Parameters
    ----------
    paths
        Displacement fields (``.nii``, ``.nii.gz``, see `vmruntime.io.itk`), affines (see
        `vmruntime.io.affine_files`) and composites (``.h5``), in the order in which they are
        applied to a point of the fixed world: ``[warp, affine]`` is ``affine(warp(x))``.
    invert
        For each path whether its inverse is meant; empty for none.
    moving, fixed
        Grids of the scans at the two ends of the chain. An FSL matrix needs them, and so can
        stand only where it spans the whole chain.

    Returns
    -------
    Chain
        From the fixed to the moving world. A composite counts as its parts.

    Raises
    ------
    TransformError
        A file cannot be used, or the inverse of a warp was asked for.
    MissingDependencyError
        A composite, and h5py is not installed.
    """
    steps: list[Step] = []
    alone = len(paths) == 1
    for path, inverse in zip(paths, invert or [False] * len(paths), strict=True):
        ends = (moving, fixed) if alone else (None, None)
        # The file of an inverse was made with the roles exchanged.
        source, target = ends[::-1] if inverse else ends
        part = _read(path, source, target)
        steps += _inverse(part, os.fspath(path)) if inverse else part
    return Chain(tuple(steps))


def _read(
    path: str | os.PathLike[str], moving: Grid | None, fixed: Grid | None
) -> tuple[Step, ...]:
    name = os.fspath(path).lower()
    if name.endswith(WARP_SUFFIXES):
        return (read_warp(path),)
    if name.endswith((".h5", ".hdf5")):
        return read_composite(path).steps
    return (AffineStep(read_affine(path, moving=moving, fixed=fixed)),)


def _inverse(steps: tuple[Step, ...], name: str) -> list[Step]:
    inverted: list[Step] = []
    for step in reversed(steps):
        if not isinstance(step, AffineStep):
            raise TransformError(
                f"{name}: the inverse of a displacement field cannot be computed here; give the "
                "file of the inverse warp (vm-infer --inverse-warp, ANTs' 1InverseWarp.nii.gz)"
            )
        inverted.append(step.inverse())
    return inverted
