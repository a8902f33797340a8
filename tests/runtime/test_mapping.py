"""How the parts of a transform are composed, against the plain formula in float64."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from synthetic_scans import ORIENTATIONS, affine_of, oblique_affine, textured, waves
from vmruntime import Displacement, Grid, Transform, Volume
from vmruntime.carrying import Carrying
from vmruntime.mapping import FADE, displaced, voxel_map

VOXELS = 2e-4
"""Voxels: float32 coordinates of up to some 200 voxels, a handful of roundings."""

MILLIMETRES = 2e-4
"""The same in the world."""

INTENSITY = 1e-4
"""Of the range, between looking a scan up at float32 and at float64 places."""

MODEL = (17, 14, 21)


def rotated(affine: NDArray[np.float64], seed: int = 0) -> NDArray[np.float64]:
    """A general affine: rotation, scales, shear and shift, around the world's origin."""
    random = np.random.default_rng(seed)
    turn = np.eye(4)
    turn[:3, :3] += random.normal(0, 0.2, (3, 3))
    turn[:3, 3] = random.normal(0, 4, 3)
    return turn @ affine


def centred(shape: tuple[int, int, int], affine: NDArray[np.float64]) -> Grid:
    """A grid with these axes around the world's origin."""
    moved = affine.copy()
    moved[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, moved)


def scene(
    orientation: str = "LIA", seed: int = 0, shape: tuple[int, int, int] = MODEL
) -> Transform:
    """Fixed, model and moving grids of other axes, sizes and shapes, and an affine."""
    fixed = centred((11, 19, 13), oblique_affine())
    model = centred(shape, affine_of("LIA", (1.9, 1.9, 1.9)))
    moving = centred((23, 12, 15), affine_of(orientation, (1.1, 2.7, 1.6)))
    displacement = Displacement(waves(shape, 1.7, 15, seed), model)
    return Transform(fixed, moving, rotated(np.eye(4), seed), displacement)


def naive_model_places(
    displacement: Displacement | None, voxels: NDArray[np.float64]
) -> NDArray[np.float64]:
    """``m + weight(m) u(m)`` for places ``(3, ...)`` in model voxels."""
    if displacement is None:
        return voxels
    last = np.array(displacement.grid.shape).reshape(3, *[1] * (voxels.ndim - 1)) - 1
    near = np.clip(voxels, 0, last)
    distance = np.sqrt(((voxels - near) ** 2).sum(axis=0))
    weight = np.clip(1 - distance / float(FADE), 0, 1)
    steps = [
        map_coordinates(component.astype(np.float64), near, order=1, mode="nearest")
        for component in displacement.data
    ]
    return voxels + weight * np.stack(steps)


def through(affine: NDArray[np.float64], places: NDArray[np.float64]) -> NDArray[np.float64]:
    flat = places.reshape(3, -1)
    moved: NDArray[np.float64] = affine[:3, :3] @ flat + affine[:3, 3:]
    return moved.reshape(places.shape)


def naive(transform: Transform, output: Grid, to_last: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where the voxels of a grid look, ``(3, ...)``, through `to_last` from the moving world."""
    world = through(output.affine, np.indices(output.shape).astype(np.float64))
    if transform.displacement is not None:
        model = transform.displacement.grid.affine
        places = naive_model_places(transform.displacement, through(np.linalg.inv(model), world))
        world = through(model, places)
    return through(to_last @ transform.affine, world)


def evaluated(transform: Transform, output: Grid, moving: Grid | None = None) -> NDArray:
    """`Transform.voxel_map` in uneven slabs."""
    where = transform.voxel_map(output, moving)
    cuts = [0, 1, output.shape[0] // 2, output.shape[0]]
    parts = [slice(a, b) for a, b in pairwise(cuts) if b > a]
    return np.concatenate([np.stack(where(part)) for part in parts], axis=1)


@pytest.mark.parametrize("orientation", ORIENTATIONS[::5])
def test_the_composition(orientation: str) -> None:
    transform = scene(orientation, seed=ORIENTATIONS.index(orientation))
    other = centred((8, 30, 9), rotated(affine_of("ASR", (2.2, 0.8, 1.4)), 7))
    moving = transform.moving
    to_voxel = np.linalg.inv(moving.affine)
    for output in (transform.fixed, transform.displacement.grid, moving, other):
        found = evaluated(transform, output)
        assert found.dtype == np.float32
        assert np.abs(found - naive(transform, output, to_voxel)).max() < VOXELS
    found = evaluated(transform, transform.fixed, other)
    expected = naive(transform, transform.fixed, np.linalg.inv(other.affine))
    assert np.abs(found - expected).max() < VOXELS


def test_the_affine_alone() -> None:
    transform = scene().affine_only()
    assert transform.displacement is None
    to_voxel = np.linalg.inv(transform.moving.affine)
    for output in (transform.fixed, transform.moving):
        found = evaluated(transform, output)
        assert np.abs(found - naive(transform, output, to_voxel)).max() < VOXELS


@pytest.mark.parametrize(
    "bounds",
    [
        [(0, 17), (0, 14), (0, 21)],
        [(3, 9), (0, 14), (5, 6)],
        [(16, 17), (13, 14), (20, 21)],
        [(-2, 9), (1, 14), (5, 23)],
    ],
    ids=["whole", "inside", "corner", "beyond"],
)
def test_boxes_of_the_model_grid(bounds: list[tuple[int, int]]) -> None:
    """Their voxels are model voxels: the displacement is taken there without a look-up."""
    transform = scene()
    box = transform.displacement.grid.box(bounds)
    found = evaluated(transform, box)
    expected = naive(transform, box, np.linalg.inv(transform.moving.affine))
    assert np.abs(found - expected).max() < VOXELS


@pytest.mark.parametrize("stretch", [1e-7, 2e-5, 2e-4, 1e-3])
def test_a_grid_that_is_nearly_the_models(stretch: float) -> None:
    """Over a long axis small differences add up: only what stays the same voxel is taken as it."""
    shape = (200, 6, 5)
    model = centred(shape, affine_of("LIA", (1, 1, 1)))
    field = np.zeros((3, *shape), np.float32)
    field[1] = np.sin(np.arange(200) * 0.9)[:, None, None]
    nearly = model.affine @ np.diag([1 + stretch, 1, 1, 1])
    transform = Transform(Grid(shape, nearly), model, np.eye(4), Displacement(field, model))
    found = evaluated(transform, transform.fixed)
    expected = naive(transform, transform.fixed, np.linalg.inv(model.affine))
    # A thousandth of a voxel off in a field that changes by a voxel a voxel.
    assert np.abs(found - expected).max() < 1e-3 + VOXELS


def test_fading_beyond_the_model_grid() -> None:
    """Continuous at the border, gone after 16 voxels, and the affine from there on."""
    shape = (6, 7, 5)
    model = Grid(shape, np.eye(4))
    field = np.zeros((3, *shape), np.float32)
    field[0], field[2] = 3, -2
    displace = displaced(Displacement(field, model))
    steps = np.linspace(-20, 30, 1001).astype(np.float32)
    middle = np.full_like(steps, 3)
    moved = displace([steps, middle, middle])
    outside = np.maximum(np.maximum(-steps, steps - (shape[0] - 1)), 0)
    weight = np.clip(1 - outside / 16, 0, 1)
    assert np.abs(moved[0] - steps - 3 * weight).max() < VOXELS
    assert np.abs(moved[2] - middle + 2 * weight).max() < VOXELS
    np.testing.assert_array_equal(moved[1], middle)
    np.testing.assert_array_equal(moved[0][outside >= 16], steps[outside >= 16])
    # No step anywhere: between neighbours 0.05 apart it moves by 0.05 (1 + 3 / 16) at most.
    assert np.abs(np.diff(moved[0])).max() < 0.05 * (1 + 3 / 16) + VOXELS


def test_places_far_outside_are_left_as_they_are() -> None:
    shape = (6, 7, 5)
    displace = displaced(Displacement(waves(shape), Grid(shape, np.eye(4))))
    far = [np.full(4, 100, np.float32)] * 3
    for found, given in zip(displace(far), far, strict=True):
        np.testing.assert_array_equal(found, given)


def test_displacing_leaves_its_input_alone() -> None:
    shape = (6, 7, 5)
    displace = displaced(Displacement(waves(shape), Grid(shape, np.eye(4))))
    for low, high in ((1, 4), (-3, 9), (40, 50)):
        places = [np.linspace(low, high, 9).astype(np.float32) for _ in range(3)]
        copies = [place.copy() for place in places]
        displace(places)
        for place, copy in zip(places, copies, strict=True):
            np.testing.assert_array_equal(place, copy)


def test_a_map_to_world_positions() -> None:
    transform = scene()
    model = transform.displacement.grid
    where = voxel_map(model, transform.displacement, transform.affine @ model.affine)
    found = np.stack(where(slice(0, model.shape[0])))
    assert np.abs(found - naive(transform, model, np.eye(4))).max() < MILLIMETRES


# Transforms --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_points_go_where_the_voxels_look(seed: int) -> None:
    """`map_points`, `displacement_mm` and the formula are one and the same map."""
    transform = scene(ORIENTATIONS[7 * seed], seed)
    far = centred((5, 4, 6), affine_of("RAS", (19, 23, 17)))  # mostly beyond the model's grid
    for grid in (transform.fixed, transform.displacement.grid, far):
        places = through(grid.affine, np.indices(grid.shape).astype(np.float64))
        found = transform.map_points(places.reshape(3, -1).T).T.reshape(places.shape)
        assert np.abs(found - naive(transform, grid, np.eye(4))).max() < MILLIMETRES
        offsets = np.moveaxis(transform.displacement_mm(grid), -1, 0)
        assert np.abs(places + offsets - found).max() < MILLIMETRES
    offsets = np.moveaxis(transform.displacement_mm(), -1, 0)
    assert offsets.shape == (3, *transform.fixed.shape)


@pytest.mark.parametrize("which", ["fixed", "model", "moving", "other"])
def test_carrying_onto_any_grid(which: str) -> None:
    transform = scene("PIR", 4)
    grid = {
        "fixed": transform.fixed,
        "model": transform.displacement.grid,
        "moving": transform.moving,
        "other": centred((14, 9, 16), rotated(affine_of("SLA", (1.5, 2.1, 1.2)), 3)),
    }[which]
    scan = Volume(textured(transform.moving.shape), transform.moving)
    moved = transform.apply(scan, grid=grid, threads=2)
    assert moved.grid is grid
    places = naive(transform, grid, np.linalg.inv(scan.grid.affine))
    padded = np.pad(scan.data.astype(np.float64), 3)
    expected = map_coordinates(padded, places + 3, order=1, mode="constant")
    assert np.abs(moved.data - expected).max() < INTENSITY * 255
    assert moved.data.max() > 100
    labels = scan.with_data(np.rint(scan.data / 40).astype(np.int16) * 2003)
    carried = transform.apply(labels, "nearest", grid=grid)
    nearest = map_coordinates(np.pad(labels.data, 3), places + 3, order=0, mode="constant")
    clear = (np.abs(places - np.floor(places) - 0.5) > 1e-3).all(axis=0)
    np.testing.assert_array_equal(carried.data[clear], nearest[clear])


@pytest.mark.parametrize("interpolation", ["linear", "cubic", "nearest", "vote"])
@pytest.mark.parametrize("seed", range(4))
def test_the_box_that_sees_changes_nothing(interpolation: str, seed: int) -> None:
    """Only the part of the output is computed that looks at other than zeros.

    The same scan with one voxel set in each far corner of a larger field of view must be computed
    everywhere.
    """
    transform = scene(ORIENTATIONS[11 * seed], seed)
    random = np.random.default_rng(seed)
    shape = transform.moving.shape
    data = np.zeros(shape, np.int16)
    low = random.integers(0, np.array(shape) - 4)
    high = low + random.integers(2, 4, 3)
    part = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    data[part] = random.integers(1, 200, data[part].shape)
    rim = 60
    wide = np.pad(data, rim)
    wide[0, 0, 0] = wide[-1, -1, -1] = 1
    shift = np.eye(4)
    shift[:3, 3] = -rim
    volumes = [
        Volume(data, transform.moving),
        Volume(wide, Grid(wide.shape, transform.moving.affine @ shift)),
    ]
    if interpolation == "vote":
        (labels, shares), (all_labels, all_shares) = (transform.vote(v) for v in volumes)
        assert np.abs(shares.data - all_shares.data).max() < 1e-4
        clear = shares.data > 0.51
        np.testing.assert_array_equal(labels.data[clear], all_labels.data[clear])
        return
    found, everything = (transform.apply(v, interpolation) for v in volumes)  # type: ignore[arg-type]
    if interpolation == "nearest":
        # Voxel coordinates of the wide one are larger by `rim`: halves may round otherwise.
        assert (found.data != everything.data).mean() < 1e-3
    else:
        assert np.abs(found.data - everything.data).max() < INTENSITY * 255
    assert everything.data.any() == found.data.any()


def test_the_box_is_smaller_than_everything() -> None:
    """Or the test above would test nothing."""
    transform = scene()
    carrying = Carrying(
        transform.fixed, transform.moving, transform.affine, transform.displacement, threads=1
    )
    box = carrying.box_that_sees(transform.moving.box([(11, 12), (6, 7), (7, 8)]))
    assert np.prod(box[:, 1] - box[:, 0]) < 0.75 * np.prod(transform.fixed.shape)


def test_an_image_that_nothing_sees() -> None:
    transform = scene()
    away = transform.moving.affine.copy()
    away[:3, 3] += 500
    scan = Volume(textured(transform.moving.shape), Grid(transform.moving.shape, away))
    assert not transform.apply(scan).data.any()
    assert not transform.apply(scan, "nearest").data.any()
    empty = Volume(np.zeros(transform.moving.shape, np.int16), transform.moving)
    labels, shares = transform.vote(empty)
    assert not labels.data.any()
    assert (shares.data == 1).all()


def test_an_image_anywhere_in_the_moving_world() -> None:
    """A second scan of the subject on a grid of its own is carried just the same."""
    transform = scene()
    other = centred((9, 14, 11), rotated(affine_of("ILP", (2.3, 1.4, 1.8)), 9))
    scan = Volume(textured(other.shape, 4), other)
    places = naive(transform, transform.fixed, np.linalg.inv(other.affine))
    expected = map_coordinates(np.pad(scan.data.astype(float), 3), places + 3, order=1)
    assert np.abs(transform.apply(scan).data - expected).max() < INTENSITY * 255


def test_threads_change_nothing() -> None:
    shape = (90, 60, 70)
    transform = scene(shape=shape)
    scan = Volume(textured(transform.moving.shape), transform.moving)
    grid = transform.displacement.grid
    one, two = (transform.apply(scan, grid=grid, threads=n).data for n in (1, 2))
    np.testing.assert_array_equal(one, two)
