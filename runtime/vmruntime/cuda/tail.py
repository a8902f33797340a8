"""From what a U-Net predicts to the displacement, on a GPU; `vmruntime.unet.run_tail` there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np

from vmruntime.cuda.device import Argument, Device, Dim, Memory
from vmruntime.cuda.kernels import BLOCK, THREADS, VALUES_A_THREAD
from vmruntime.unet.tail import Tail

__all__ = ["DeviceTail"]

Shape = tuple[int, int, int]

MOST_BLOCKS = 4096


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
        steps: list[Callable[[Memory, Shape, Memory], None]] = []
        shapes = [shape]
        for factor, integrates in ((tail.before, False), (Fraction(1), True), (tail.after, False)):
            if integrates and tail.int_steps:
                steps.append(self._integration(-1 if backwards else 1))
                shapes.append(shapes[-1])
            elif factor != 1:
                shapes.append(_times(shapes[-1], factor))
                steps.append(self._resizing(shapes[-1], factor))
        if not steps:
            steps.append(self._resizing(shape, Fraction(1)))
        at = prediction
        for number, step in enumerate(steps):
            last = number == len(steps) - 1
            to = target if last else self._memory(f"tail {number}", (3, *shapes[number + 1]))
            step(at, shapes[number], to)
            at = to

    def moved(self, scan: Memory, displacement: Memory, shape: Shape, target: Memory) -> None:
        """Put warping a scan ``(D, H, W)`` float32 on the stream."""
        sizes = _ints(*shape, *shape)
        self._over(
            "vm_warp_linear_f32", shape, scan, displacement, target, np.int32(1), *sizes,
            np.int32(0),
        )  # fmt: skip

    def _resizing(self, out: Shape, factor: Fraction) -> Callable[[Memory, Shape, Memory], None]:
        def resize(field: Memory, shape: Shape, target: Memory) -> None:
            sizes = _ints(3, *shape, *out)
            self._over("vm_resize", out, field, target, *sizes, np.float32(float(factor)))

        return resize

    def _integration(self, sign: int) -> Callable[[Memory, Shape, Memory], None]:
        steps = self._tail.int_steps

        def integrate(velocity: Memory, shape: Shape, target: Memory) -> None:
            voxels = int(np.prod(shape))
            field, spare = (self._memory(f"squared {name}", (4, *shape)) for name in ("a", "b"))
            blocks = min(-(-voxels // (THREADS * VALUES_A_THREAD)), MOST_BLOCKS)
            self._device.launch(
                "vm_integrate_begin",
                (blocks, 1, 1),
                (THREADS, 1, 1),
                [velocity, field, np.int64(voxels), np.float32(sign * 2.0**-steps)],
            )
            sizes = _ints(*shape)
            for _ in range(steps - 1):
                self._over("vm_integrate_square", shape, field, spare, *sizes)
                field, spare = spare, field
            self._over("vm_integrate_end", shape, field, target, *sizes)

        return integrate

    def _over(self, kernel: str, shape: Shape, *arguments: Argument) -> None:
        x, y, z = (-(-size // side) for size, side in zip(reversed(shape), BLOCK, strict=True))
        grid: Dim = (x, y, z)
        self._device.launch(kernel, grid, BLOCK, arguments)


def _times(shape: Shape, factor: Fraction) -> Shape:
    d, h, w = (size * factor.numerator // factor.denominator for size in shape)
    return d, h, w


def _ints(*values: int) -> list[np.int32]:
    return [np.int32(value) for value in values]
