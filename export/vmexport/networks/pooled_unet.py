"""The U-Net of voxelmorph 0.2: stride-1 convolutions, max-pooling, skips before the pooling."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vmexport.networks.conv_block import conv_level


class PooledUNet(nn.Module):
    """U-Net that halves the grid by max-pooling.

    Parameters
    ----------
    in_channels
        Channels of the concatenated moving and fixed scans.
    encoder
        Output channels of each convolution, one inner sequence a level, finest level first.
    decoder
        The same for the way up, coarsest level first; as many levels as the encoder.
    remaining
        Output channels of the convolutions after the last up-sampling.
    skipped_upsamplings
        How many up-samplings (with their skip connections) are left out at the end; 1 leaves
        the features at half resolution.

    Attributes
    ----------
    out_channels : int
        Channels of the features.
    stride : int
        Each spatial size of the input must be a multiple of it.
    output_stride : int
        Input size over output size, along each axis.
    """

    def __init__(
        self,
        in_channels: int,
        encoder: Sequence[Sequence[int]],
        decoder: Sequence[Sequence[int]],
        remaining: Sequence[int],
        skipped_upsamplings: int = 0,
    ) -> None:
        super().__init__()
        if len(encoder) != len(decoder):
            raise ValueError(f"{len(encoder)} encoder levels but {len(decoder)} decoder levels")
        if not 0 <= skipped_upsamplings <= len(decoder):
            raise ValueError(f"cannot skip {skipped_upsamplings} of {len(decoder)} up-samplings")

        channels = in_channels
        skips: list[int] = []
        self.encoder = nn.ModuleList()
        for widths in encoder:
            self.encoder.append(conv_level(channels, widths))
            channels = widths[-1]
            skips.append(channels)

        self.upsamplings = len(decoder) - skipped_upsamplings
        self.decoder = nn.ModuleList()
        for level, widths in enumerate(decoder):
            self.decoder.append(conv_level(channels, widths))
            channels = widths[-1]
            if level < self.upsamplings:
                channels += skips.pop()

        self.remaining = conv_level(channels, remaining)
        self.out_channels = remaining[-1] if remaining else channels
        self.stride = 2 ** len(encoder)
        self.output_stride = 2**skipped_upsamplings

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, in_channels, D, H, W)`` to features at 1/``output_stride`` of the grid."""
        skips: list[Tensor] = []
        for level in self.encoder:
            x = level(x)
            skips.append(x)
            x = F.max_pool3d(x, 2)
        for index, level in enumerate(self.decoder):
            x = level(x)
            if index < self.upsamplings:
                x = F.interpolate(x, scale_factor=2, mode="nearest")
                x = torch.cat([x, skips.pop()], dim=1)
        return self.remaining(x)  # type: ignore[no-any-return]
