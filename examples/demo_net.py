"""The demo registration network: small torch modules with VoxelMorph 0.2's weight names.

Only what training and evaluation of the demo need; the product has its own networks.
Displacements are in voxels, channel i along array axis i, ``moved(x) = moving(x + u(x))``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Config = dict[str, Any]


def warp(image: Tensor, displacement: Tensor, mode: str = "bilinear") -> Tensor:
    """Sample an image at displaced voxels.

    Parameters
    ----------
    image : Tensor, float32, (B, C, X, Y, Z)
        Volume to sample; zero outside.
    displacement : Tensor, float32, (B, 3, X, Y, Z)
        Displacement in voxels.
    mode : {"bilinear", "nearest"}
        Interpolation.

    Returns
    -------
    Tensor, float32, (B, C, X, Y, Z)
    """
    parts = []
    for axis, size in enumerate(image.shape[2:]):
        line = torch.arange(size, dtype=torch.float32)
        line = line.view([-1 if d == axis else 1 for d in range(3)])
        parts.append((displacement[:, axis] + line) * (2.0 / (size - 1)) - 1.0)
    # grid_sample counts coordinates from the last axis to the first.
    return F.grid_sample(image, torch.stack(parts[::-1], -1), mode=mode, align_corners=True)


class _Block(nn.Module):
    """Convolution of width 3 and a leaky ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.main = nn.Conv3d(inputs, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        return F.leaky_relu(self.main(x), 0.2)


class _Unet(nn.Module):
    """U-Net whose decoder stops at half resolution."""

    def __init__(self, encoder: list[int], decoder: list[int]) -> None:
        super().__init__()
        width, skips = 2, [2]
        self.encoder = nn.ModuleList()
        for features in encoder:
            self.encoder.append(nn.ModuleList([_Block(width, features)]))
            skips.append(features)
            width = features
        self.decoder = nn.ModuleList()
        levels = len(encoder)
        for level, features in enumerate(decoder[:levels]):
            self.decoder.append(nn.ModuleList([_Block(width, features)]))
            width = features + (skips.pop() if level < levels - 1 else 0)
        self.remaining = nn.ModuleList()
        for features in decoder[levels:]:
            self.remaining.append(_Block(width, features))
            width = features
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        """Return features at half resolution."""
        skips = []
        for stage in self.encoder:
            x = stage[0](x)  # type: ignore[index]
            skips.append(x)
            x = F.max_pool3d(x, 2)
        last = len(self.decoder) - 1
        for level, stage in enumerate(self.decoder):
            x = stage[0](x)  # type: ignore[index]
            if level < last:
                x = F.interpolate(x, scale_factor=2.0, mode="nearest")
                x = torch.cat([x, skips.pop()], dim=1)
        for block in self.remaining:
            x = block(x)
        return x


class DemoNet(nn.Module):
    """Half-resolution velocity network with scaling and squaring.

    Parameters
    ----------
    config : dict
        The entries that ``VxmDense.save`` stores; `demo_config` makes one.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        encoder, decoder = config["nb_unet_features"]
        self.unet_model = _Unet(encoder, decoder)
        self.flow = nn.Conv3d(self.unet_model.width, 3, 3, padding=1)
        # He initialisation: torch's default loses the signal over so many layers.
        for block in self.unet_model.modules():
            if isinstance(block, nn.Conv3d):
                nn.init.kaiming_normal_(block.weight, a=0.2)
                block.bias = nn.Parameter(torch.zeros(block.out_channels))
        # A nearly zero velocity makes the first warp the identity.
        nn.init.normal_(self.flow.weight, std=1e-3)
        self.flow.bias = nn.Parameter(torch.zeros(3))

    def velocity(self, moving: Tensor, fixed: Tensor) -> Tensor:
        """Predict the velocity, (B, 3, X/2, Y/2, Z/2), in voxels of that half grid."""
        x = torch.cat([moving, fixed], dim=1)
        features = self.unet_model(x.contiguous(memory_format=torch.channels_last_3d))
        # Eight bits of mantissa would quantise the flow, so this layer never autocasts.
        with torch.autocast("cpu", enabled=False):
            velocity: Tensor = self.flow(features.float())
        return velocity.contiguous()

    def integrate(self, velocity: Tensor) -> Tensor:
        """Integrate a velocity to a displacement on its own grid."""
        steps = int(self.config["int_steps"])
        u = velocity * 0.5**steps
        for _ in range(steps):
            u = u + warp(u, u)
        return u

    def upsample(self, displacement: Tensor) -> Tensor:
        """Bring a half-grid displacement to the image grid, in its voxels."""
        return F.interpolate(
            displacement * 2.0, scale_factor=2.0, mode="trilinear", align_corners=True
        )

    def forward(self, moving: Tensor, fixed: Tensor) -> Tensor:
        """Predict the displacement on the image grid, (B, 3, X, Y, Z)."""
        return self.upsample(self.integrate(self.velocity(moving, fixed)))


def demo_config(shape: tuple[int, int, int]) -> Config:
    """Return the configuration of the demo model for a grid."""
    return {
        "inshape": shape,
        "nb_unet_features": [[16, 32, 32, 32], [32, 32, 32, 32, 32, 16, 16]],
        "nb_unet_levels": None,
        "unet_feat_mult": 1,
        "nb_unet_conv_per_level": 1,
        "int_steps": 7,
        "int_downsize": 2,
        "bidir": False,
        "use_probs": False,
        "src_feats": 1,
        "trg_feats": 1,
        "unet_half_res": True,
    }


def save_checkpoint(path: Path, config: Config, state: dict[str, Tensor]) -> None:
    """Write a checkpoint in the layout of VoxelMorph 0.2, replacing the file in one step."""
    temporary = path.with_name(path.name + ".tmp")
    contiguous = {k: v.detach().float().contiguous() for k, v in state.items()}
    torch.save({"config": config, "model_state": contiguous}, temporary)
    temporary.replace(path)


def load_checkpoint(path: Path) -> DemoNet:
    """Read such a checkpoint into an evaluation-mode network."""
    checkpoint = torch.load(path, weights_only=True, map_location="cpu")
    net = DemoNet(checkpoint["config"])
    net.load_state_dict(checkpoint["model_state"])
    return net.eval()
