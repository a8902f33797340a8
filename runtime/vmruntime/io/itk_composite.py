"""ITK's composite transforms in HDF5 (``.h5``), as antsRegistration and Slicer write them.

``/TransformGroup/0`` names the composite and the groups after it are its parts, each with a type,
parameters and fixed parameters. The last part is the first to be applied to a point. A field's
fixed parameters are its size, origin, spacing and direction (row by row); its parameters are the
vectors, x running fastest; all of it in LPS mm. Source: ITK's itkHDF5TransformIO.cxx, checked
against SimpleITK in the tests.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmruntime.chain import AffineStep, Chain, Step, WarpStep
from vmruntime.errors import MissingDependencyError, ScanError, TransformError, VMError, one_line
from vmruntime.grid import Grid
from vmruntime.io.itk_linear import AFFINE, LinearTransform, affine_parameters, linear_matrix

__all__ = ["read_composite", "require_h5py", "write_composite"]

COMPOSITE = "CompositeTransform_double_3_3"
FIELD = "DisplacementFieldTransform_double_3_3"

FLIP = np.array([-1.0, -1.0, 1.0])
"""LPS to RAS and back."""

GROUP = "TransformGroup"
PARAMETERS = ("TransformParameters", "TranformParameters")
FIXED = ("TransformFixedParameters", "TranformFixedParameters")
"""Names of the data sets; ITK before 5.0 misspelt them."""


def require_h5py() -> Any:
    """The h5py module.

    Raises
    ------
    MissingDependencyError
        It is not installed.
    """
    try:
        import h5py
    except ImportError:
        raise MissingDependencyError(
            "h5py, which .h5 transforms need, is not installed; pip install 'voxelmorph-deploy[h5]'"
        ) from None
    return h5py


def read_composite(path: str | os.PathLike[str]) -> Chain:
    """Read a composite, or a single transform in the same format.

    Parameters
    ----------
    path
        ``.h5`` file of linear transforms and displacement fields.

    Returns
    -------
    Chain
        Its parts in the order in which they are applied to a point of the fixed world.

    Raises
    ------
    TransformError
        Missing, truncated or damaged file, or another kind of transform in it.
    MissingDependencyError
        h5py is not installed.
    """
    name = os.fspath(path)
    h5py = require_h5py()
    if not Path(name).is_file():
        raise TransformError(f"{name}: no such file; check the path")
    try:
        with h5py.File(name, "r") as file:
            group = file[GROUP]
            parts = [group[key] for key in sorted(group, key=int)]
            steps = [_read_step(part, name) for part in parts if not _is_composite(part)]
    except (VMError, MemoryError):
        raise
    # A damaged file surfaces in h5py as many kinds of error.
    except Exception as error:
        raise TransformError(
            f"{name}: cannot be read as an ITK transform in HDF5 ({one_line(error)}); it is "
            "damaged or something else: write it with ITK, ANTs or Slicer"
        ) from error
    if not steps:
        raise TransformError(f"{name}: holds no transform; write it again")
    return Chain(tuple(reversed(steps)))


def write_composite(path: str | os.PathLike[str], chain: Chain) -> None:
    """Write a chain as a composite.

    Parameters
    ----------
    path
        ``.h5``; overwritten. Fields are stored in float32, matrices in float64.
    chain
        Fixed to moving.

    Raises
    ------
    TransformError
        A field's axes are not at right angles, which ITK's spacing and direction cannot say.
    MissingDependencyError
        h5py is not installed.
    OSError
        The file cannot be written.
    """
    name = os.fspath(path)
    h5py = require_h5py()
    text = h5py.string_dtype("ascii")
    with h5py.File(name, "w") as file:
        parts: list[tuple[str, Any, Any]] = [(COMPOSITE, None, None)]
        parts += [_written(step, name) for step in reversed(chain.steps)]
        for number, (kind, parameters, fixed) in enumerate(parts):
            group = file.create_group(f"{GROUP}/{number}")
            group.create_dataset("TransformType", data=[kind], dtype=text)
            if parameters is not None:
                group.create_dataset(PARAMETERS[0], data=parameters)
                group.create_dataset(FIXED[0], data=fixed)


def _is_composite(part: Any) -> bool:
    return _kind(part).startswith("CompositeTransform")


def _kind(part: Any) -> str:
    value = np.asarray(part["TransformType"][()]).ravel()[0]
    return value.decode("ascii") if isinstance(value, bytes) else str(value)


def _read_step(part: Any, name: str) -> Step:
    kind = _kind(part)
    fixed = np.asarray(_dataset(part, FIXED), np.float64).ravel()
    parameters = _dataset(part, PARAMETERS)
    if kind.startswith("DisplacementFieldTransform"):
        return _read_field(parameters, fixed, name)
    values = np.asarray(parameters, np.float64).ravel()
    return AffineStep(linear_matrix([LinearTransform(kind, values, fixed)], name))


def _dataset(part: Any, names: tuple[str, str]) -> Any:
    """A data set under either spelling; none for what has no parameters."""
    found = next((part[name] for name in names if name in part), None)
    return np.empty(0) if found is None or found.shape is None else found


def _read_field(parameters: Any, fixed: NDArray[np.float64], name: str) -> WarpStep:
    if len(fixed) != 18 or parameters.size != 3 * np.prod(fixed[:3]):
        raise TransformError(
            f"{name}: its field has {parameters.size} parameters and {len(fixed)} fixed ones, "
            "which do not fit each other; it is damaged, write it again"
        )
    shape = tuple(int(size) for size in fixed[:3])
    affine = np.eye(4)
    affine[:3, :3] = FLIP[:, None] * fixed[9:].reshape(3, 3) * fixed[6:9]
    affine[:3, 3] = FLIP * fixed[3:6]
    try:
        grid = Grid(shape, affine)
    except ScanError as error:
        raise TransformError(f"{name}: the grid of its field: {error}") from None
    values = np.asarray(parameters, np.float32).reshape(*shape[::-1], 3)
    if not np.isfinite(values).all():
        raise TransformError(f"{name}: holds NaN or infinite displacements; register again")
    displacement = np.ascontiguousarray(values.transpose(2, 1, 0, 3))
    displacement *= FLIP.astype(np.float32)
    return WarpStep(displacement, grid)


def _written(step: Step, name: str) -> tuple[str, NDArray[Any], NDArray[np.float64]]:
    """ITK's type, parameters and fixed parameters of a step."""
    if isinstance(step, AffineStep):
        return AFFINE, affine_parameters(step.matrix), np.zeros(3)
    grid = step.grid
    direction = grid.affine[:3, :3] / grid.voxel_size
    if np.abs(direction.T @ direction - np.eye(3)).max() > 1e-4:
        raise TransformError(
            f"{name}: the axes of the warp's grid are not at right angles (sheared affine), which "
            "ITK cannot express; register onto a fixed scan without shear"
        )
    vectors = step.displacement_mm.transpose(2, 1, 0, 3) * FLIP.astype(np.float32)
    geometry = [grid.shape, FLIP * grid.affine[:3, 3], grid.voxel_size]
    fixed = np.concatenate([*geometry, (FLIP[:, None] * direction).ravel()])
    return FIELD, vectors.ravel(), fixed
