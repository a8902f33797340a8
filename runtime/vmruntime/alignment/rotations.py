"""Rotations, and the sets of them that the search starts from."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

__all__ = ["all_rotations", "nearby_rotations", "rotation_about"]

NEARBY_DEGREES = 40.0


def rotation_about(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(3, 3)`` float64 rotation about a ``(3,)`` axis by its length in radians (Rodrigues)."""
    angle = float(np.linalg.norm(vector))
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    rotation: NDArray[np.float64] = (
        np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    )
    return rotation


def nearby_rotations() -> NDArray[np.float64]:
    """``(15, 3, 3)``: none, and 40 degrees about the faces and the corners of a cube."""
    faces = np.concatenate([np.eye(3), -np.eye(3)])
    corners = np.array(list(product((1.0, -1.0), repeat=3))) / np.sqrt(3)
    axes = np.concatenate([faces, corners])
    turned = [rotation_about(np.radians(NEARBY_DEGREES) * axis) for axis in axes]
    return np.stack([np.eye(3), *turned])


def all_rotations() -> NDArray[np.float64]:
    """``(60, 3, 3)``: the rotations of an icosahedron; none is 45 degrees from its nearest one."""
    golden = (1 + np.sqrt(5)) / 2
    fifth = rotation_about(np.radians(72) * np.array([0, 1, golden]) / np.sqrt(1 + golden**2))
    third = rotation_about(np.radians(120) * np.ones(3) / np.sqrt(3))
    found = [np.eye(3)]
    for rotation in found:  # grows while it runs, up to the whole group
        for generator in (fifth, third):
            new = generator @ rotation
            if all(np.abs(new - known).max() > 1e-6 for known in found):
                found.append(new)
    return np.stack(found)
