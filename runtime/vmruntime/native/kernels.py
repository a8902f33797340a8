"""The compiled kernels as functions of numpy arrays."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vmruntime.memory_pool import empty
from vmruntime.native.library import call, load_library

__all__ = ["Mode", "NativeKernels", "NativeMap"]

Mode = Literal["label", "linear", "nearest"]

Field = NDArray[np.float32]

Matrix = NDArray[np.float64]

MODES: dict[str, int] = {"linear": 1, "nearest": 2, "label": 3}

TYPES: dict[str, int] = {
    "uint8": 1,
    "int8": 2,
    "uint16": 3,
    "int16": 4,
    "uint32": 5,
    "int32": 6,
    "uint64": 7,
    "int64": 8,
    "float16": 9,
    "float32": 10,
    "float64": 11,
}

Three = ctypes.c_int64 * 3
Twelve = ctypes.c_double * 12

MOST_VOXELS = 2**31 - 1


class _Map(ctypes.Structure):
    """vm_map of the C header."""

    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("shape", Three),
        ("to_model", Twelve),
        ("displacement", ctypes.c_void_p),
        ("model_shape", Three),
        ("to_moving", Twelve),
    ]


class _Look(ctypes.Structure):
    """vm_look of the C header."""

    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("volume", ctypes.c_void_p),
        ("shape", Three),
        ("strides", Three),
        ("type", ctypes.c_int),
        ("mode", ctypes.c_int),
        ("out", ctypes.c_void_p),
        ("share", ctypes.c_void_p),
    ]


@dataclass(frozen=True, eq=False)
class NativeMap:
    """Where the voxels of an output grid look, see ``vm_map`` in the C header.

    Parameters
    ----------
    shape
        Of the output.
    to_model
        ``(4, 4)`` float64: output voxel to model voxel.
    displacement
        ``(3, d, h, w)`` float32 voxels of the model's grid; None for the affines alone.
    to_moving
        ``(4, 4)`` float64: model voxel to the place to look at.
    """

    shape: tuple[int, int, int]
    to_model: Matrix
    displacement: Field | None
    to_moving: Matrix


class NativeKernels:
    """The compiled kernels; `threads` counts threads, 0 stands for all processors.

    Raises
    ------
    NativeLibraryError
        They are not there, or belong to another version of this package.
    """

    def __init__(self) -> None:
        self._library = load_library()
        self.instructions = str(self._library.vm_kernel_instructions().decode())
        """``"avx512"``, ``"avx2"`` or ``"baseline"``."""

    @staticmethod
    def takes(data: NDArray[Any], mode: str) -> bool:
        """Whether a volume of this type and size can be looked up."""
        kinds = "iu" if mode == "label" else "iuf"
        known = mode in MODES and data.dtype.name in TYPES and data.dtype.kind in kinds
        return known and 0 < data.size <= MOST_VOXELS

    def warp(
        self, volume: NDArray[Any], displacement: Field, mode: Mode = "linear", *, threads: int = 1
    ) -> tuple[NDArray[Any], Field | None]:
        """``volume(x + u(x))``, and with ``"label"`` the winners' share.

        Parameters
        ----------
        volume
            ``(C, D, H, W)`` of a type that `takes` knows.
        displacement
            ``(3, D', H', W')`` float32, voxels of the volume's grid.
        mode
            ``"linear"`` gives float32, float16 for a float16 volume; the others the volume's type.
        threads
            Number of threads to use.
        """
        volume, displacement = _plain(volume), _field(displacement)
        shape = (volume.shape[0], *displacement.shape[1:])
        out = empty(shape, _result_type(volume, mode))
        share = empty(shape, np.float32) if mode == "label" else None
        call(
            *(self._library, "vm_warp", volume.ctypes.data, TYPES[volume.dtype.name]),
            *(volume.shape[0], Three(*volume.shape[1:])),
            *(displacement.ctypes.data, Three(*displacement.shape[1:]), MODES[mode]),
            *(out.ctypes.data, None if share is None else share.ctypes.data, threads),
        )
        return out, share

    def integrate(self, velocity: Field, steps: int, *, threads: int = 1) -> Field:
        """Scaling and squaring of a ``(3, D, H, W)`` float32 velocity."""
        velocity = _field(velocity)
        out = empty(velocity.shape, np.float32)
        shape = Three(*velocity.shape[1:])
        call(
            *(self._library, "vm_integrate", velocity.ctypes.data, shape, steps),
            *(out.ctypes.data, threads),
        )
        return out

    def resize(
        self, field: Field, shape: Sequence[int], scale: float = 1.0, *, threads: int = 1
    ) -> Field:
        """Trilinear resampling of ``(C, d, h, w)`` float32 onto a shape, values times `scale`.

        Corner voxels stay at the corners.
        """
        field = _plain(field, np.float32)
        out = empty((field.shape[0], *shape), np.float32)
        call(
            *(self._library, "vm_resize", field.ctypes.data, field.shape[0]),
            *(Three(*field.shape[1:]), Three(*shape), scale, out.ctypes.data, threads),
        )
        return out

    def compose(self, first: Field, second: Field, *, threads: int = 1) -> Field:
        """``second(x) + first(x + second(x))``, ``(3, D, H, W)`` float32."""
        first, second = _field(first), _field(second)
        out = empty(second.shape, np.float32)
        call(
            *(self._library, "vm_compose", first.ctypes.data, Three(*first.shape[1:])),
            *(second.ctypes.data, Three(*second.shape[1:]), out.ctypes.data, threads),
        )
        return out

    def jacobian_determinant(self, displacement: Field, *, threads: int = 1) -> Field:
        """Determinant of the Jacobian of ``x + u(x)``, ``(D, H, W)`` float32."""
        displacement = _field(displacement)
        out = empty(displacement.shape[1:], np.float32)
        call(
            *(self._library, "vm_jacobian_determinant", displacement.ctypes.data),
            *(Three(*out.shape), out.ctypes.data, threads),
        )
        return out

    def invert(self, displacement: Field, start: Field | None = None, *, threads: int = 1) -> Field:
        """The inverse of a ``(3, D, H, W)`` float32 displacement; see `vmruntime.inversion`."""
        displacement = _field(displacement)
        out = np.empty_like(displacement) if start is None else _field(start).copy()
        call(
            *(self._library, "vm_invert", displacement.ctypes.data),
            *(Three(*displacement.shape[1:]), None if start is None else out.ctypes.data),
            *(out.ctypes.data, threads, None, None),
        )
        return out

    def pooled_convolution(
        self,
        volumes: Sequence[NDArray[np.float32]],
        weights: NDArray[np.float32],
        bias: NDArray[np.float32],
        slope: float,
        *,
        threads: int = 1,
    ) -> NDArray[np.float32]:
        """A 3x3x3 convolution, LeakyReLU and 2x2x2 max-pooling in one pass; needs AVX-512.

        Parameters
        ----------
        volumes
            C arrays ``(D, H, W)`` float32 of even sizes.
        weights, bias
            ``(out, C, 3, 3, 3)`` and ``(out,)`` float32; out is a multiple of 16.
        slope
            Of LeakyReLU below 0; 0 to 1.
        threads
            Number of threads to use.

        Returns
        -------
        ndarray
            ``(D / 2, H / 2, W / 2, out)`` float32: the channels come last.
        """
        plain = [_plain(volume, np.float32) for volume in volumes]
        weights, bias = _plain(weights, np.float32), _plain(bias, np.float32)
        shape = plain[0].shape
        out = empty((*(size // 2 for size in shape), len(bias)), np.float32)
        pointers = (ctypes.c_void_p * len(plain))(*(volume.ctypes.data for volume in plain))
        call(
            *(self._library, "vm_pooled_convolution", pointers, len(plain), Three(*shape)),
            *(weights.ctypes.data, bias.ctypes.data, len(bias), slope, out.ctypes.data, threads),
        )
        return out

    def carry(
        self, where: NativeMap, images: Sequence[tuple[NDArray[Any], Mode]], *, threads: int = 1
    ) -> list[tuple[NDArray[Any], Field | None]]:
        """Look volumes of one shape up through a map.

        Parameters
        ----------
        where
            Where the output's voxels look, in voxels of the volumes.
        images
            ``(D, H, W)`` of types that `takes` knows, in any memory order.
        threads
            Number of threads to use.

        Returns
        -------
        list of (ndarray, ndarray or None)
            Of the map's shape: the values; with ``"label"`` the winners' share as well.
        """
        results: list[tuple[NDArray[Any], Field | None]] = []
        looks = (_Look * len(images))()
        volumes = [_strided(data) for data, _ in images]
        for look, volume, (_, mode) in zip(looks, volumes, images, strict=True):
            out = empty(where.shape, _result_type(volume, mode))
            share = empty(where.shape, np.float32) if mode == "label" else None
            results.append((out, share))
            look.struct_size = ctypes.sizeof(_Look)
            look.volume, look.shape = volume.ctypes.data, Three(*volume.shape)
            look.strides = Three(*(step // volume.itemsize for step in volume.strides))
            look.type, look.mode = TYPES[volume.dtype.name], MODES[mode]
            look.out = out.ctypes.data
            look.share = None if share is None else share.ctypes.data
        c_map, _kept = _c_map(where)
        call(self._library, "vm_carry", ctypes.byref(c_map), looks, len(looks), threads)
        return results

    def places(self, where: NativeMap, part: slice, *, threads: int = 1) -> Field:
        """Places that planes of the output look at, ``(3, planes, H, W)`` float32."""
        first, last, _ = part.indices(where.shape[0])
        out = empty((3, last - first, *where.shape[1:]), np.float32)
        c_map, _kept = _c_map(where)
        call(
            *(self._library, "vm_places", ctypes.byref(c_map), first, last),
            *(out.ctypes.data, threads),
        )
        return out

    def offsets(self, where: NativeMap, here: Matrix, *, threads: int = 1) -> Field:
        """Places that the output looks at minus `here` of its voxels, ``(D, H, W, 3)`` float32."""
        out = empty((*where.shape, 3), np.float32)
        c_map, _kept = _c_map(where)
        call(
            *(self._library, "vm_offsets", ctypes.byref(c_map), _twelve(here)),
            *(out.ctypes.data, threads),
        )
        return out


def _c_map(where: NativeMap) -> tuple[_Map, Field | None]:
    """The C struct, and the array that it points to."""
    c_map = _Map(struct_size=ctypes.sizeof(_Map), shape=Three(*where.shape))
    c_map.to_model, c_map.to_moving = _twelve(where.to_model), _twelve(where.to_moving)
    field = None if where.displacement is None else _field(where.displacement)
    if field is not None:
        c_map.displacement, c_map.model_shape = field.ctypes.data, Three(*field.shape[1:])
    return c_map, field


def _twelve(matrix: Matrix) -> Any:
    return Twelve(*np.asarray(matrix, np.float64)[:3].ravel().tolist())


def _result_type(volume: NDArray[Any], mode: str) -> np.dtype[Any]:
    if mode != "linear" or volume.dtype == np.float16:
        return volume.dtype
    return np.dtype(np.float32)


def _plain(data: NDArray[Any], dtype: Any = None) -> NDArray[Any]:
    """In C order and the machine's byte order."""
    return np.ascontiguousarray(data, dtype or data.dtype.newbyteorder("="))


def _field(data: Field) -> Field:
    if data.ndim != 4 or data.shape[0] != 3:
        raise ValueError(f"a field has the shape (3, D, H, W), not {data.shape}")
    return _plain(data, np.float32)


def _strided(data: NDArray[Any]) -> NDArray[Any]:
    """As it lies in memory where the kernels can read it so, else copied."""
    aligned = data.dtype.isnative and data.flags.aligned
    steps = [step / data.itemsize for step in data.strides]
    span = sum((size - 1) * step for size, step in zip(data.shape, steps, strict=True))
    if aligned and min(steps) >= 1 and all(map(float.is_integer, steps)) and span <= MOST_VOXELS:
        return data
    return _plain(data)
