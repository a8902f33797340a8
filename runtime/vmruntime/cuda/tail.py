"""From what a U-Net predicts to the displacement, on a GPU; `vmruntime.unet.run_tail` there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np

from vmruntime.cuda.device import Argument, Device, Memory
from vmruntime.cuda.kernels import BLOCK, THREADS, value_blocks, voxel_blocks
from vmruntime.unet.tail import Tail

__all__ = ["DeviceTail"]

Shape = tuple[int, int, int]


class DeviceTail:
    """Resizes, integrates and warps on one device.

    Parameters
    ----------
    device
        Where to.
    tail
        What to do.
    memory
        Gives memory for float32 values, by a name and a shape; what it held before is lost.
    """

    def __init__(
        self, device: Device, tail: Tail, memory: Callable[[str, Sequence[int]], Memory]
    ) -> None:
        self._device = device
        self._tail = tail
        self._memory = memory

    def displacement(
        self, prediction: Memory, shape: Shape, target: Memory, *, backwards: bool = False
    ) -> None:
        """Put the way from a prediction to the displacement on the stream.

        Parameters
        ----------
        prediction
            ``(3, d, h, w)`` float32, voxels of its own grid.
        shape
            ``(d, h, w)``.
        target
            Where the displacement goes, float32 ``(3, D, H, W)``, voxels of the model's grid.
        backwards
            Integrate minus the velocity: the inverse.
        """
        tail = self._tail
        at = prediction
        if tail.before != 1:
            smaller = _times(shape, tail.before)
            whole = not tail.int_steps and tail.after == 1
            to = target if whole else self._memory("before", (3, *smaller))
            self._resize(at, shape, to, smaller, tail.before)
            at, shape = to, smaller
        if tail.int_steps:
            packed = self._squared(at, shape, -1 if backwards else 1)
            if tail.after == 1:
                self._over("vm_integrate_end", shape, packed[0], target, *_ints(*shape))
                return
            self._over("vm_integrate_square", shape, *packed, *_ints(*shape))
            out = _times(shape, tail.after)
            steps = [
                np.float32(small - 1) / np.float32(large - 1) if large > 1 else np.float32(0)
                for small, large in zip(shape, out, strict=True)
            ]
            sizes = _ints(*shape, *out)
            scale = np.float32(float(tail.after))
            self._over("vm_resize_packed", out, packed[1], target, *sizes, *steps, scale)
        elif tail.after != 1 or at is prediction:
            self._resize(at, shape, target, _times(shape, tail.after), tail.after)

    def moved(self, scan: Memory, displacement: Memory, shape: Shape, target: Memory) -> None:
        """Put warping a scan ``(D, H, W)`` float32 on the stream."""
        sizes = _ints(*shape, *shape)
        self._over(
            "vm_warp_linear_f32", shape, scan, displacement, target, np.int32(1), *sizes,
            np.int32(0),
        )  # fmt: skip

    def _resize(
        self, field: Memory, shape: Shape, target: Memory, out: Shape, factor: Fraction
    ) -> None:
        sizes = _ints(3, *shape, *out)
        self._over("vm_resize", out, field, target, *sizes, np.float32(float(factor)))

    def _squared(self, velocity: Memory, shape: Shape, sign: int) -> tuple[Memory, Memory]:
        """The velocity after all squarings but the last, four values a voxel, and room for that."""
        steps = self._tail.int_steps
        voxels = int(np.prod(shape))
        field, spare = (self._memory(f"squared {name}", (4, *shape)) for name in ("a", "b"))
        self._device.launch(
            "vm_integrate_begin",
            value_blocks(voxels),
            (THREADS, 1, 1),
            [velocity, field, np.int64(voxels), np.float32(sign * 2.0**-steps)],
        )
        for _ in range(steps - 1):
            self._over("vm_integrate_square", shape, field, spare, *_ints(*shape))
            field, spare = spare, field
        return field, spare

    def _over(self, kernel: str, shape: Shape, *arguments: Argument) -> None:
        self._device.launch(kernel, voxel_blocks(shape), BLOCK, arguments)


def _times(shape: Shape, factor: Fraction) -> Shape:
    d, h, w = (size * factor.numerator // factor.denominator for size in shape)
    return d, h, w


def _ints(*values: int) -> list[np.int32]:
    return [np.int32(value) for value in values]
