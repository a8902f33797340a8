"""Files that are no checkpoint, damaged ones, and ones that would run code."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest
import torch

import vmexport.checkpoints
from checkpoint_files import (
    POOLING,
    SMALL,
    SMALL_CVPR,
    SMALL_KERAS,
    config,
    save_keras,
    save_torch,
    state,
)
from vmexport.checkpoints import CheckpointError, UnsafeCheckpointError, read_checkpoint


def refusal(path: Path) -> str:
    """The one line with which a file is refused."""
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    # fact; expectation; remedy
    assert "; expected " in message
    assert len(message.split("; ")) >= 3
    return message


def test_public_names() -> None:
    assert vmexport.checkpoints.__all__ == sorted(vmexport.checkpoints.__all__)
    for name in vmexport.checkpoints.__all__:
        assert hasattr(vmexport.checkpoints, name)


def test_missing_file(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "absent.pt")


def test_directory(tmp_path: Path) -> None:
    assert "is a directory" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"epoch,loss\n1,0.5\n", "begins with b'epoch,lo'"),
        (pickle.dumps({"config": 1}), "begins with b'\\x80\\x04"),
        (b"\x89PNG\r\n\x1a\n", "begins with b'\\x89PNG"),
        (b"\x89HDF\r\n\x1a\n", "damaged HDF5"),
        (b"PK\x03\x04", "damaged or not a checkpoint"),
    ],
)
def test_other_files(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "m.pt"
    path.write_bytes(content)
    assert message in refusal(path)


def as_zip(path: Path) -> Path:
    return save_torch(path, state(SMALL), config())


def as_legacy(path: Path) -> Path:
    content = {"config": config(), "model_state": state(SMALL)}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    return path


def as_keras(path: Path) -> Path:
    return save_keras(path, state(SMALL_KERAS), config(), POOLING)


@pytest.mark.parametrize("write", [as_zip, as_legacy, as_keras])
@pytest.mark.parametrize("kept", [0.01, 0.3, 0.6, 0.99])
def test_truncated_files(tmp_path: Path, write: Callable[[Path], Path], kept: float) -> None:
    path = write(tmp_path / "m")
    content = path.read_bytes()
    path.write_bytes(content[: max(16, int(kept * len(content)))])
    assert "copy or download it again" in refusal(path)


class Hostile:
    """Pickles to a call that creates a file."""

    def __init__(self, call: tuple[Any, ...]) -> None:
        self.call = call

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("place", ["whole", "config", "model_state", "option"])
def test_code_in_a_pickle_does_not_run(tmp_path: Path, place: str, zipped: bool) -> None:
    marker = tmp_path / "marker"
    hostile = Hostile((exec, (f"open({str(marker)!r}, 'w').close()",)))
    content: Any = {"config": config(), "model_state": state(SMALL)}
    if place == "whole":
        content = hostile
    elif place == "option":
        content["config"]["bidir"] = hostile
    else:
        content[place] = hostile
    torch.save(content, tmp_path / "m", _use_new_zipfile_serialization=zipped)
    with pytest.raises(UnsafeCheckpointError):
        read_checkpoint(tmp_path / "m")
    assert "its pickle wants exec," in refusal(tmp_path / "m")
    assert not marker.exists()
    # (the file would have done it)
    torch.load(tmp_path / "m", weights_only=False)
    assert marker.exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_shell_commands_are_named(tmp_path: Path, zipped: bool) -> None:
    import os

    torch.save(
        Hostile((os.system, ("true",))), tmp_path / "m", _use_new_zipfile_serialization=zipped
    )
    assert "posix.system" in refusal(tmp_path / "m")


def test_allowed_functions_called_wrongly_are_refused(tmp_path: Path) -> None:
    import numpy as np

    torch.save({"config": {"int_steps": np.str_("7")}}, tmp_path / "m")
    assert "NumPy scalar of type" in refusal(tmp_path / "m")


def test_a_whole_pickled_module(tmp_path: Path) -> None:
    torch.save(torch.nn.Conv3d(1, 1, 3), tmp_path / "m")
    message = refusal(tmp_path / "m")
    assert "torch.nn.modules.conv.Conv3d" in message
    assert "VxmDense.save" in message


def test_a_bare_state_dict(tmp_path: Path) -> None:
    torch.save(state(SMALL), tmp_path / "m")
    message = refusal(tmp_path / "m")
    assert "bare state dict" in message
    assert "VxmDense.save(path)" in message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds a list"),
        (torch.zeros(3), "holds a Tensor"),
        ({}, "keys found: none"),
        ({"epoch": 3, "state_dict": {}}, "keys found: 'epoch', 'state_dict'"),
        ({f"k{i}": torch.zeros(1) for i in range(9)}, "'k5' and 3 more"),
        ({"config": [1], "model_state": {}}, "'config' is a list"),
        ({"config": {}, "model_state": {"flow.weight": 3}}, "entry 'flow.weight'"),
        ({"config": config(), "model_state": {}}, "keys found: 'config', 'model_state'"),
    ],
)
def test_unknown_contents(tmp_path: Path, content: Any, message: str) -> None:
    torch.save(content, tmp_path / "m")
    assert message in refusal(tmp_path / "m")


def test_an_unknown_layout_lists_the_known_ones(tmp_path: Path) -> None:
    torch.save({"weights": torch.zeros(1)}, tmp_path / "m")
    message = refusal(tmp_path / "m")
    for layout in ("vxm-dense", "vxm-dense-legacy", "keras-vxm-dense", "keras-cvpr2018"):
        assert f"{layout}: " in message


def test_other_hdf5_files(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m", "w") as file:
        file["volume"] = [1.0]
    assert "keys found: 'volume'" in refusal(tmp_path / "m")


@pytest.mark.parametrize("stored", ["{", '"text"', '{"config": 3}'])
def test_a_keras_config_that_is_none(tmp_path: Path, stored: str) -> None:
    path = as_keras(tmp_path / "m")
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = stored
    refusal(path)


def test_a_config_alone_is_enough_to_say_what_it_is(tmp_path: Path) -> None:
    path = as_keras(tmp_path / "m")
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = json.dumps({"config": {"inshape": [16, 8, 24], "x": 1}})
    assert "unknown config options 'x'" in refusal(path)


Writer = Callable[[Path, dict[str, torch.Tensor]], Path]
WRITERS: list[tuple[Writer, dict[str, tuple[int, int]], str]] = [
    (lambda path, weights: save_torch(path, weights, config()), SMALL, "flow.weight"),
    (
        lambda path, weights: save_keras(path, weights, config(), POOLING),
        SMALL_KERAS,
        "vxm_dense_flow/kernel",
    ),
    (lambda path, weights: save_keras(path, weights, None), SMALL_CVPR, "flow/kernel"),
]


@pytest.mark.parametrize(("write", "convolutions", "name"), WRITERS)
class TestWeights:
    def weights(self, convolutions: dict[str, tuple[int, int]]) -> tuple[dict[str, Any], str]:
        weights = state(convolutions)
        return weights, next(key for key in weights if key.endswith("flow.weight"))

    def test_misshapen(self, tmp_path: Path, write: Writer, convolutions: Any, name: str) -> None:
        weights, key = self.weights(convolutions)
        before = weights[key].shape[1]
        weights[key] = torch.zeros(3, before + 2, 3, 3, 3)
        message = refusal(write(tmp_path / "m", weights))
        assert f"weight {name!r} has shape (3, {before + 2}, 3, 3, 3)" in message
        assert f"expected (3, {before}, 3, 3, 3)" in message

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
    def test_not_finite(
        self, tmp_path: Path, write: Writer, convolutions: Any, name: str, value: float
    ) -> None:
        weights, key = self.weights(convolutions)
        weights[key][1, 0, 2, 2, 0] = value
        assert f"weight {name!r} has NaN or infinite" in refusal(write(tmp_path / "m", weights))

    def test_extra(self, tmp_path: Path, write: Writer, convolutions: Any, name: str) -> None:
        weights, _ = self.weights(convolutions)
        weights |= {"other.weight": torch.zeros(3, 3, 3, 3, 3), "other.bias": torch.zeros(3)}
        message = refusal(write(tmp_path / "m", weights))
        assert "weight 'other" in message
        assert "and 1 more are left over" in message


def test_missing_weight(tmp_path: Path) -> None:
    weights = state(SMALL)
    del weights["unet_model.decoder.1.0.main.bias"]
    message = refusal(save_torch(tmp_path / "m", weights, config()))
    assert "weight 'unet_model.decoder.1.0.main.bias' is missing" in message


def test_missing_keras_layer(tmp_path: Path) -> None:
    weights = state(SMALL_KERAS)
    del weights["vxm_dense_unet_dec_conv_1_0.weight"], weights["vxm_dense_unet_dec_conv_1_0.bias"]
    message = refusal(save_keras(tmp_path / "m", weights, config(), POOLING))
    assert "weight 'vxm_dense_unet_dec_conv_1_0/kernel' and 1 more are missing" in message


@pytest.mark.parametrize(
    "weight",
    [
        torch.zeros(3, 4, 3, 3, 3, dtype=torch.int8),
        torch.zeros(3, 4, 3, 3, 3, dtype=torch.complex64),
        torch.zeros(3, 4, 3, 3, 3).to_sparse(),
    ],
)
def test_weights_of_other_kinds(tmp_path: Path, weight: torch.Tensor) -> None:
    weights = {**state(SMALL), "flow.weight": weight}
    message = refusal(save_torch(tmp_path / "m", weights, config()))
    assert "expected a dense floating-point tensor" in message


def test_a_double_that_float32_cannot_hold(tmp_path: Path) -> None:
    weights = state(SMALL)
    weights["flow.bias"] = torch.full((3,), 1e300, dtype=torch.float64)
    assert "infinite" in refusal(save_torch(tmp_path / "m", weights, config()))


def test_a_config_that_lies_about_sizes_costs_no_memory(tmp_path: Path) -> None:
    # half a terabyte
    options = config(nb_unet_features=[[4, 2**16], [2**16, 5, 4]])
    assert "has shape" in refusal(save_torch(tmp_path / "m", state(SMALL), options))
    options = config(nb_unet_features=[[4, 10**9], [10**9, 5, 4]])
    assert "from 1 to 65536" in refusal(save_torch(tmp_path / "m", state(SMALL), options))


def test_torchscript(tmp_path: Path) -> None:
    # a zip of torch's with code in it
    import zipfile

    buffer = io.BytesIO()
    torch.save(state(SMALL), buffer)
    with zipfile.ZipFile(buffer, "a") as archive:
        root = archive.namelist()[0].split("/")[0]
        archive.writestr(f"{root}/constants.pkl", b"\x80\x02).")
    (tmp_path / "m").write_bytes(buffer.getvalue())
    assert "TorchScript" in refusal(tmp_path / "m")
