"""What an engine is to be like."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vmexport.engine.warp_forms import WarpForm
from vmexport.errors import EngineBuildError

__all__ = ["EngineOptions", "Shape", "Shapes"]

Shape = tuple[int, int, int]
Shapes = tuple[Shape, Shape, Shape]
"""Smallest, usual and largest ``(D, H, W)``."""


@dataclass(frozen=True)
class EngineOptions:
    """What an engine is to be like.

    Parameters
    ----------
    target
        ``"tensorrt"`` or ``"rtx"`` (TensorRT-RTX); None for the one that is installed, TensorRT
        where both are.
    compute_capabilities
        GPUs to build for, such as ``(86, 89)``; ``()`` for the toolkit's own choice, ``"current"``
        for the GPU of this machine.
    min_shape, opt_shape, max_shape
        For a model with a free grid: voxels ``(D, H, W)`` that the engine takes at least, runs
        fastest with, and takes at most. `opt_shape` where one of the others is None.
    workspace
        GiB of device memory that a layer may use beside its tensors; None for no limit.
    timing_cache
        File that keeps what the builder measured, read where it exists and written afterwards.
    version_compatible
        Let newer TensorRT versions run the engine.
    hardware_compatible
        Let other GPUs (Ampere and newer) run the engine.
    warp
        ``"native"``, ``"gather"`` or ``"plugin"``; None for the best that the toolkit has.
    """

    target: Literal["tensorrt", "rtx"] | None = None
    compute_capabilities: tuple[int, ...] | Literal["current"] = ()
    min_shape: Shape | None = None
    opt_shape: Shape | None = None
    max_shape: Shape | None = None
    workspace: float | None = None
    timing_cache: Path | None = None
    version_compatible: bool = False
    hardware_compatible: bool = False
    warp: WarpForm | None = None

    def require_shapes(self, free: bool) -> None:
        """Refuse shapes for a model whose grid is fixed, and the lack of one for a free grid.

        Raises
        ------
        EngineBuildError
            With what to give, or to leave out.
        """
        given = any((self.min_shape, self.opt_shape, self.max_shape))
        if given and not free:
            raise EngineBuildError(
                "the model has a fixed grid: --min-shape, --opt-shape and --max-shape are for one "
                "exported with --dynamic"
            )
        if free and self.opt_shape is None:
            raise EngineBuildError(
                "the model takes any grid and an engine has to be built for some: give --opt-shape "
                "D,H,W, and --min-shape and --max-shape if it is to take others"
            )

    def shapes(self, stride: int) -> Shapes:
        """Smallest, usual and largest grid of a model with a free one, checked.

        Raises
        ------
        EngineBuildError
            `opt_shape` is missing, or the shapes do not fit the network or each other.
        """
        self.require_shapes(free=True)
        usual = self.opt_shape or (0, 0, 0)
        smallest, largest = self.min_shape or usual, self.max_shape or usual
        # The one that is always given first: the others may be copies of it.
        for name, shape in (("opt", usual), ("min", smallest), ("max", largest)):
            if any(size < stride or size % stride for size in shape):
                raise EngineBuildError(
                    f"--{name}-shape {','.join(map(str, shape))} does not fit the network: every "
                    f"axis must be a multiple of {stride}"
                )
        if not all(a <= b <= c for a, b, c in zip(smallest, usual, largest, strict=True)):
            raise EngineBuildError(
                "the shapes are not in order: every axis of --min-shape may be at most that of "
                "--opt-shape, and that at most the axis of --max-shape"
            )
        return smallest, usual, largest
