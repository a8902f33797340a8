"""The whole network: two scans in, a displacement out."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vmexport.networks.pooled_unet import PooledUNet
from vmexport.networks.strided_unet import StridedUNet
from vmexport.networks.tail import Tail


class RegistrationNetwork(nn.Module):
    """A U-Net, a convolution that predicts three components, and a `Tail`.

    Parameters
    ----------
    unet
        Maps the concatenated scans to features.
    tail
        Maps the prediction to a displacement; it must lead back to the grid of the scans.
    moving_channels, fixed_channels
        Channels of each scan.
    inshape
        The grid the network was trained on, where it is known; others of the right multiple
        work too.

    Attributes
    ----------
    flow : torch.nn.Conv3d
        The head.
    stride : int
        Each of D, H and W must be a multiple of it.
    """

    def __init__(
        self,
        unet: PooledUNet | StridedUNet,
        tail: Tail,
        moving_channels: int = 1,
        fixed_channels: int = 1,
        inshape: tuple[int, int, int] | None = None,
    ) -> None:
        super().__init__()
        restored = tail.resize_before.factor * tail.resize_after.factor
        if restored != unet.output_stride:
            raise ValueError(
                f"the prediction is at 1/{unet.output_stride} of the grid, "
                f"but the tail enlarges it by {restored}"
            )
        self.unet = unet
        self.flow = nn.Conv3d(unet.out_channels, 3, 3, padding=1)
        self.tail = tail
        self.moving_channels = moving_channels
        self.fixed_channels = fixed_channels
        self.inshape = inshape
        # the integration's grid must be whole as well as the U-Net's coarsest one
        self.stride = math.lcm(unet.stride, tail.resize_after.factor.numerator)

    @property
    def int_steps(self) -> int:
        """Number of squarings; 0 for a network that predicts the displacement itself."""
        return self.tail.int_steps

    @property
    def diffeomorphic(self) -> bool:
        """Whether the prediction is a velocity that is integrated."""
        return self.int_steps > 0

    def velocity(self, moving: Tensor, fixed: Tensor) -> Tensor:
        """Predict, without the tail.

        Parameters
        ----------
        moving, fixed
            ``(N, moving_channels, D, H, W)`` and ``(N, fixed_channels, D, H, W)``, any floating
            type: they are cast to the type of the weights, which may be half.

        Returns
        -------
        Tensor
            ``(N, 3, D/r, H/r, W/r)`` with r = ``unet.output_stride``, in the type of the head's
            weights, voxels of that grid: a velocity, or where ``int_steps`` is 0 the
            displacement.
        """
        # a U-Net may have no convolution at all; then the head is the first
        first = next(self.unet.parameters(), self.flow.weight)
        scans = torch.cat([moving, fixed], dim=1).to(first.dtype)
        features = self.unet(scans).to(self.flow.weight.dtype)
        return self.flow(features)  # type: ignore[no-any-return]

    def forward(self, moving: Tensor, fixed: Tensor) -> Tensor:
        """Return the displacement ``(N, 3, D, H, W)``, float32 voxels, that pulls moving to fixed.

        ``moved(x) = moving(x + displacement(x))``; channel i moves along spatial axis i.
        """
        return self.tail(self.velocity(moving, fixed))  # type: ignore[no-any-return]
