"""The HDF5 files of the CVPR 2018 networks, VoxelMorph-1 and VoxelMorph-2.

Balakrishnan et al., CVPR 2018: a strided encoder, a displacement that is not integrated. Layers
are numbered by the order of their creation (conv3d_67, ...), so only their sequence counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from vmexport.checkpoints.errors import CheckpointError
from vmexport.checkpoints.layout import Layout
from vmexport.checkpoints.stored import Stored
from vmexport.checkpoints.weights import fill
from vmexport.networks import RegistrationNetwork, StridedUNet, Tail

_LEVELS = 4
# (before the up-sampling to full resolution the decoder has two convolutions)
_HALF_RESOLUTION = 5
_SIZES = {10: "VoxelMorph-1", 11: "VoxelMorph-2"}


def _matches(stored: Stored) -> bool:
    return stored.container == "keras" and "flow/kernel" in stored.weights and bool(_layers(stored))


def _read(stored: Stored) -> RegistrationNetwork:
    layers = _layers(stored)
    if "log_sigma/kernel" in stored.weights or len(layers) not in _SIZES:
        raise CheckpointError(
            f"{stored.path}: {len(layers)} convolutions before 'flow'"
            f"{' and a log_sigma' if 'log_sigma/kernel' in stored.weights else ''}; expected 10 "
            "(VoxelMorph-1) or 11 (VoxelMorph-2) and no log_sigma; this network (the probabilistic "
            "MICCAI 2018 one?) cannot be exported"
        )
    kernels = [stored.weights.get(f"{layer}/kernel") for layer in layers]
    if any(kernel is None or kernel.ndim != 5 for kernel in kernels):
        raise CheckpointError(
            f"{stored.path}: a convolution has no 5-D kernel; expected a 3-D network; other "
            "networks cannot be exported"
        )
    widths = [int(kernel.shape[0]) for kernel in kernels if kernel is not None]
    encoder, decoder = widths[:_LEVELS], widths[_LEVELS:]
    inshape = _check_config(stored)
    with torch.device("meta"):
        unet = StridedUNet(
            2,
            encoder,
            [[decoder[0]], [decoder[1]], [decoder[2]], decoder[3:_HALF_RESOLUTION]],
            decoder[_HALF_RESOLUTION:],
            padding="end",
        )
        network = RegistrationNetwork(unet, Tail(), inshape=inshape)
    # both sides list convolutions in the order in which they run
    names = (f"{layer}/{kind}" for layer in [*layers, "flow"] for kind in ("kernel", "bias"))
    by_own = dict(zip(network.state_dict(), names, strict=True))
    return fill(network, stored, by_own.__getitem__)


def _layers(stored: Stored) -> list[str]:
    return [layer for layer in stored.layers if re.fullmatch(r"conv3d(_\d+)?", layer)]


def _check_config(stored: Stored) -> tuple[int, int, int] | None:
    """Check what a stored graph says about itself; return its grid, None where none is stored."""
    inshape = None
    strides: list[int] = []
    for kind, config in _graph(stored):
        if kind == "InputLayer" and inshape is None:
            inshape = config.get("batch_input_shape")
        elif kind == "Conv3D":
            strides.append(config.get("strides", [1])[0])
            _require(stored, config, "kernel_size", [3, 3, 3])
            _require(stored, config, "padding", "same")
            _require(stored, config, "activation", "linear")
        elif kind == "LeakyReLU" and abs(config.get("alpha", 0.2) - 0.2) > 1e-6:
            _require(stored, config, "alpha", 0.2)
        elif kind == "SpatialTransformer" and "indexing" in config:
            _require(stored, config, "indexing", "ij")
    if strides and strides != [2] * _LEVELS + [1] * (len(strides) - _LEVELS):
        raise CheckpointError(
            f"{stored.path}: convolutions of strides {strides}; expected four of stride 2, then 1; "
            "this network cannot be exported"
        )
    if inshape is None:
        return None
    if len(inshape) != 5 or inshape[4] != 1 or any(size % 2**_LEVELS for size in inshape[1:4]):
        raise CheckpointError(
            f"{stored.path}: inputs of shape {inshape}; expected (None, D, H, W, 1) with multiples "
            f"of {2**_LEVELS}; this network cannot be exported"
        )
    return int(inshape[1]), int(inshape[2]), int(inshape[3])


def _graph(stored: Stored) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for layer in (stored.config or {}).get("layers", ()):
        yield layer["class_name"], layer["config"]


def _require(stored: Stored, config: Mapping[str, Any], name: str, expected: object) -> None:
    if config.get(name) != expected:
        raise CheckpointError(
            f"{stored.path}: layer {config.get('name')!r} has {name}={config.get(name)!r}; "
            f"expected {expected!r}; this network cannot be exported"
        )


LAYOUT = Layout(
    name="keras-cvpr2018",
    expects="HDF5 with 10 or 11 layers conv3d_* and 'flow'",
    matches=_matches,
    read=_read,
)
