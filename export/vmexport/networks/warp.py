"""Sampling a volume where a displacement points, as one operator of PyTorch's.

One operator, so that the exporter finds every warp and writes ``vxm::Warp3d`` for it. The identity
is made of ranges each time instead of stored: an exporter would embed a stored grid as a constant
(83 MB at 160x192x224).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["warp"]

TORCH_MODES = {"linear": "bilinear", "nearest": "nearest"}  # PyTorch's word for both 2-D and 3-D


@torch.library.custom_op("vxm::warp3d", mutates_args=())
def warp(
    volume: Tensor, displacement: Tensor, mode: str = "linear", padding: str = "zeros"
) -> Tensor:
    """Sample a volume at ``x + displacement(x)``.

    Parameters
    ----------
    volume
        ``(N, C, D, H, W)``, float32 or float16.
    displacement
        ``(N, 3, D', H', W')``, float32 or float16, in voxels of `volume`'s grid; channel i moves
        along spatial axis i.
    mode
        ``"linear"`` or ``"nearest"``.
    padding
        ``"zeros"`` (a sample within a voxel outside blends the border with zero) or ``"border"``.

    Returns
    -------
    Tensor
        ``(N, C, D', H', W')`` of `volume`'s type.
    """
    coordinates = []
    for axis in range(3):
        along = [1, 1, 1]
        along[axis] = -1
        index = torch.arange(
            displacement.shape[2 + axis], dtype=torch.float32, device=displacement.device
        )
        located = displacement[:, axis].float() + index.reshape(along)
        # grid_sample with align_corners=True: voxel 0 is -1, the last voxel is 1.
        coordinates.append((located / max(volume.shape[2 + axis] - 1, 1) - 0.5) * 2)
    grid = torch.stack(coordinates[::-1], dim=-1)  # grid_sample wants the fastest axis first
    moved = F.grid_sample(
        volume.float(), grid, mode=TORCH_MODES[mode], padding_mode=padding, align_corners=True
    )
    return moved.to(volume.dtype)


@warp.register_fake
def _(volume: Tensor, displacement: Tensor, mode: str = "linear", padding: str = "zeros") -> Tensor:
    return volume.new_empty((volume.shape[0], volume.shape[1], *displacement.shape[2:]))
