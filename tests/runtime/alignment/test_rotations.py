"""Sets of rotations to start from."""

from __future__ import annotations

import numpy as np
import pytest

from vmruntime.alignment.rotations import all_rotations, nearby_rotations, rotation_about


def degrees_between(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    cosine = (np.einsum("nij,mij->nm", one, other) - 1) / 2
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


@pytest.mark.parametrize("rotations", [nearby_rotations(), all_rotations()])
def test_are_rotations(rotations: np.ndarray) -> None:
    assert np.allclose(rotations @ rotations.transpose(0, 2, 1), np.eye(3))
    assert np.allclose(np.linalg.det(rotations), 1)


def test_nearby() -> None:
    angles = degrees_between(nearby_rotations(), np.eye(3)[None])[:, 0]
    assert angles[0] == pytest.approx(0, abs=1e-5)
    assert angles[1:] == pytest.approx(np.full(14, 40))


def test_all_rotations_leave_no_gap() -> None:
    assert all_rotations().shape == (60, 3, 3)
    random = np.random.default_rng(6).normal(size=(3000, 4))
    q = random / np.linalg.norm(random, axis=1, keepdims=True)
    anywhere = np.stack(
        [
            rotation_about(2 * np.arccos(w) * v / np.linalg.norm(v))
            for w, v in zip(q[:, 0], q[:, 1:], strict=True)
        ]
    )
    assert degrees_between(anywhere, all_rotations()).min(axis=1).max() < 45


def test_rotation_about() -> None:
    turned = rotation_about(np.radians(90) * np.array([0, 0, 1.0])) @ (1, 0, 0)
    assert turned == pytest.approx((0, 1, 0))
    assert np.array_equal(rotation_about(np.zeros(3)), np.eye(3))
