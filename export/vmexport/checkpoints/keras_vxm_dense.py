"""The HDF5 file of VoxelMorph's Keras ``VxmDense`` (2020 on), as the official brain model is.

It is read as VoxelMorph's PyTorch network of the same weights. The two differ at the border of the
grid: while integrating, Keras repeats the border's velocity outside, PyTorch takes zero there. On
brain scans with an empty margin that is 0.4 voxel at the outermost voxels, nothing (5e-7) in the
brain.
"""

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

# bidir and reg_field change what is trained on, fill_value the warped scan, not the displacement
OPTIONS = (
    "inshape", "nb_unet_features", "nb_unet_levels", "unet_feat_mult", "nb_unet_conv_per_level",
    "int_steps", "svf_resolution", "int_resolution", "int_downsize", "bidir", "use_probs",
    "src_feats", "trg_feats", "unet_half_res", "input_model", "hyp_model", "fill_value",
    "reg_field", "name", "metadata", "enc_nf", "dec_nf",
)  # fmt: skip

_CONVOLUTION = re.compile(r"(?P<prefix>.*)(enc_conv_\d+_\d+|dec_conv_\d+_\d+|dec_final_conv_\d+)")


def _matches(stored: Stored) -> bool:
    return stored.container == "keras" and _prefix(stored) is not None


def _read(stored: Stored) -> RegistrationNetwork:
    prefix = _prefix(stored) or ""
    if stored.config is None:
        raise CheckpointError(
            f"{stored.path}: Keras weights without 'model_config'; expected it, as the integration "
            "cannot be told from weights; save the model with model.save instead of save_weights"
        )
    config = dict(stored.config)
    if "layers" in config:
        raise CheckpointError(
            f"{stored.path}: 'model_config' lists layers; expected VxmDense's arguments; save the "
            "VxmDense model itself, not one derived from it"
        )
    if config.get("enc_nf") and config.get("dec_nf"):
        # how the first versions spelled it
        config["nb_unet_features"] = [config.pop("enc_nf"), config.pop("dec_nf")]
    options = Options(stored.path, config, OPTIONS)
    options.inshape()
    refuse_probabilities(options)
    for name in ("input_model", "hyp_model"):
        if options.given(name):
            raise options.error(name, "None")
    encoder, decoder, remaining = pooled_levels(options)
    if not any(layer.startswith(f"{prefix}enc_pooling_") for layer in stored.layers):
        # the same layer names once stood for an encoder of strided convolutions
        raise CheckpointError(
            f"{stored.path}: a Keras VxmDense without pooling layers, as before August 2020; "
            f"expected {prefix}enc_pooling_*; this network cannot be exported"
        )

    int_steps = integration_steps(options)
    stride = integration_stride(
        options, "int_downsize" if options.given("int_downsize") else "int_resolution"
    )
    predicted = (
        2 if options.flag("unet_half_res") else options.integer("svf_resolution", 1, 1, 2**12)
    )
    skipped = predicted.bit_length() - 1
    if 2**skipped != predicted or skipped > len(decoder):
        raise options.error("svf_resolution", f"a power of two up to {2 ** len(decoder)}")
    if predicted > 1 and (int_steps == 0 or stride == 1):
        raise options.error(
            "svf_resolution",
            "1 unless the field is integrated at a lower resolution (found a prediction at "
            f"1/{predicted}, int_steps={int_steps}, integration at 1/{stride})",
            "the displacement would not have the scans' size",
        )
    with torch.device("meta"):
        unet = PooledUNet(scan_channels(options), encoder, decoder, remaining, skipped)
        network = assemble(options, unet, int_steps, stride)

    levels = len(encoder)

    def stored_name(own: str) -> str:
        *place, _, kind = own.split(".")
        match place:
            case ["unet", "encoder", level, index]:
                layer = f"{prefix}enc_conv_{level}_{index}"
            case ["unet", "decoder", level, index]:
                # Keras counts decoder levels from the finest
                layer = f"{prefix}dec_conv_{levels - 1 - int(level)}_{index}"
            case ["unet", "remaining", index]:
                layer = f"{prefix}dec_final_conv_{index}"
            case _:
                layer = f"{prefix.removesuffix('unet_')}flow"
        return f"{layer}/{_KINDS[kind]}"

    return fill(network, stored, stored_name)


_KINDS = {"weight": "kernel", "bias": "bias"}


def _prefix(stored: Stored) -> str | None:
    """Return what comes before 'enc_conv_0_0': the names of the model and of its U-Net."""
    for key in stored.weights:
        found = _CONVOLUTION.fullmatch(key.split("/")[0])
        if found:
            return found["prefix"]
    return None


LAYOUT = Layout(
    name="keras-vxm-dense",
    expects="HDF5 with layers *_enc_conv_0_0 and *_flow and 'model_config'",
    matches=_matches,
    read=_read,
)
