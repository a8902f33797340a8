"""The U-Net of VoxelMorph before 0.2 (CVPR 2018 too): stride-2 convolutions on the way down."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vmexport.networks.conv_block import ConvBlock, Padding, conv_level


class StridedUNet(nn.Module):
    """U-Net that halves the grid by stride-2 convolutions; the input itself is the last skip.

    Parameters
    ----------
    in_channels
        Channels of the concatenated moving and fixed scans.
    encoder
        Output channels of the stride-2 convolutions, finest first.
    decoder
        Output channels of each convolution before an up-sampling, one inner sequence a level,
        coarsest first; as many levels as the encoder.
    remaining
        Output channels of the convolutions at full resolution; at least one.
    padding
        How the stride-2 convolutions pad, see `ConvBlock`.

    Attributes
    ----------
    out_channels, stride, output_stride : int
        As in `PooledUNet`; the output has the grid of the input.
    """

    def __init__(
        self,
        in_channels: int,
        encoder: Sequence[int],
        decoder: Sequence[Sequence[int]],
        remaining: Sequence[int],
        padding: Padding = "both",
    ) -> None:
        super().__init__()
        if len(encoder) != len(decoder):
            raise ValueError(f"{len(encoder)} encoder levels but {len(decoder)} decoder levels")
        if not remaining:
            raise ValueError("a strided U-Net needs a convolution at full resolution")

        channels = in_channels
        skips: list[int] = []
        self.encoder = nn.ModuleList()
        for width in encoder:
            skips.append(channels)
            self.encoder.append(ConvBlock(channels, width, stride=2, padding=padding))
            channels = width

        self.decoder = nn.ModuleList()
        for widths in decoder:
            self.decoder.append(conv_level(channels, widths))
            channels = widths[-1] + skips.pop()

        self.remaining = conv_level(channels, remaining)
        self.out_channels = remaining[-1]
        self.stride = 2 ** len(encoder)
        self.output_stride = 1

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, in_channels, D, H, W)`` to ``(N, out_channels, D, H, W)``."""
        skips: list[Tensor] = []
        for level in self.encoder:
            skips.append(x)
            x = level(x)
        for level in self.decoder:
            x = F.interpolate(level(x), scale_factor=2, mode="nearest")
            x = torch.cat([x, skips.pop()], dim=1)
        return self.remaining(x)  # type: ignore[no-any-return]
