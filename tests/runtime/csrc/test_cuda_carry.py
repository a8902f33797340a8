"""``vm_carry``: several images of several types at once, against numpy, and huge volumes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from conformance.cuda_operations import IMAGE, LOOK_UPS, NULL, Session, ints, voxel_grid
from conformance.table import shifted, turned, volume, waves
from emulated_device import EmulatedDevice, why_not_emulated
from vmruntime import BackendError, Displacement, Grid
from vmruntime.cuda.arena import Arena
from vmruntime.cuda.device import DeviceArray
from vmruntime.cuda.kernels import Kernels, Look, Placement
from vmruntime.label_vote import label_sampler
from vmruntime.mapping import voxel_map
from vmruntime.sampling import linear_sampler, nearest_sampler

MOVING, MODEL, OUT = (23, 12, 15), (10, 12, 9), (11, 19, 13)
TYPES = {
    name: i for i, name in enumerate(["f4", "f2", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])
}
INTEGERS = [name for name in TYPES if name[0] in "iu"]


@pytest.fixture(scope="module")
def device() -> Iterator[EmulatedDevice]:
    if reason := why_not_emulated():
        pytest.skip(reason)
    device = EmulatedDevice()
    yield device
    device.close()


def carried(
    session: Session,
    looks: list[tuple[NDArray[Any], str]],
    to_model: Any,
    to_moving: Any,
    field: Any,
) -> list[NDArray[Any]]:
    images, results = np.zeros(4, IMAGE), []
    for number, (data, mode) in enumerate(looks):
        moved, result = session.out(OUT, np.float32 if mode == "linear" else data.dtype)
        kind = TYPES[data.dtype.str[1:]]
        images[number] = (session.up(data).address, moved.address, 0, kind, LOOK_UPS[mode])
        results.append(result)
    session.over(
        OUT, "vm_carry", images, *ints(len(looks), *MOVING), np.ascontiguousarray(to_model[:3]),
        session.up(field), *ints(*MODEL), np.ascontiguousarray(to_moving[:3], np.float32),
        *ints(0, 0, 0, 0, *OUT),
    )  # fmt: skip
    return [result() for result in results]


SAMPLERS: dict[str, Any] = {
    "linear": linear_sampler,
    "nearest": nearest_sampler,
    "label": lambda labels: lambda at: label_sampler(labels)(at)[0],
}


@pytest.mark.parametrize("kind", INTEGERS)
def test_types_together_are_as_numpy_has_them(device: EmulatedDevice, kind: str) -> None:
    """To the bit: the same sums in the same order, none of them contracted."""
    limits = np.iinfo(kind)
    values = np.array([0, 3, 60, limits.max, limits.min], kind)
    labels = values[np.random.default_rng(3).integers(0, 5, MOVING)]
    scan = volume(MOVING)[0]
    looks: list[tuple[NDArray[Any], str]] = [
        (labels, "label"),
        (scan, "linear"),
        (labels, "nearest"),
        (scan.astype(np.float16), "linear"),
    ]
    to_model = turned((0.8, 0.6, 0.5), (-2.5, 1.7, 0.4))
    to_moving = turned((1.3, 0.8, 1.2), (2.4, 1.1, -0.7))
    field = waves(MODEL, 1.5, 5)
    at = voxel_map(Grid(OUT, to_model), Displacement(field, Grid(MODEL, np.eye(4))), to_moving)
    with Session(device) as session:
        found = carried(session, looks, to_model, to_moving, field)
    for (data, mode), result in zip(looks, found, strict=True):
        expected = SAMPLERS[mode](data)([x.copy() for x in at(slice(None))])
        assert result.dtype == (np.float32 if mode == "linear" else data.dtype)
        np.testing.assert_array_equal(result, expected)


def test_linear_of_labels(device: EmulatedDevice) -> None:
    data = np.arange(np.prod(MOVING)).reshape(MOVING).astype(np.uint16)
    to_model, field = turned((0.8, 0.6, 0.5), (-2.5, 1.7, 0.4)), np.zeros((3, *MODEL), np.float32)
    with Session(device) as session:
        (found,) = carried(session, [(data, "linear")], to_model, np.eye(4), field)
        (expected,) = carried(
            session, [(data.astype(np.float32), "linear")], to_model, np.eye(4), field
        )
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("mode", ["nearest", "label", "linear"])
def test_almost_two_to_the_31_voxels(device: EmulatedDevice, mode: str) -> None:
    """Indices are 31 bits wide: the last of as many voxels as a grid may have is found."""
    shape = (2, 1 << 15, (1 << 15) - 1)
    # Pages that nobody touches take no memory.
    labels = np.zeros(shape, np.uint8)
    labels[-1, -1, -1] = 7
    matrix = shifted(*(size - 1 for size in shape))
    with Session(device) as session:
        moved, result = session.out((1, 1, 1), np.float32 if mode == "linear" else np.uint8)
        images = np.zeros(4, IMAGE)
        images[0] = (labels.ctypes.data, moved.address, 0, TYPES["u1"], LOOK_UPS[mode])
        device.launch(
            "vm_carry", voxel_grid((1, 1, 1)), (32, 4, 2),
            [images, *ints(1, *shape), np.ascontiguousarray(matrix[:3]), NULL, *ints(0, 0, 0),
             np.zeros((3, 4), np.float32), *ints(0, 0, 0, 0, 1, 1, 1)],
        )  # fmt: skip
        assert result().item() == 7


def test_more_voxels_are_refused(device: EmulatedDevice) -> None:
    """In what is looked at, in what comes out, and in the displacement between."""
    large, small = (2, 1 << 15, 1 << 15), (2, 2, 2)
    arena = Arena(device)
    nowhere = device.allocate(8)

    def array(*shape: int) -> DeviceArray:
        return DeviceArray(nowhere, shape, np.dtype(np.float32))

    for moving, out, field in (
        (large, small, None),
        (small, large, None),
        (small, small, array(3, *large)),
    ):
        place = Placement(out, np.eye(4), field, np.eye(4))
        with arena.scope() as scope, pytest.raises(BackendError, match="too large for a GPU"):
            Kernels(arena).carry(scope, [Look(array(*moving), "linear")], place)
    device.free(nowhere)
