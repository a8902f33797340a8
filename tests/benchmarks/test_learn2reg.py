"""Learn2Reg's measures, by hand and against what its evaluation uses."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import correlate, distance_transform_edt, gaussian_filter

from synthetic_scans import smooth_displacement
from vmruntime.quality import regularity


def box(shape: tuple[int, int, int], low: int, high: int) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[low:high, low:high, low:high] = True
    return mask


def blobs(seed: int, above: float) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(17, 20, 15))
    return gaussian_filter(noise, 1.5) > above


def test_the_surface_of_a_box_has_the_area_that_marching_cubes_gives_it(module: Any) -> None:
    areas = module("learn2reg").surfel_areas(box((9, 9, 9), 2, 6))
    # Six faces of 3 x 3 whole squares, twelve edges of 3 cut corners, eight corners.
    assert areas.shape == (10, 10, 10)
    assert areas.sum() == pytest.approx(6 * 9 + 12 * 3 * math.sqrt(0.5) + 8 * math.sqrt(3) / 8)
    assert areas[4, 4, 4] == 0
    assert areas[2, 4, 4] == 1


def test_every_arrangement_and_its_opposite_have_one_area(module: Any) -> None:
    table = module("learn2reg")._area_of_codes()
    assert table.shape == (256,)
    assert np.array_equal(table, table[::-1])
    assert (table[1:-1] > 0).all()


def test_hd95_of_shifted_boxes(module: Any) -> None:
    learn2reg = module("learn2reg")
    one = box((20, 20, 20), 4, 10)
    assert learn2reg.hd95(one, one) == 0
    # Of a large box's surface, one face (a sixth) is three voxels away, more than 5 %.
    assert learn2reg.hd95(one, np.roll(one, 3, axis=1)) == 3
    assert learn2reg.hd95(one, np.zeros_like(one)) == math.inf


def test_hd95_leaves_out_the_farthest_area_and_the_maximum_does_not(module: Any) -> None:
    one = box((40, 40, 40), 10, 30)
    other = one.copy()
    other[0, 0, 0] = True  # far away, but far less than 5 % of the surface
    assert module("learn2reg").hd95(one, other) == 0


def test_hd95_agrees_with_distance_transforms(module: Any) -> None:
    learn2reg = module("learn2reg")
    one, other = blobs(3, 0.05), blobs(4, 0.07)
    surfaces = [learn2reg.surfel_areas(mask) for mask in (one, other)]
    worst = []
    for mine, theirs in (surfaces, surfaces[::-1]):
        at = mine > 0
        away, area = distance_transform_edt(theirs == 0)[at], mine[at]
        # The least distance that 95 % of the area is within.
        within = [d for d in np.unique(away) if area[away <= d].sum() >= 0.95 * area.sum()]
        worst.append(within[0])
    assert learn2reg.hd95(one, other) == pytest.approx(max(worst), abs=1e-12)


@pytest.mark.filterwarnings("ignore:.*namespace is deprecated:DeprecationWarning")
@pytest.mark.parametrize("seed", range(5))
def test_hd95_is_what_the_challenge_computes(module: Any, seed: int) -> None:
    genuine = pytest.importorskip("surface_distance", reason="the test extra is not installed")
    one, other = blobs(seed, 0.04), blobs(seed + 10, 0.08)
    distances = genuine.compute_surface_distances(one, other, np.ones(3))
    wanted = genuine.compute_robust_hausdorff(distances, 95.0)
    assert module("learn2reg").hd95(one, other) == pytest.approx(wanted, abs=1e-12)


def test_labels_that_one_scan_lacks_are_left_out(module: Any) -> None:
    fixed = np.zeros((8, 8, 8), np.int32)
    fixed[1:4] = 1
    fixed[5:7] = 2
    moving = np.where(fixed == 2, 3, fixed)
    found = module("learn2reg").labels_agree(fixed, moving, fixed, (1, 2, 3, 4))
    assert found == {"dice": 1.0, "hd95": 0.0, "labels": 1}
    none = module("learn2reg").labels_agree(fixed, moving, fixed, (9,))
    assert math.isnan(none["dice"])
    assert none["labels"] == 0


def determinant_of_the_challenge(displacement: np.ndarray) -> np.ndarray:
    """Central differences with zeros outside, two voxels cut off at every border."""
    rows = []
    for axis in range(3):
        kernel = np.array([-0.5, 0, 0.5]).reshape([3 if a == axis else 1 for a in range(3)])
        rows.append([correlate(u, kernel, mode="constant") for u in displacement.astype(float)])
    jacobian = np.array(rows).transpose(2, 3, 4, 0, 1) + np.eye(3)
    determinant: np.ndarray = np.linalg.det(jacobian)[2:-2, 2:-2, 2:-2]
    return determinant


def test_sdlogj_is_what_the_challenge_defines(module: Any) -> None:
    field = smooth_displacement((18, 21, 16), 2.0)
    wanted = np.log((determinant_of_the_challenge(field) + 3).clip(1e-9, 1e9)).std()
    assert wanted > 0.01
    assert module("learn2reg").sd_log_j(field) == pytest.approx(wanted, rel=1e-4)
    # Not the SD of log det J, which the 3 damps.
    assert regularity(field).sd_log_jacobian > 2 * wanted


def test_foldings_are_counted_where_the_challenge_counts_none(module: Any) -> None:
    field = np.zeros((3, 12, 12, 12), np.float32)
    field[0] = -2 * np.arange(12, dtype=np.float32)[:, None, None]  # det J = -1 everywhere
    determinant = determinant_of_the_challenge(field)
    assert ((determinant + 3).clip(1e-9, 1e9) <= 0).sum() == 0, "the fault that is avoided"
    assert module("learn2reg").folding_voxels(field) == 8**3
    assert module("learn2reg").folding_voxels(np.zeros_like(field)) == 0


def test_the_pair_before_registration(module: Any, assets: Path) -> None:
    found = module("pair").judge(np.zeros((3, 160, 192, 224), np.float32))
    assert found["dice"] == pytest.approx(0.5835, abs=1e-3)
    assert found["ncc"] == pytest.approx(0.925, abs=1e-3)
    assert found["learn2reg"]["dice"] == pytest.approx(found["dice"])
    assert found["learn2reg"]["labels"] == 30
    assert found["learn2reg"]["sd_log_j"] < 1e-12
    assert 3 < found["learn2reg"]["hd95"] < 7
