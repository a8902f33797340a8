"""Running a network on a large grid in little memory, to have something to compare with.

At full resolution PyTorch needs 4 GB for the default VxmDense: its convolution (oneDNN) copies
input and output into layouts of its own, activations are kept beside what they were made from, and
inputs until the whole U-Net is done. Here the convolutions run slab by slab, activate in place, and
let go of their input. The result differs by the order of sums: 1e-5 voxel.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vmexport.networks import RegistrationNetwork
from vmexport.networks.conv_block import ConvBlock

__all__ = ["frugal"]

LARGE_GRID = 1 << 21
"""Voxels; below, a network needs little enough as it is."""

SLAB_VOXELS = 1 << 19
"""Output voxels of a convolution that are computed at once."""


def frugal(source: nn.Module, shape: tuple[int, int, int]) -> nn.Module:
    """A network for evaluation on a grid that needs less memory there.

    Parameters
    ----------
    source
        Left as it was. A module that is none of ours is returned as it is.
    shape
        Voxels ``(D, H, W)`` of the grid; for a small one the network is returned as it is.
    """
    voxels = shape[0] * shape[1] * shape[2]
    if voxels < LARGE_GRID or not isinstance(source, RegistrationNetwork):
        return source
    network = copy.deepcopy(source)
    network.unet.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    for parent in list(network.unet.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, ConvBlock) and _fits(child):
                # Behind the last skip connection nothing else needs a block's input.
                setattr(parent, name, _FrugalBlock(child, parent is network.unet.remaining))
    return network


def _fits(block: ConvBlock) -> bool:
    return block.conv.stride == (1, 1, 1) and not block.pads_end


class _FrugalBlock(nn.Module):
    """A `ConvBlock` of stride 1, slab by slab along the first spatial axis.

    Parameters
    ----------
    block
        What it computes.
    consumes
        Free the input's memory, which nobody may use afterwards.
    """

    def __init__(self, block: ConvBlock, consumes: bool) -> None:
        super().__init__()
        self.conv = block.conv
        self.consumes = consumes

    def forward(self, x: Tensor) -> Tensor:
        depth, height, width = x.shape[2:]
        step = max(1, SLAB_VOXELS // (height * width))
        shape = (x.shape[0], self.conv.out_channels, depth, height, width)
        result = torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last_3d)
        for start in range(0, depth, step):
            stop = min(start + step, depth)
            first, last = max(start - 1, 0), min(stop + 1, depth)
            piece = F.leaky_relu_(self.conv(x[:, :, first:last]), 0.2)
            result[:, :, start:stop] = piece[:, :, start - first : stop - first]
        if self.consumes:
            x.untyped_storage().resize_(0)
        return result
