"""ITK's linear transforms: from their parameters to a matrix in RAS+ and back.

ITK counts in LPS and keeps a transform as a name, parameters and fixed parameters; every file
format it writes (text, MATLAB, HDF5) holds these three. Source: ITK Software Guide, section 3.9,
checked against SimpleITK in the tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vmruntime.errors import TransformError
from vmruntime.io.matrix import LARGEST, checked_matrix

__all__ = ["AFFINE", "LinearTransform", "affine_parameters", "linear_matrix"]

AFFINE = "AffineTransform_double_3_3"
"""Name under which an affine is written: ANTs, Slicer and SimpleITK all read it."""

FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])
"""LPS to RAS and back."""

PARAMETERS = {
    "AffineTransform": 12,
    "Euler3DTransform": 6,
    "IdentityTransform": 0,
    "MatrixOffsetTransformBase": 12,
    "Similarity3DTransform": 7,
    "TranslationTransform": 3,
    "VersorRigid3DTransform": 6,
}


@dataclass(frozen=True, eq=False)
class LinearTransform:
    """What an ITK file says about one transform.

    Parameters
    ----------
    kind
        ITK's name, such as ``"AffineTransform_double_3_3"``.
    parameters, fixed
        Its parameters and fixed parameters (mostly the centre of rotation), in LPS mm and radians.
    """

    kind: str
    parameters: NDArray[np.float64]
    fixed: NDArray[np.float64]


def linear_matrix(transforms: Sequence[LinearTransform], name: str) -> NDArray[np.float64]:
    """The matrix of one transform or of a composite.

    Parameters
    ----------
    transforms
        In the order of the file: as in ITK, a composite applies the last one first.
    name
        What messages call the file.

    Returns
    -------
    ndarray
        ``(4, 4)`` float64: RAS+ mm of the fixed world to RAS+ mm of the moving world.

    Raises
    ------
    TransformError
        Not a linear 3-D transform known here, damaged, or singular.
    """
    matrix = np.eye(4)
    for transform in transforms:
        matrix = matrix @ _lps_matrix(transform, name)
    return checked_matrix(FLIP @ matrix @ FLIP, name)


def affine_parameters(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The 12 parameters of `AFFINE`, with the centre at the origin, for a RAS+ matrix."""
    lps = FLIP @ matrix @ FLIP
    return np.concatenate([lps[:3, :3].ravel(), lps[:3, 3]])


def _lps_matrix(transform: LinearTransform, name: str) -> NDArray[np.float64]:
    kind, _, rest = transform.kind.partition("_")
    if kind not in PARAMETERS or not rest.endswith("3_3"):
        raise TransformError(
            f"{name}: holds a {transform.kind or 'transform without a name'}; linear 3-D "
            f"transforms ({', '.join(PARAMETERS)}) and, in .h5, displacement fields are read: "
            "convert it with ITK or Slicer"
        )
    values, fixed = transform.parameters, transform.fixed
    if len(values) != PARAMETERS[kind] or len(fixed) not in (0, 3, 4):
        raise TransformError(
            f"{name}: its {transform.kind} has {len(values)} parameters and {len(fixed)} fixed "
            f"ones; {PARAMETERS[kind]} and 3 were expected: it is damaged, write it again"
        )
    # Negated, so that NaN does not pass.
    if not np.abs(np.concatenate([values, fixed, [0.0]])).max() <= LARGEST:
        raise TransformError(
            f"{name}: its parameters are not finite numbers below {LARGEST:g}; it is damaged, "
            "write it again"
        )
    matrix = np.eye(4)
    if kind in ("AffineTransform", "MatrixOffsetTransformBase"):
        matrix[:3, :3] = values[:9].reshape(3, 3)
    elif kind == "Euler3DTransform":
        # The fourth fixed parameter, absent before ITK 4.10, is the order of the rotations.
        matrix[:3, :3] = _euler(values[:3], zyx=len(fixed) == 4 and bool(fixed[3]))
    elif kind in ("Similarity3DTransform", "VersorRigid3DTransform"):
        matrix[:3, :3] = _versor(values[:3], name)
    translation = values[-3:] if kind != "Similarity3DTransform" else values[3:6]
    if kind == "Similarity3DTransform":
        matrix[:3, :3] *= values[6]
    centre = fixed[:3] if len(fixed) else np.zeros(3)
    if kind != "IdentityTransform":
        # y = M (x - c) + c + t
        matrix[:3, 3] = translation + centre - matrix[:3, :3] @ centre
    return matrix


def _euler(angles: NDArray[np.float64], *, zyx: bool) -> NDArray[np.float64]:
    """``Rz Rx Ry``, or ``Rz Ry Rx``: itkEuler3DTransform.hxx, ComputeMatrix."""
    x, y, z = (_rotation(axis, angle) for axis, angle in enumerate(angles))
    rotation: NDArray[np.float64] = z @ y @ x if zyx else z @ x @ y
    return rotation


def _rotation(axis: int, angle: float) -> NDArray[np.float64]:
    rotation = np.eye(3)
    one, two = (axis + 1) % 3, (axis + 2) % 3
    rotation[one, one] = rotation[two, two] = np.cos(angle)
    rotation[two, one] = np.sin(angle)
    rotation[one, two] = -rotation[two, one]
    return rotation


def _versor(right: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """Rotation of the unit quaternion whose vector part is `right`: itkVersor.hxx, GetMatrix."""
    length = float(right @ right)
    if length > 1 + 1e-9:
        raise TransformError(
            f"{name}: its rotation is no versor (length {length**0.5:.4g} above 1); "
            "it is damaged, write it again"
        )
    x, y, z = right
    w = np.sqrt(max(0.0, 1 - length))
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
