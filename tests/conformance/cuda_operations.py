"""Each row of the table as launches of the CUDA kernels on a `Device`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conformance.rows import (
    AffineRow,
    CarryRow,
    ComposeRow,
    IntegrateRow,
    JacobianRow,
    ResizeRow,
    Row,
    WarpRow,
)
from vmruntime.cuda.device import Argument, Device, Dim, Memory

__all__ = ["OPERATIONS", "Session", "ints", "run", "voxel_grid"]

Array = NDArray[Any]

BLOCK: Dim = (32, 4, 2)
NULL = np.uint64(0)
SUFFIX = {"f4": "f32", "f2": "f16", "u1": "u8", "i2": "i16", "i4": "i32"}
TYPES = {"f4": 0, "f2": 1, "u1": 3, "i2": 4, "i4": 6}
LOOK_UPS = {"linear": 0, "nearest": 1, "label": 2}
IMAGE = np.dtype([("data", "u8"), ("moved", "u8"), ("share", "u8"), ("type", "i4"), ("mode", "i4")])


def ints(*values: int) -> list[np.int32]:
    """Arguments of C's type int."""
    return [np.int32(value) for value in values]


def voxel_grid(shape: Sequence[int]) -> Dim:
    """Blocks that cover a grid of this shape once."""
    d, h, w = shape
    return (-(-w // BLOCK[0]), -(-h // BLOCK[1]), -(-d // BLOCK[2]))


class Session:
    """Launches on one device; frees at the end what it allocated."""

    def __init__(self, device: Device, grid: Dim | None = None) -> None:
        self.device = device
        self.grid = grid
        self._held: list[Memory] = []

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        for memory in self._held:
            self.device.free(memory)

    def empty(self, nbytes: int) -> Memory:
        memory = self.device.allocate(nbytes)
        self._held.append(memory)
        return memory

    def up(self, array: Array) -> Memory:
        memory = self.empty(array.nbytes)
        self.device.upload(np.ascontiguousarray(array), memory)
        return memory

    def out(self, shape: Sequence[int], dtype: Any) -> tuple[Memory, Callable[[], Array]]:
        """Memory for an array, and what brings it down."""
        kind = np.dtype(dtype)
        memory = self.empty(int(np.prod(shape)) * kind.itemsize)
        return memory, lambda: self.device.download(memory, shape, kind)

    def over(self, shape: Sequence[int], kernel: str, *arguments: Argument) -> None:
        """Launch a voxel kernel over a grid of this shape."""
        self.device.launch(kernel, self.grid or voxel_grid(shape), BLOCK, arguments)

    def along(self, kernel: str, *arguments: Argument, blocks: int = 3) -> None:
        """Launch an array kernel."""
        self.device.launch(kernel, (blocks, 1, 1), (256, 1, 1), arguments)


def warp(session: Session, row: WarpRow) -> Any:
    channels, *shape = row.volume.shape
    out = row.displacement.shape[1:]
    field, kind = session.up(row.displacement), row.volume.dtype
    if row.mode == "label":
        parts = [warp_label(session, channel, field, out) for channel in row.volume]
        return tuple(np.stack(part) for part in zip(*parts, strict=True))
    name = SUFFIX[kind.str[1:]] if row.mode == "linear" else str(8 * kind.itemsize)
    moved, result = session.out((channels, *out), kind)
    sizes = ints(channels, *shape, *out, 0)
    session.over(out, f"vm_warp_{row.mode}_{name}", session.up(row.volume), field, moved, *sizes)
    return result()


def warp_label(
    session: Session, labels: Array, field: Memory, out: tuple[int, ...]
) -> tuple[Array, Array]:
    moved, result = session.out(out, labels.dtype)
    share, shares = session.out(out, np.float32)
    kernel = f"vm_warp_label_{SUFFIX[labels.dtype.str[1:]]}"
    sizes = ints(*labels.shape, *out)
    session.over(out, kernel, session.up(labels), field, moved, share, *sizes)
    return result(), shares()


def integrate(session: Session, row: IntegrateRow) -> Array:
    if row.steps == 0:
        return row.velocity  # nothing to launch
    shape = row.velocity.shape[1:]
    voxels, sizes = int(np.prod(shape)), ints(*shape)
    velocity = session.up(row.velocity)
    field, spare = session.empty(16 * voxels), session.empty(16 * voxels)
    displacement, result = session.out((3, *shape), np.float32)
    scale = np.float32(2.0**-row.steps)
    session.along("vm_integrate_begin", velocity, field, np.int64(voxels), scale)
    for _ in range(row.steps - 1):
        session.over(shape, "vm_integrate_square", field, spare, *sizes)
        field, spare = spare, field
    session.over(shape, "vm_integrate_end", field, displacement, *sizes)
    return result()


def resize(session: Session, row: ResizeRow) -> Array:
    shape = row.field.shape[1:]
    out = [int(size * row.factor) for size in shape]
    resized, result = session.out((3, *out), np.float32)
    scale = np.float32(float(row.factor))
    field = session.up(row.field)
    session.over(out, "vm_resize", field, resized, *ints(3, *shape, *out), scale)
    found = result()
    np.testing.assert_array_equal(resize_packed(session, field, shape, out, scale), found)
    return found


def resize_packed(
    session: Session, field: Memory, shape: Sequence[int], out: Sequence[int], scale: np.float32
) -> Array:
    """The same of a field as a squaring leaves it, which has to give the same bits."""
    voxels = int(np.prod(shape))
    packed = session.empty(16 * voxels)
    session.along("vm_integrate_begin", field, packed, np.int64(voxels), np.float32(1))
    steps = [
        np.float32(small - 1) / np.float32(large - 1) if large > 1 else np.float32(0)
        for small, large in zip(shape, out, strict=True)
    ]
    resized, result = session.out((3, *out), np.float32)
    session.over(out, "vm_resize_packed", packed, resized, *ints(*shape, *out), *steps, scale)
    return result()


def compose(session: Session, row: ComposeRow) -> Array:
    # The kernel names fields by the order in which a place goes through them.
    shape, out = row.first.shape[1:], row.second.shape[1:]
    composed, result = session.out((3, *out), np.float32)
    session.over(
        out, "vm_compose", session.up(row.first), session.up(row.second), composed,
        *ints(*shape, *out),
    )  # fmt: skip
    return result()


def jacobian(session: Session, row: JacobianRow) -> Array:
    shape = row.displacement.shape[1:]
    determinant, result = session.out(shape, np.float32)
    session.over(
        shape, "vm_jacobian_determinant", session.up(row.displacement), determinant, *ints(*shape)
    )
    return result()


def affine_resample(session: Session, row: AffineRow) -> Any:
    return carried(session, row.volume, row.shape, row.mode, row.matrix, None, np.eye(4))


def carry(session: Session, row: CarryRow) -> Any:
    field = row.displacement
    return carried(session, row.volume, row.shape, row.mode, row.to_model, field, row.to_moving)


def carried(
    session: Session,
    volume: Array,
    out: tuple[int, int, int],
    mode: str,
    to_model: Array,
    displacement: Array | None,
    to_moving: Array,
) -> Any:
    """One image by ``vm_carry``; with the label mode, its share too."""
    moved, result = session.out(out, np.float32 if mode == "linear" else volume.dtype)
    share, shares = session.out(out, np.float32)
    images = np.zeros(4, IMAGE)
    images[0] = (
        session.up(volume).address,
        moved.address,
        share.address if mode == "label" else 0,
        TYPES[volume.dtype.str[1:]],
        LOOK_UPS[mode],
    )
    corner = whole_steps(to_model, out, displacement)
    rounded = np.where(np.abs(to_moving[:3]) > 1e-9, to_moving[:3], 0).astype(np.float32)
    session.over(
        out, "vm_carry", images, *ints(1, *volume.shape), np.ascontiguousarray(to_model[:3]),
        NULL if displacement is None else session.up(displacement),
        *ints(*((1, 1, 1) if displacement is None else displacement.shape[1:])), rounded,
        *ints(0 if corner is None else 1, *((0, 0, 0) if corner is None else corner), *out),
    )  # fmt: skip
    return (result(), shares()) if mode == "label" else result()


def whole_steps(
    to_model: Array, out: tuple[int, int, int], displacement: Array | None
) -> tuple[int, ...] | None:
    """Where the output begins in the model grid, if its voxels are voxels of that grid."""
    corner = np.rint(to_model[:3, 3]).astype(int)
    if displacement is None or np.abs(to_model[:3, :3] - np.eye(3)).max() > 1e-6:
        return None
    if np.abs(to_model[:3, 3] - corner).max() > 1e-6 or (corner < 0).any():
        return None
    fits = (corner + out <= displacement.shape[1:]).all()
    return tuple(corner.tolist()) if fits else None


OPERATIONS: dict[str, Callable[[Session, Any], Any]] = {
    "warp": warp,
    "integrate": integrate,
    "resize": resize,
    "compose": compose,
    "jacobian_determinant": jacobian,
    "affine_resample": affine_resample,
    "carry": carry,
}


def run(session: Session, row: Row) -> Any:
    """What the kernels make of a row."""
    return OPERATIONS[row.operation](session, row)
