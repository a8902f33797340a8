"""The ONNX function body of ``vxm::Warp3d`` does what the PyTorch operator does."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper

from vmexport.graph.warp3d import DOMAIN, OPSET, VERSION, warp3d_function
from vmexport.networks import warp

# float32 coordinates below 64 have steps of 4e-6; intensities here change by at most 1 per voxel.
FLOAT32 = 2e-5
# Values up to 1 in float16 are half a step of 0.0005 off.
FLOAT16 = 1e-3


def _run(volume: np.ndarray, displacement: np.ndarray, **attributes: str) -> np.ndarray:
    types = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.float16): TensorProto.FLOAT16}
    shape = (*volume.shape[:2], *displacement.shape[2:])
    graph = helper.make_graph(
        [
            helper.make_node(
                "Warp3d", ["volume", "displacement"], ["moved"], domain=DOMAIN, **attributes
            )
        ],
        "warp",
        [
            helper.make_tensor_value_info("volume", types[volume.dtype], volume.shape),
            helper.make_tensor_value_info(
                "displacement", types[displacement.dtype], displacement.shape
            ),
        ],
        [helper.make_tensor_value_info("moved", types[volume.dtype], shape)],
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, VERSION)]
    model = helper.make_model(
        graph, functions=[warp3d_function()], opset_imports=opsets, ir_version=10
    )
    onnx.checker.check_model(model, full_check=True)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"volume": volume, "displacement": displacement})[0]


@pytest.fixture
def case() -> tuple[np.ndarray, np.ndarray]:
    """An odd, anisotropic volume and displacements that reach several voxels outside."""
    noise = np.random.default_rng(0)
    volume = noise.random((1, 2, 5, 9, 13), dtype=np.float32)
    displacement = noise.normal(0, 3, (1, 3, 5, 9, 13)).astype(np.float32)
    return volume, displacement


@pytest.mark.parametrize("padding", ["zeros", "border"])
@pytest.mark.parametrize("mode", ["linear", "nearest"])
def test_function_body_equals_the_operator(case, mode: str, padding: str) -> None:
    volume, displacement = case
    found = _run(volume, displacement, mode=mode, padding=padding)
    expected = warp(torch.from_numpy(volume), torch.from_numpy(displacement), mode, padding).numpy()
    assert found.shape == volume.shape
    assert np.abs(found - expected).max() < FLOAT32


def test_the_defaults_are_linear_and_zeros(case) -> None:
    volume, displacement = case
    assert np.array_equal(
        _run(volume, displacement), _run(volume, displacement, mode="linear", padding="zeros")
    )


def test_coordinates_of_a_float16_volume_are_computed_in_float32(case) -> None:
    """At index 300 a float16 coordinate would be off by up to 0.125 voxel."""
    ramp = np.arange(301, dtype=np.float32) % 2  # 0 1 0 1: half a voxel changes it by a half
    volume = np.broadcast_to(ramp, (1, 1, 2, 2, 301)).astype(np.float16)
    displacement = np.zeros((1, 3, 2, 2, 301), np.float32)
    displacement[:, 2] = -0.3
    found = _run(volume, displacement)
    assert found.dtype == np.float16
    expected = warp(torch.from_numpy(volume.astype(np.float32)), torch.from_numpy(displacement))
    assert np.abs(found - expected.numpy()).max() < FLOAT16


def test_a_displacement_along_one_axis_moves_along_that_array_axis() -> None:
    volume = np.zeros((1, 1, 4, 5, 6), np.float32)
    volume[0, 0, 1, 2, 3] = 1
    for axis in range(3):
        displacement = np.zeros((1, 3, 4, 5, 6), np.float32)
        displacement[:, axis] = 1
        expected = [1, 2, 3]
        expected[axis] -= 1
        assert np.argwhere(_run(volume, displacement)[0, 0] > 0.5).tolist() == [expected]


def test_the_displacement_may_stand_on_another_grid_than_the_volume(case) -> None:
    volume, displacement = case
    part = np.ascontiguousarray(displacement[..., :3, :4, :6])
    expected = warp(torch.from_numpy(volume), torch.from_numpy(part)).numpy()
    assert np.abs(_run(volume, part) - expected).max() < FLOAT32
