"""The file that ``VxmDense.save`` of voxelmorph 0.2 writes with PyTorch."""

from __future__ import annotations

import re

import torch

from vmexport.checkpoints.dense import (
    assemble,
    integration_steps,
    integration_stride,
    refuse_probabilities,
    scan_channels,
)
from vmexport.checkpoints.errors import CheckpointError
from vmexport.checkpoints.features import pooled_levels
from vmexport.checkpoints.layout import Layout
from vmexport.checkpoints.options import Options
from vmexport.checkpoints.stored import Stored
from vmexport.checkpoints.weights import fill
from vmexport.networks import PooledUNet, RegistrationNetwork

# bidir adds a second warp to the training and changes nothing of the displacement
OPTIONS = (
    "inshape", "nb_unet_features", "nb_unet_levels", "unet_feat_mult", "nb_unet_conv_per_level",
    "int_steps", "int_downsize", "bidir", "use_probs", "src_feats", "trg_feats", "unet_half_res",
)  # fmt: skip


def torch_options(stored: Stored, known: tuple[str, ...]) -> Options:
    """Return the options of a ``VxmDense.save`` file.

    Raises
    ------
    CheckpointError
        If it is a bare state dict, or has options beyond `known`.
    """
    if stored.config is None:
        raise CheckpointError(
            f"{stored.path}: a bare state dict, without 'config'; expected 'config' and "
            "'model_state', as the integration cannot be told from weights; save the model with "
            "VxmDense.save(path) instead of torch.save(model.state_dict(), path)"
        )
    return Options(stored.path, stored.config, known)


def _matches(stored: Stored) -> bool:
    return any(
        re.match(r"unet_model\.(encoder|decoder|remaining)\.", key) for key in stored.weights
    )


def _read(stored: Stored) -> RegistrationNetwork:
    options = torch_options(stored, OPTIONS)
    options.inshape()
    refuse_probabilities(options)
    int_steps = integration_steps(options)
    stride = integration_stride(options, "int_downsize")
    half_res = options.flag("unet_half_res")
    if half_res and (int_steps == 0 or stride != 2):
        # VxmDense builds such a network, and fails on adding grids of two sizes when it runs
        raise options.error(
            "unet_half_res",
            "False unless int_downsize is 2 and int_steps is above 0 (found "
            f"int_downsize={stride}, int_steps={int_steps})",
            "VxmDense cannot run this network either",
        )
    encoder, decoder, remaining = pooled_levels(options)
    if half_res and not decoder:
        raise options.error("unet_half_res", "False for a U-Net without levels")
    with torch.device("meta"):
        unet = PooledUNet(scan_channels(options), encoder, decoder, remaining, int(half_res))
        network = assemble(options, unet, int_steps, stride)
    return fill(network, stored, _stored_name)


def _stored_name(own: str) -> str:
    return own.replace("unet.", "unet_model.", 1).replace(".conv.", ".main.")


LAYOUT = Layout(
    name="vxm-dense",
    expects="'config' and 'model_state' with unet_model.encoder.*",
    matches=_matches,
    read=_read,
)
