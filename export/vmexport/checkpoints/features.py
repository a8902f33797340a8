"""How many channels each convolution has, from VxmDense's options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vmexport.checkpoints.options import Options, whole

_DEFAULT_ENCODER = [16, 32, 32, 32]
_DEFAULT_DECODER = [32, 32, 32, 32, 32, 16, 16]
_MOST_LEVELS = 12


def encoder_decoder(options: Options) -> tuple[list[int], list[int]]:
    """Return the channels on the way down and on the way up, as VxmDense derives them.

    ``nb_unet_features`` is a pair of lists, or one number that ``nb_unet_levels`` and
    ``unet_feat_mult`` spread over levels, or None for VoxelMorph's default.

    Raises
    ------
    CheckpointError
        If the options contradict each other, as they do for VxmDense.
    """
    features = options.config.get("nb_unet_features")
    base = whole(features)
    if base is None:
        if options.given("nb_unet_levels"):
            raise options.error(
                "nb_unet_levels", "None unless nb_unet_features is one number", "correct the config"
            )
        if features is None:
            return _DEFAULT_ENCODER, _DEFAULT_DECODER
        if isinstance(features, str | Mapping) or not isinstance(features, Sequence):
            raise options.error("nb_unet_features", "two lists, one number or None")
        if len(features) != 2:
            raise options.error("nb_unet_features", "two lists: encoder and decoder")
        encoder, decoder = (options.integers("nb_unet_features", part) for part in features)
        return encoder, decoder

    if not options.given("nb_unet_levels"):
        raise options.error(
            "nb_unet_levels", "a number of levels, as nb_unet_features is one number", "give it"
        )
    levels = options.integer("nb_unet_levels", 1, 1, _MOST_LEVELS)
    multiplier = options.number("unet_feat_mult", 1)
    # in floating point, as NumPy rounds: half to even
    spread = np.round(base * multiplier ** np.arange(levels)).astype(int)
    widths = options.integers("nb_unet_features", spread.tolist())
    convolutions = convolutions_per_level(options)
    down = [width for width in widths[:-1] for _ in range(convolutions)]
    up = [width for width in reversed(widths) for _ in range(convolutions)]
    return down, up


def convolutions_per_level(options: Options) -> int:
    """Return ``nb_unet_conv_per_level``."""
    return options.integer("nb_unet_conv_per_level", 1, 1, 16)


def pooled_levels(options: Options) -> tuple[list[list[int]], list[list[int]], list[int]]:
    """Split the channels into encoder levels, decoder levels and full-resolution convolutions.

    The decoder gets as many convolutions as the encoder lists; what it lists beyond is for full
    resolution. Entries that do not fill a level are dropped, in VxmDense as here.
    """
    encoder, decoder = encoder_decoder(options)
    convolutions = convolutions_per_level(options)
    levels = len(encoder) // convolutions
    used = levels * convolutions
    if levels > _MOST_LEVELS:
        raise options.error("nb_unet_features", f"at most {_MOST_LEVELS} levels")
    if len(decoder) < used:
        raise options.error(
            "nb_unet_features", f"at least {used} decoder entries for {levels} levels"
        )
    starts = range(0, used, convolutions)
    return (
        [encoder[start : start + convolutions] for start in starts],
        [decoder[start : start + convolutions] for start in starts],
        decoder[len(encoder) :],
    )
