"""Small networks with random weights, for tests of the exporter."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vmexport.networks import PooledUNet, RegistrationNetwork, Tail

SHAPE = (16, 24, 40)
STRIDE = 8


def tiny_network(
    int_steps: int = 5, channels: tuple[int, int] = (1, 1), shape: tuple[int, int, int] = SHAPE
) -> RegistrationNetwork:
    """A U-Net of three levels whose displacement is about a voxel."""
    torch.manual_seed(0)
    unet = PooledUNet(sum(channels), [[4], [8], [8]], [[8], [8], [8]], [8], skipped_upsamplings=1)
    network = RegistrationNetwork(unet, Tail(1, int_steps, 2), *channels, inshape=shape).eval()
    with torch.no_grad():
        network.flow.weight.mul_(10)
    return network


class SampledByHand(nn.Module):
    """What a user's module may look like: identity grid as a buffer, its own grid_sample calls."""

    def __init__(self, shape: tuple[int, int, int] = SHAPE) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv = nn.Conv3d(2, 3, 3, padding=1)
        axes = [torch.arange(size, dtype=torch.float32) for size in shape]
        self.register_buffer("grid", torch.stack(torch.meshgrid(*axes, indexing="ij"))[None])

    def forward(self, moving: Tensor, fixed: Tensor) -> Tensor:
        field = self.conv(torch.cat([moving, fixed], 1))
        for _ in range(3):
            field = field + self.sample(field, field)
        return field

    def sample(self, volume: Tensor, displacement: Tensor) -> Tensor:
        located = self.grid + displacement
        sizes = torch.tensor(volume.shape[2:]).reshape(1, 3, 1, 1, 1) - 1
        normalised = 2 * (located / sizes - 0.5)
        order = normalised.permute(0, 2, 3, 4, 1)[..., [2, 1, 0]]
        return F.grid_sample(volume, order, align_corners=True)
