"""Checkpoint files made of documented names, not by the code that reads them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

Convolutions = dict[str, tuple[int, int]]

# a small VxmDense: encoder [4, 6], decoder [6, 5] + remaining [4]; (channels in, out) by name
FEATURES = [[4, 6], [6, 5, 4]]
SMALL: Convolutions = {
    "unet_model.encoder.0.0.main": (2, 4),
    "unet_model.encoder.1.0.main": (4, 6),
    "unet_model.decoder.0.0.main": (6, 6),
    "unet_model.decoder.1.0.main": (12, 5),
    "unet_model.remaining.0.main": (9, 4),
    "flow": (4, 3),
}
SMALL_LEGACY: Convolutions = {
    "unet_model.downarm.0.main": (2, 4),
    "unet_model.downarm.1.main": (4, 6),
    "unet_model.uparm.0.main": (6, 6),
    "unet_model.uparm.1.main": (10, 5),
    "unet_model.extras.0.main": (7, 4),
    "flow": (4, 3),
}
SMALL_KERAS: Convolutions = {
    "vxm_dense_unet_enc_conv_0_0": (2, 4),
    "vxm_dense_unet_enc_conv_1_0": (4, 6),
    "vxm_dense_unet_dec_conv_1_0": (6, 6),
    "vxm_dense_unet_dec_conv_0_0": (12, 5),
    "vxm_dense_unet_dec_final_conv_0": (9, 4),
    "vxm_dense_flow": (4, 3),
}
POOLING = ("vxm_dense_unet_enc_pooling_0", "vxm_dense_unet_enc_pooling_1")
# VoxelMorph-1 of the CVPR 2018 paper, narrower
SMALL_CVPR: Convolutions = {
    "conv3d_98": (2, 2),
    "conv3d_99": (2, 3),
    "conv3d_100": (3, 4),
    "conv3d_101": (4, 5),
    "conv3d_102": (5, 5),
    "conv3d_103": (9, 4),
    "conv3d_104": (7, 3),
    "conv3d_105": (5, 3),
    "conv3d_106": (3, 2),
    "conv3d_107": (4, 2),
    "flow": (2, 3),
}


def config(**changes: Any) -> dict[str, Any]:
    """Options of the small networks above."""
    return {"inshape": (16, 8, 24), "nb_unet_features": FEATURES, **changes}


def state(convolutions: Convolutions, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random weights under PyTorch's names and shapes."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, (before, after) in convolutions.items():
        kernel = torch.randn(after, before, 3, 3, 3, generator=generator)
        weights[f"{name}.weight"] = kernel / (27 * before) ** 0.5
        weights[f"{name}.bias"] = torch.randn(after, generator=generator) / 10
    return weights


def save_torch(path: Path, model_state: Mapping[str, Any], options: Mapping[str, Any]) -> Path:
    """Write what VxmDense.save writes."""
    torch.save({"config": dict(options), "model_state": dict(model_state)}, path)
    return path


def save_keras(
    path: Path,
    weights: Mapping[str, torch.Tensor],
    model_config: Mapping[str, Any] | None,
    bare_layers: tuple[str, ...] = (),
    group: str = "model_weights",
) -> Path:
    """Write what Keras model.save writes, from weights under PyTorch's names and shapes."""
    names = list(dict.fromkeys(name.rpartition(".")[0] for name in weights))
    with h5py.File(path, "w") as file:
        if model_config is not None:
            stored = {"class_name": "VxmDense", "config": model_config}
            file.attrs["model_config"] = json.dumps(stored)
        root = file.require_group(group)
        root.attrs["layer_names"] = [name.encode() for name in [*names, *bare_layers]]
        for name in bare_layers:
            root.create_group(name).attrs["weight_names"] = np.zeros(0)
        for name in names:
            layer = root.create_group(name)
            layer.attrs["weight_names"] = [f"{name}/kernel:0".encode(), f"{name}/bias:0".encode()]
            kernel = weights[f"{name}.weight"].numpy()
            layer[f"{name}/kernel:0"] = kernel.transpose(2, 3, 4, 1, 0)
            layer[f"{name}/bias:0"] = weights[f"{name}.bias"].numpy()
    return path
