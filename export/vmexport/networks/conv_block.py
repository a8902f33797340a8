"""The one convolution every U-Net here is made of."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

Padding = Literal["both", "end"]


class ConvBlock(nn.Module):
    """A 3x3x3 convolution followed by LeakyReLU(0.2).

    Parameters
    ----------
    in_channels, out_channels
        Channels in and out.
    stride
        1, or 2 to halve the grid.
    padding
        ``"both"`` pads one zero on either side of each axis (PyTorch's ``padding=1``).
        ``"end"`` pads one zero at the end only: what TensorFlow's ``same`` does for stride 2
        on even sizes, where the window starts half a coarse voxel further on.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int = 1, padding: Padding = "both"
    ) -> None:
        super().__init__()
        self.pads_end = padding == "end"
        self.conv = nn.Conv3d(
            in_channels, out_channels, 3, stride, padding=0 if self.pads_end else 1
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, in_channels, D, H, W)`` to ``(N, out_channels, D', H', W')``."""
        if self.pads_end:
            x = F.pad(x, (0, 1, 0, 1, 0, 1))
        return F.leaky_relu(self.conv(x), 0.2)


def conv_level(in_channels: int, widths: Sequence[int]) -> nn.Sequential:
    """Chain stride-1 `ConvBlock` s, one per entry of `widths`; none at all is the identity."""
    return nn.Sequential(*(ConvBlock(*ends) for ends in pairwise([in_channels, *widths])))
