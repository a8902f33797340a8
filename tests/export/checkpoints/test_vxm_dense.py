"""Every option of VxmDense, from files made here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from checkpoint_files import FEATURES, SMALL, SMALL_LEGACY, Convolutions, config, save_torch, state
from vmexport.checkpoints import CheckpointError, read_checkpoint

# VoxelMorph's default features, written out from its documentation
DEFAULT: Convolutions = {
    "unet_model.encoder.0.0.main": (2, 16),
    "unet_model.encoder.1.0.main": (16, 32),
    "unet_model.encoder.2.0.main": (32, 32),
    "unet_model.encoder.3.0.main": (32, 32),
    "unet_model.decoder.0.0.main": (32, 32),
    "unet_model.decoder.1.0.main": (64, 32),
    "unet_model.decoder.2.0.main": (64, 32),
    "unet_model.decoder.3.0.main": (64, 32),
    "unet_model.remaining.0.main": (48, 32),
    "unet_model.remaining.1.main": (32, 16),
    "unet_model.remaining.2.main": (16, 16),
    "flow": (16, 3),
}
# 4 features, 3 levels, multiplier 1.6: 4, 6 (6.4), 10 (10.24)
MULTIPLIED: Convolutions = {
    "unet_model.encoder.0.0.main": (2, 4),
    "unet_model.encoder.1.0.main": (4, 6),
    "unet_model.decoder.0.0.main": (6, 10),
    "unet_model.decoder.1.0.main": (16, 6),
    "unet_model.remaining.0.main": (10, 4),
    "flow": (4, 3),
}
# 3 features, 2 levels, 2 convolutions a level
TWO_A_LEVEL: Convolutions = {
    "unet_model.encoder.0.0.main": (2, 3),
    "unet_model.encoder.0.1.main": (3, 3),
    "unet_model.decoder.0.0.main": (3, 3),
    "unet_model.decoder.0.1.main": (3, 3),
    "unet_model.remaining.0.main": (6, 3),
    "unet_model.remaining.1.main": (3, 3),
    "flow": (3, 3),
}
# lists, 2 a level: the third encoder entry fills no level, and so does the decoder's third
LEFT_OVER: Convolutions = {
    "unet_model.encoder.0.0.main": (2, 3),
    "unet_model.encoder.0.1.main": (3, 4),
    "unet_model.decoder.0.0.main": (4, 5),
    "unet_model.decoder.0.1.main": (5, 6),
    "unet_model.remaining.0.main": (10, 8),
    "flow": (8, 3),
}
HALF_RES: Convolutions = {**SMALL, "unet_model.remaining.0.main": (5, 4)}
TWO_CHANNELS: Convolutions = {**SMALL, "unet_model.encoder.0.0.main": (3, 4)}

CASES: list[tuple[str, Convolutions, dict[str, Any], int, int]] = [
    # name, weights, options, required multiple, velocity at 1/n
    ("default", DEFAULT, {"inshape": (16, 16, 32)}, 16, 1),
    ("explicit None", DEFAULT, {"inshape": (16, 32, 32), "nb_unet_features": None}, 16, 1),
    (
        "one number",
        MULTIPLIED,
        config(nb_unet_features=4, nb_unet_levels=3, unet_feat_mult=1.6),
        4,
        1,
    ),
    (
        "two a level",
        TWO_A_LEVEL,
        config(nb_unet_features=3, nb_unet_levels=2, nb_unet_conv_per_level=2),
        2,
        1,
    ),
    (
        "entries left over",
        LEFT_OVER,
        config(nb_unet_features=[[3, 4, 9], [5, 6, 9, 8]], nb_unet_conv_per_level=2),
        2,
        1,
    ),
    ("half resolution", HALF_RES, config(unet_half_res=True), 4, 2),
    ("no steps", SMALL, config(int_steps=0), 4, 1),
    ("no steps, downsize is idle", SMALL, config(int_steps=0, int_downsize=3), 4, 1),
    ("full resolution steps", SMALL, config(int_downsize=1), 4, 1),
    ("coarser steps", SMALL, config(int_downsize=4), 4, 1),
    ("steps coarser than the U-Net", SMALL, config(int_downsize=8, inshape=(16, 16, 24)), 8, 1),
    ("thirds", SMALL, config(int_downsize=3, inshape=(12, 12, 24)), 12, 1),
    ("bidirectional", SMALL, config(bidir=True), 4, 1),
    ("two channels", TWO_CHANNELS, config(src_feats=2), 4, 1),
    ("legacy", SMALL_LEGACY, config(), 4, 1),
    ("legacy, no steps", SMALL_LEGACY, config(int_steps=0), 4, 1),
]


@pytest.mark.parametrize(
    ("convolutions", "options", "stride", "velocity_at"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_every_option(
    tmp_path: Path,
    convolutions: Convolutions,
    options: dict[str, Any],
    stride: int,
    velocity_at: int,
) -> None:
    checkpoint = read_checkpoint(save_torch(tmp_path / "m", state(convolutions), options))
    network = checkpoint.network
    legacy = "unet_model.downarm.0.main" in convolutions
    assert checkpoint.layout == ("vxm-dense-legacy" if legacy else "vxm-dense")
    assert network.inshape == options["inshape"]
    assert network.stride == stride
    assert network.int_steps == options.get("int_steps", 7)
    moving_channels = options.get("src_feats", 1)
    assert (network.moving_channels, network.fixed_channels) == (moving_channels, 1)
    shape = options["inshape"]
    moving, fixed = torch.rand(1, moving_channels, *shape), torch.rand(1, 1, *shape)
    assert network.velocity(moving, fixed).shape == (1, 3, *(n // velocity_at for n in shape))
    displacement = network(moving, fixed)
    assert displacement.shape == (1, 3, *shape)
    assert bool(torch.isfinite(displacement).all())


@pytest.mark.parametrize("half_res", [False, True])
def test_weights_arrive_where_they_belong(
    tmp_path: Path, scans: tuple[torch.Tensor, torch.Tensor], half_res: bool
) -> None:
    weights = state(HALF_RES if half_res else SMALL)
    options = config(unet_half_res=half_res, int_steps=3)
    network = read_checkpoint(save_torch(tmp_path / "m", weights, options)).network

    def convolve(name: str, x: torch.Tensor) -> torch.Tensor:
        kernel, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        return torch.nn.functional.conv3d(x, kernel, bias, padding=1)

    def block(name: str, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.leaky_relu(convolve(f"unet_model.{name}.main", x), 0.2)

    def double(x: torch.Tensor) -> torch.Tensor:
        for axis in (2, 3, 4):
            x = x.repeat_interleave(2, axis)
        return x

    pool = torch.nn.MaxPool3d(2)
    first = block("encoder.0.0", torch.cat(scans, 1))
    second = block("encoder.1.0", pool(first))
    x = block("decoder.0.0", pool(second))
    x = block("decoder.1.0", torch.cat([double(x), second], 1))
    if not half_res:
        x = torch.cat([double(x), first], 1)
    x = convolve("flow", block("remaining.0", x))
    torch.testing.assert_close(network.velocity(*scans), x)


def test_legacy_weights_arrive_where_they_belong(
    tmp_path: Path, scans: tuple[torch.Tensor, torch.Tensor]
) -> None:
    weights = state(SMALL_LEGACY)
    network = read_checkpoint(save_torch(tmp_path / "m", weights, config())).network

    def convolve(name: str, x: torch.Tensor, stride: int = 1) -> torch.Tensor:
        kernel, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        return torch.nn.functional.conv3d(x, kernel, bias, stride, padding=1)

    def block(name: str, x: torch.Tensor, stride: int = 1) -> torch.Tensor:
        x = convolve(f"unet_model.{name}.main", x, stride)
        return torch.nn.functional.leaky_relu(x, 0.2)

    def double(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.interpolate(x, scale_factor=2)

    both = torch.cat(scans, 1)
    half = block("downarm.0", both, 2)
    quarter = block("downarm.1", half, 2)
    x = torch.cat([double(block("uparm.0", quarter)), half], 1)
    x = torch.cat([double(block("uparm.1", x)), both], 1)
    x = convolve("flow", block("extras.0", x))
    torch.testing.assert_close(network.velocity(*scans), x)


def test_the_network_is_ready_for_inference(tmp_path: Path) -> None:
    weights = {name: value.double() for name, value in state(SMALL).items()}
    path = save_torch(tmp_path / "m.anything", weights, config())
    checkpoint = read_checkpoint(str(path))
    assert checkpoint.path == path
    assert len(checkpoint.sha256) == 64
    assert not checkpoint.network.training
    for parameter in checkpoint.network.parameters():
        assert parameter.dtype == torch.float32
        assert not parameter.requires_grad


def test_identity_grids_and_parameters_are_no_obstacle(tmp_path: Path) -> None:
    weights: dict[str, torch.Tensor] = dict(state(SMALL))
    weights["flow.bias"] = torch.nn.Parameter(weights["flow.bias"])
    weights["transformer.grid"] = torch.zeros(1, 3, 16, 8, 24)
    weights["integrate.transformer.grid"] = torch.zeros(1, 3, 8, 4, 12)
    assert read_checkpoint(save_torch(tmp_path / "m", weights, config())).layout == "vxm-dense"


def test_torchs_older_file_format(tmp_path: Path) -> None:
    content = {"config": config(), "model_state": state(SMALL)}
    torch.save(content, tmp_path / "m", _use_new_zipfile_serialization=False)
    assert read_checkpoint(tmp_path / "m").layout == "vxm-dense"


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        config(inshape=torch.Size([16, 8, 24])),
        config(inshape=[np.int64(16), np.int32(8), np.uint8(24)], int_steps=np.int16(7)),
        config(nb_unet_features=(tuple(FEATURES[0]), tuple(FEATURES[1])), bidir=np.bool_(True)),
        config(unet_feat_mult=np.float64(1.0), int_downsize=2.0, unet_half_res=0),
        config(int_steps=torch.tensor(7)),
        config(int_steps=np.array(7, ">i4")[()]),
    ],
)
def test_options_of_any_type(tmp_path: Path, options: dict[str, Any], zipped: bool) -> None:
    content = {"config": options, "model_state": state(SMALL)}
    torch.save(content, tmp_path / "m", _use_new_zipfile_serialization=zipped)
    network = read_checkpoint(tmp_path / "m").network
    assert network.inshape == (16, 8, 24)
    assert network.int_steps == 7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (config(inshape=(16, 24)), "2-D network cannot be exported"),
        (config(inshape=None), "config inshape=None; expected three sizes"),
        (config(inshape=(16, 8, 25)), "multiples of 4"),
        (config(inshape=(16, 8, 24), int_downsize=8), "2 voxels left to integrate on"),
        (config(inshape="abc"), "config inshape='abc'"),
        (config(inshape=(16, 8, -24)), "whole numbers from 1 to 65536"),
        (config(use_probs=True), "config use_probs=True; expected False"),
        (config(unet_half_res=True, int_steps=0), "VxmDense cannot run this network either"),
        (config(unet_half_res=True, int_downsize=1), "VxmDense cannot run this network either"),
        (config(unet_half_res=True, int_downsize=4), "VxmDense cannot run this network either"),
        (config(unet_half_res=2), "config unet_half_res=2; expected True or False"),
        (config(int_steps=-1), "config int_steps=-1; expected a whole number from 0 to 32"),
        (config(int_steps=10**9), "expected a whole number from 0 to 32"),
        (config(int_steps=None), "config int_steps=None"),
        (config(int_steps=True), "config int_steps=True"),
        (config(int_downsize=1.5), "config int_downsize=1.5"),
        (config(nb_unet_levels=3), "None unless nb_unet_features is one number"),
        (config(nb_unet_features=8), "config nb_unet_levels=None"),
        (config(nb_unet_features=8, nb_unet_levels=99), "config nb_unet_levels=99"),
        (
            config(nb_unet_features=8, nb_unet_levels=3, unet_feat_mult="2"),
            "config unet_feat_mult='2'; expected a positive number",
        ),
        (config(nb_unet_features="ab"), "expected two lists, one number or None"),
        (config(nb_unet_features=[[4, 6]]), "expected two lists: encoder and decoder"),
        (config(nb_unet_features=[[4, 6], 5]), "expected lists of whole numbers"),
        (config(nb_unet_features=[[4, 6], [6]]), "at least 2 decoder entries for 2 levels"),
        (config(nb_unet_features=[[4] * 20, [4] * 20]), "at most 12 levels"),
        (config(hyper=1, new=2), "unknown config options 'hyper', 'new'"),
    ],
)
def test_options_that_are_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    path = save_torch(tmp_path / "m", state(SMALL), options)
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_half_resolution_without_levels_is_refused(tmp_path: Path) -> None:
    weights = state({"unet_model.remaining.0.main": (2, 4), "flow": (4, 3)})
    options = config(nb_unet_features=[[], [4]])
    network = read_checkpoint(save_torch(tmp_path / "m", weights, options)).network
    assert network.stride == 2
    path = save_torch(tmp_path / "m", weights, {**options, "unet_half_res": True})
    with pytest.raises(CheckpointError, match="without levels"):
        read_checkpoint(path)


@pytest.mark.parametrize("features", [[[4, 6], [6, 5]], [[], [4]]])
def test_a_legacy_network_that_could_not_run_is_refused(
    tmp_path: Path, features: list[list[int]]
) -> None:
    path = save_torch(tmp_path / "m", state(SMALL_LEGACY), config(nb_unet_features=features))
    with pytest.raises(CheckpointError, match="decoder that is longer"):
        read_checkpoint(path)


def test_options_that_legacy_never_had_are_refused(tmp_path: Path) -> None:
    path = save_torch(tmp_path / "m", state(SMALL_LEGACY), config(unet_half_res=True))
    with pytest.raises(CheckpointError, match="unknown config options 'unet_half_res'"):
        read_checkpoint(path)
