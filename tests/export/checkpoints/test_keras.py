"""Keras HDF5 files, made here."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch

from checkpoint_files import (
    POOLING,
    SMALL,
    SMALL_CVPR,
    SMALL_KERAS,
    Convolutions,
    config,
    save_keras,
    save_torch,
    state,
)
from vmexport.checkpoints import CheckpointError, read_checkpoint

HALF_RES: Convolutions = {**SMALL_KERAS, "vxm_dense_unet_dec_final_conv_0": (5, 4)}
QUARTER_RES: Convolutions = {
    **HALF_RES,
    "vxm_dense_unet_dec_conv_0_0": (6, 5),
}


def renamed(weights: dict[str, torch.Tensor], names: Convolutions) -> dict[str, torch.Tensor]:
    """Give weights other names, in order."""
    keys = [f"{name}.{kind}" for name in names for kind in ("weight", "bias")]
    return dict(zip(keys, weights.values(), strict=True))


@pytest.mark.parametrize(
    ("convolutions", "options", "before", "steps", "after"),
    [
        (SMALL_KERAS, {}, Fraction(1, 2), 7, 2),
        (SMALL_KERAS, {"int_steps": 0}, 1, 0, 1),
        (SMALL_KERAS, {"int_resolution": 1, "int_steps": 5}, 1, 5, 1),
        (SMALL_KERAS, {"int_resolution": 4}, Fraction(1, 4), 7, 4),
        # the older name wins over the newer one, which is then at its default
        (SMALL_KERAS, {"int_resolution": 2, "int_downsize": 4}, Fraction(1, 4), 7, 4),
        (SMALL_KERAS, {"int_resolution": 2, "int_downsize": None}, Fraction(1, 2), 7, 2),
        (HALF_RES, {"unet_half_res": True}, 1, 7, 2),
        (HALF_RES, {"svf_resolution": 2}, 1, 7, 2),
        (HALF_RES, {"svf_resolution": 2, "int_resolution": 4}, Fraction(1, 2), 7, 4),
        (QUARTER_RES, {"svf_resolution": 4, "int_resolution": 2}, 2, 7, 2),
    ],
)
def test_resolutions(
    tmp_path: Path,
    scans: tuple[torch.Tensor, torch.Tensor],
    convolutions: Convolutions,
    options: dict[str, Any],
    before: Fraction | int,
    steps: int,
    after: int,
) -> None:
    path = save_keras(tmp_path / "m", state(convolutions), config(**options), POOLING)
    checkpoint = read_checkpoint(path)
    network = checkpoint.network
    assert checkpoint.layout == "keras-vxm-dense"
    assert network.inshape == (16, 8, 24)
    assert network.tail.resize_before.factor == before
    assert network.int_steps == steps
    assert network.tail.resize_after.factor == after
    assert network(*scans).shape == (1, 3, 16, 8, 24)


@pytest.mark.parametrize("group", ["model_weights", "/"])
@pytest.mark.parametrize("prefix", ["vxm_dense_unet_", "brains_unet_", "unet_"])
def test_it_is_the_torch_network_with_other_names(
    tmp_path: Path, scans: tuple[torch.Tensor, torch.Tensor], prefix: str, group: str
) -> None:
    weights = state(SMALL)
    one = read_checkpoint(save_torch(tmp_path / "torch", weights, config())).network
    flow = prefix.removesuffix("unet_") + "flow"
    names = {
        flow if name == "vxm_dense_flow" else name.replace("vxm_dense_unet_", prefix): ends
        for name, ends in SMALL_KERAS.items()
    }
    bare = tuple(name.replace("vxm_dense_unet_", prefix) for name in POOLING)
    path = save_keras(tmp_path / "keras", renamed(weights, names), config(), bare, group)
    other = read_checkpoint(path).network
    assert torch.equal(one(*scans), other(*scans))


def test_features_as_the_first_versions_spelled_them(tmp_path: Path) -> None:
    options = {"inshape": [16, 8, 24], "enc_nf": [4, 6], "dec_nf": [6, 5, 4]}
    path = save_keras(tmp_path / "m", state(SMALL_KERAS), options, POOLING)
    assert read_checkpoint(path).network.inshape == (16, 8, 24)


def test_two_convolutions_a_level(tmp_path: Path, scans: tuple[torch.Tensor, torch.Tensor]) -> None:
    convolutions = {
        "vxm_dense_unet_enc_conv_0_0": (2, 3),
        "vxm_dense_unet_enc_conv_0_1": (3, 4),
        "vxm_dense_unet_dec_conv_0_0": (4, 5),
        "vxm_dense_unet_dec_conv_0_1": (5, 6),
        "vxm_dense_flow": (10, 3),
    }
    options = config(nb_unet_features=[[3, 4], [5, 6]], nb_unet_conv_per_level=2)
    path = save_keras(tmp_path / "m", state(convolutions), options, POOLING)
    assert read_checkpoint(path).network(*scans).shape == (1, 3, 16, 8, 24)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"use_probs": True}, "config use_probs=True"),
        ({"hyp_model": {}}, "config hyp_model={}"),
        ({"input_model": "x"}, "config input_model='x'"),
        ({"svf_resolution": 3}, "a power of two up to 4"),
        ({"svf_resolution": 8}, "a power of two up to 4"),
        ({"svf_resolution": 2, "int_resolution": 1}, "the displacement would not have"),
        ({"unet_half_res": True, "int_steps": 0}, "the displacement would not have"),
        ({"inshape": [16, 24]}, "2-D network cannot be exported"),
        ({"layers": []}, "'model_config' lists layers"),
        ({"nb_labels": 4}, "unknown config options 'nb_labels'"),
    ],
)
def test_options_that_are_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    path = save_keras(tmp_path / "m", state(SMALL_KERAS), config(**options), POOLING)
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_without_a_config_are_refused(tmp_path: Path) -> None:
    path = save_keras(tmp_path / "m", state(SMALL_KERAS), None, POOLING)
    with pytest.raises(CheckpointError, match="without 'model_config'"):
        read_checkpoint(path)


def test_a_strided_encoder_under_the_same_names_is_refused(tmp_path: Path) -> None:
    path = save_keras(tmp_path / "m", state(SMALL_KERAS), config())
    with pytest.raises(CheckpointError, match="without pooling layers"):
        read_checkpoint(path)


def conv3d(name: str, stride: int, **changes: Any) -> dict[str, Any]:
    options = {
        "name": name,
        "strides": [stride] * 3,
        "kernel_size": [3, 3, 3],
        "padding": "same",
        "activation": "linear",
        **changes,
    }
    return {"class_name": "Conv3D", "config": options}


def graph(*more: dict[str, Any], grid: tuple[int, ...] = (16, 32, 48, 1)) -> dict[str, Any]:
    """The part that is checked of what Keras stores about a CVPR 2018 network."""
    inputs = {"class_name": "InputLayer", "config": {"batch_input_shape": [None, *grid]}}
    names = list(SMALL_CVPR)
    convolutions = [conv3d(name, 2 if i < 4 else 1) for i, name in enumerate(names)]
    return {"layers": [inputs, inputs, *convolutions, *more]}


@pytest.mark.parametrize("with_graph", [True, False])
def test_cvpr_weights_arrive_where_they_belong(tmp_path: Path, with_graph: bool) -> None:
    weights = state(SMALL_CVPR)
    options = graph() if with_graph else None
    checkpoint = read_checkpoint(save_keras(tmp_path / "m", weights, options))
    network = checkpoint.network
    assert checkpoint.layout == "keras-cvpr2018"
    assert network.inshape == ((16, 32, 48) if with_graph else None)
    assert network.stride == 16
    assert not network.diffeomorphic

    def convolve(number: int | str, x: torch.Tensor) -> torch.Tensor:
        name = number if isinstance(number, str) else f"conv3d_{number}"
        return torch.nn.functional.conv3d(
            x, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1
        )

    def block(number: int, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.leaky_relu(convolve(number, x), 0.2)

    def down(number: int, x: torch.Tensor) -> torch.Tensor:
        # TensorFlow's windows of even sizes are centred on the odd voxels
        return block(number, x)[..., 1::2, 1::2, 1::2]

    def up(x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.nn.functional.interpolate(x, scale_factor=2), skip], 1)

    moving, fixed = torch.rand(1, 1, 16, 32, 48), torch.rand(1, 1, 16, 32, 48)
    both = torch.cat([moving, fixed], 1)
    half = down(98, both)
    quarter = down(99, half)
    eighth = down(100, quarter)
    x = up(block(102, down(101, eighth)), eighth)
    x = up(block(103, x), quarter)
    x = up(block(104, x), half)
    x = up(block(106, block(105, x)), both)
    expected = convolve("flow", block(107, x))
    torch.testing.assert_close(network(moving, fixed), expected)


def test_voxelmorph_2_has_one_convolution_more(tmp_path: Path) -> None:
    convolutions = {name: ends for name, ends in SMALL_CVPR.items() if name != "flow"}
    convolutions |= {"conv3d_108": (2, 4), "flow": (4, 3)}
    network = read_checkpoint(save_keras(tmp_path / "m", state(convolutions), None)).network
    assert network.flow.weight.shape == (3, 4, 3, 3, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (graph(conv3d("conv3d_1", 2)), "expected four of stride 2"),
        (graph(conv3d("conv3d_1", 1, padding="valid")), "padding='valid'; expected 'same'"),
        (graph(conv3d("conv3d_1", 1, activation="relu")), "activation='relu'"),
        (graph({"class_name": "LeakyReLU", "config": {"alpha": 0.1}}), "alpha=0.1"),
        (
            graph({"class_name": "SpatialTransformer", "config": {"indexing": "xy"}}),
            "indexing='xy'; expected 'ij'",
        ),
        (graph(grid=(16, 32, 40, 1)), "multiples of 16"),
        (graph(grid=(16, 32, 48, 2)), "expected (None, D, H, W, 1)"),
    ],
)
def test_cvpr_graphs_that_are_refused(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    path = save_keras(tmp_path / "m", state(SMALL_CVPR), options)
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_probabilistic_miccai_network_is_refused(tmp_path: Path) -> None:
    convolutions = {**dict(list(SMALL_CVPR.items())[:9]), "flow": (3, 3), "log_sigma": (3, 3)}
    path = save_keras(tmp_path / "m", state(convolutions), None)
    with pytest.raises(CheckpointError, match="MICCAI 2018"):
        read_checkpoint(path)
