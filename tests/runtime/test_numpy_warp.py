"""Warping in numpy against scipy, PyTorch and ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from synthetic_scans import smooth_displacement
from vmruntime import sampling
from vmruntime.warp import warp_linear, warp_nearest

SHAPE = (7, 11, 13)

COORDINATE_ERROR = 1e-5
"""Voxels: float32 coordinates up to 50 carry 4e-6, and neighbours here differ by at most 1."""

LABEL_TYPES = [np.uint8, np.int8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64]


@pytest.fixture
def volume() -> NDArray[np.float32]:
    return np.random.default_rng(0).random(SHAPE, np.float32)


def coordinates(displacement: NDArray[np.float32]) -> NDArray[np.float64]:
    """Where each voxel looks, ``(3, D, H, W)`` float64."""
    return displacement.astype(np.float64) + np.indices(displacement.shape[1:])


def far_and_near(shape: tuple[int, ...], seed: int) -> NDArray[np.float32]:
    """Displacements of every size, from well inside to far outside, and exactly onto borders."""
    random = np.random.default_rng(seed)
    scale = 10.0 ** random.uniform(-2, 2, (3, *shape))
    field = (random.standard_normal((3, *shape)) * scale).astype(np.float32)
    onto = random.integers(-2, 16, (3, *shape)) - np.indices(shape)
    return np.where(random.random((3, *shape)) < 0.3, onto, field).astype(np.float32)


def by_torch(volume: NDArray[Any], displacement: NDArray[np.float32], mode: str) -> NDArray[Any]:
    """The same with PyTorch's grid_sample in float64."""
    torch = pytest.importorskip("torch", reason="the export extra is not installed")
    last = np.array(volume.shape).reshape(3, 1, 1, 1) - 1
    grid = np.moveaxis(2 * coordinates(displacement) / last - 1, 0, -1)[..., ::-1]
    sampled = torch.nn.functional.grid_sample(
        torch.from_numpy(volume.astype(np.float64))[None, None],
        torch.from_numpy(grid.copy())[None],
        mode={"linear": "bilinear", "nearest": "nearest"}[mode],
        padding_mode="zeros",
        align_corners=True,
    )
    result: NDArray[Any] = sampled[0, 0].numpy()
    return result


def test_linear_is_scipys_inside(volume: NDArray[np.float32]) -> None:
    ndimage = pytest.importorskip("scipy.ndimage", reason="the test extra is not installed")
    displacement = smooth_displacement(SHAPE, 2.0)
    where = coordinates(displacement)
    last = np.array(SHAPE).reshape(3, 1, 1, 1) - 1
    inside = ((where >= 0) & (where <= last)).all(axis=0)
    expected = ndimage.map_coordinates(volume.astype(np.float64), where, order=1)
    assert inside.mean() > 0.4
    assert np.abs(warp_linear(volume, displacement) - expected)[inside].max() < COORDINATE_ERROR


@pytest.mark.parametrize("seed", range(3))
def test_linear_is_grid_sample_everywhere(volume: NDArray[np.float32], seed: int) -> None:
    displacement = far_and_near(SHAPE, seed)
    difference = warp_linear(volume, displacement) - by_torch(volume, displacement, "linear")
    assert np.abs(difference).max() < COORDINATE_ERROR


@pytest.mark.parametrize("seed", range(3))
def test_nearest_is_grid_sample_everywhere(volume: NDArray[np.float32], seed: int) -> None:
    displacement = far_and_near(SHAPE, seed)
    where = coordinates(displacement)
    # Where float32 and float64 may round to different sides; ties have their own test.
    clear = (np.abs(where - np.floor(where) - 0.5) > COORDINATE_ERROR).all(axis=0)
    expected = by_torch(volume, displacement, "nearest").astype(np.float32)
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(warp_nearest(volume, displacement)[clear], expected[clear])


@pytest.mark.parametrize("warp", [warp_linear, warp_nearest])
def test_grids_of_another_size(volume: NDArray[np.float32], warp: Any) -> None:
    """A volume may be looked up from a grid of another shape."""
    displacement = far_and_near((5, 17, 3), 9)
    mode = "linear" if warp is warp_linear else "nearest"
    difference = np.abs(warp(volume, displacement) - by_torch(volume, displacement, mode))
    assert np.quantile(difference, 0.99) < COORDINATE_ERROR
    assert difference.shape == (5, 17, 3)


@pytest.mark.parametrize(
    ("at", "expected"),
    [(-1.0, 0.0), (-0.5, 0.5), (-1.5, 0.0), (0.0, 1.0), (6.0, 3.0), (6.5, 1.5), (7.0, 0.0)],
)
def test_zeros_outside_are_blended_in(at: float, expected: float) -> None:
    volume = np.ones((7, 3, 3), np.float32)
    volume[6] = 3
    displacement = np.zeros((3, 1, 3, 3), np.float32)
    displacement[0] = at
    np.testing.assert_array_equal(warp_linear(volume, displacement), np.float32(expected))


@pytest.mark.parametrize("size", [1e5, 1e9, 3e38])
def test_absurd_displacements_look_at_zero(volume: NDArray[np.float32], size: float) -> None:
    for sign in (-1, 1):
        displacement = np.full((3, *SHAPE), sign * size, np.float32)
        assert not warp_linear(volume, displacement).any()
        assert not warp_nearest(volume + 1, displacement).any()


def test_halves_go_to_the_even_voxel() -> None:
    """As in ONNX Runtime's and PyTorch's grid samples, at the border too."""
    volume = np.arange(1, 10, dtype=np.int16).reshape(9, 1, 1)
    halves = np.arange(-1.5, 10, 1.0, dtype=np.float32)
    displacement = np.zeros((3, len(halves), 1, 1), np.float32)
    displacement[0, :, 0, 0] = halves - np.arange(len(halves))
    found = warp_nearest(volume, displacement).ravel()
    even = np.rint(halves).astype(int)
    expected = [volume[n, 0, 0] if 0 <= n < 9 else 0 for n in even]
    np.testing.assert_array_equal(found, expected)
    assert found.tolist() == [0, 1, 1, 3, 3, 5, 5, 7, 7, 9, 9, 0]


@pytest.mark.parametrize("mode", ["linear", "nearest"])
def test_the_same_as_onnxruntimes_grid_sample(mode: str) -> None:
    """On sizes whose coordinates are exact in [-1, 1], so that ties are ties there as well."""
    onnx = pytest.importorskip("onnx", reason="the export extra is not installed")
    onnxruntime = pytest.importorskip("onnxruntime", reason="the cpu extra is not installed")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    node = helper.make_node(
        "GridSample", ["x", "g"], ["y"], mode=mode, padding_mode="zeros", align_corners=1
    )
    names = [helper.make_tensor_value_info(name, kind, None) for name in "xgy"]
    graph = helper.make_graph([node], "sample", names[:2], names[2:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    shape = (5, 9, 17)
    random = np.random.default_rng(4)
    volume = random.random(shape, np.float32)
    quarters = random.integers(-8, 80, (3, *shape)).astype(np.float32) / 4
    displacement = quarters - np.indices(shape, np.float32)
    last = np.array(shape, np.float32).reshape(3, 1, 1, 1) - 1
    grid = np.moveaxis(2 * quarters / last - 1, 0, -1)[..., ::-1]
    expected = session.run(None, {"x": volume[None, None], "g": grid[None].copy()})[0][0, 0]
    warp = warp_linear if mode == "linear" else warp_nearest
    assert np.abs(warp(volume, displacement) - expected).max() < COORDINATE_ERROR


@pytest.mark.parametrize("threads", [2, 3, 16])
def test_threads_change_nothing(
    volume: NDArray[np.float32], threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    displacement = far_and_near(SHAPE, 5)
    labels = (volume * 1e4).astype(np.int32)
    linear, nearest = warp_linear(volume, displacement), warp_nearest(labels, displacement)
    monkeypatch.setattr(sampling, "VOXELS_PER_SLAB", 2 * SHAPE[1] * SHAPE[2])  # odd last slab
    np.testing.assert_array_equal(warp_linear(volume, displacement, threads=threads), linear)
    np.testing.assert_array_equal(warp_nearest(labels, displacement, threads=threads), nearest)


def test_an_error_in_a_thread_is_raised() -> None:
    def fail(part: slice) -> None:
        raise IndexError(part.start)

    with pytest.raises(IndexError):
        sampling.over_slabs(fail, (4, sampling.VOXELS_PER_SLAB, 1), threads=2)


@pytest.mark.parametrize("dtype", LABEL_TYPES)
def test_labels_keep_type_and_values(dtype: type) -> None:
    limits = np.iinfo(dtype)
    random = np.random.default_rng(2)
    labels = random.choice(np.array([0, 1, limits.max - 1, limits.max], dtype), SHAPE)
    labels[0, 0, 0] = limits.min
    still = warp_nearest(labels, np.zeros((3, *SHAPE), np.float32))
    assert still.dtype == dtype
    np.testing.assert_array_equal(still, labels)
    moved = warp_nearest(labels, far_and_near(SHAPE, 6))
    assert moved.dtype == dtype
    assert set(np.unique(moved)) <= set(np.unique(labels)) | {0}


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
def test_linear_gives_float32(dtype: type) -> None:
    volume = (np.random.default_rng(3).random(SHAPE) * 200).astype(dtype)
    moved = warp_linear(volume, np.zeros((3, *SHAPE), np.float32))
    assert moved.dtype == np.float32
    np.testing.assert_array_equal(moved, volume.astype(np.float32))


def test_input_is_left_alone(volume: NDArray[np.float32]) -> None:
    displacement = far_and_near(SHAPE, 7)
    kept = volume.copy(), displacement.copy()
    warp_linear(volume, displacement)
    warp_nearest(volume, displacement)
    np.testing.assert_array_equal(volume, kept[0])
    np.testing.assert_array_equal(displacement, kept[1])


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 5, 3), (4, 1, 1)])
def test_thin_volumes(shape: tuple[int, int, int]) -> None:
    volume = np.random.default_rng(8).random(shape, np.float32)
    still = np.zeros((3, *shape), np.float32)
    np.testing.assert_array_equal(warp_linear(volume, still), volume)
    np.testing.assert_array_equal(warp_nearest(volume, still), volume)
    half = still + np.float32(0.5)
    assert warp_linear(volume, half)[-1, -1, -1] == volume[-1, -1, -1] / 8
