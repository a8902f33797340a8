"""The file that ``VxmDense.save`` wrote before 0.2 (2020): strided encoder, one path of names."""

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
from vmexport.checkpoints.features import encoder_decoder
from vmexport.checkpoints.layout import Layout
from vmexport.checkpoints.stored import Stored
from vmexport.checkpoints.vxm_dense import torch_options
from vmexport.checkpoints.weights import fill
from vmexport.networks import RegistrationNetwork, StridedUNet

OPTIONS = (
    "inshape", "nb_unet_features", "nb_unet_levels", "unet_feat_mult", "int_steps",
    "int_downsize", "bidir", "use_probs",
)  # fmt: skip


def _matches(stored: Stored) -> bool:
    return any(re.match(r"unet_model\.(downarm|uparm|extras)\.", key) for key in stored.weights)


def _read(stored: Stored) -> RegistrationNetwork:
    options = torch_options(stored, OPTIONS)
    options.inshape()
    refuse_probabilities(options)
    encoder, decoder = encoder_decoder(options)
    levels = len(encoder)
    if not 0 < levels < len(decoder):
        # its head expects the last convolution's channels, without those of the last skip
        raise options.error(
            "nb_unet_features",
            "an encoder, and a decoder that is longer",
            "this VxmDense cannot run such a network either",
        )
    with torch.device("meta"):
        unet = StridedUNet(
            scan_channels(options),
            encoder,
            [[width] for width in decoder[:levels]],
            decoder[levels:],
        )
        network = assemble(
            options, unet, integration_steps(options), integration_stride(options, "int_downsize")
        )
    return fill(network, stored, _stored_name)


def _stored_name(own: str) -> str:
    name = own.replace("unet.", "unet_model.", 1).replace(".conv.", ".main.")
    name = name.replace(".encoder.", ".downarm.").replace(".remaining.", ".extras.")
    return re.sub(r"\.decoder\.(\d+)\.0\.", r".uparm.\1.", name)


LAYOUT = Layout(
    name="vxm-dense-legacy",
    expects="'config' and 'model_state' with unet_model.downarm.*",
    matches=_matches,
    read=_read,
)
