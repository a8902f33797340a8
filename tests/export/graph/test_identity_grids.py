"""Stored identity grids are found by their values and computed instead."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from vmexport.graph.identity_grids import compute_identity_grids

SHAPE = (24, 32, 40)


def _grid(kind: str) -> np.ndarray:
    axes = [np.arange(n, dtype=np.float32) for n in SHAPE]
    if kind == "normalised":
        axes = [(2 * (a / (a.size - 1) - 0.5)).astype(np.float32) for a in axes]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"))
    if kind == "channels last, reversed":
        return np.ascontiguousarray(np.moveaxis(grid[::-1], 0, -1))[None]
    if kind == "one coordinate":
        return grid[1]
    if kind == "integers":
        return grid.astype(np.int64)[None]
    return grid[None]


def _model(values: np.ndarray, *, as_node: bool) -> onnx.ModelProto:
    tensor = numpy_helper.from_array(values, "grid")
    nodes = [helper.make_node("Add", ["grid", "x"], ["y"])]
    if as_node:
        nodes.insert(0, helper.make_node("Constant", [], ["grid"], value=tensor))
    kind = TensorProto.INT64 if values.dtype == np.int64 else TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, [1])],
        [helper.make_tensor_value_info("y", kind, list(values.shape))],
        [] if as_node else [tensor],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.mark.parametrize("as_node", [False, True])
@pytest.mark.parametrize(
    "kind", ["voxels", "normalised", "channels last, reversed", "one coordinate", "integers"]
)
def test_a_grid_is_replaced_bit_for_bit(kind: str, as_node: bool) -> None:
    values = _grid(kind)
    model = _model(values, as_node=as_node)
    assert compute_identity_grids(model) == 1
    onnx.checker.check_model(model, full_check=True)
    assert model.ByteSize() < 5000 < values.nbytes
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(None, {"x": np.zeros(1, values.dtype)})[0]
    assert np.array_equal(found, values)


@pytest.mark.parametrize("noise", [1e-6, 1.0])
def test_other_constants_stay(noise: float) -> None:
    values = _grid("voxels").copy()
    values[0, 1, 3, 4, 5] += max(noise, np.spacing(values[0, 1, 3, 4, 5]))
    model = _model(values, as_node=False)
    assert compute_identity_grids(model) == 0
    assert model.graph.initializer[0].name == "grid"


def test_weights_of_a_convolution_stay() -> None:
    weights = np.random.default_rng(0).random((32, 64, 3, 3, 3), dtype=np.float32)
    assert compute_identity_grids(_model(weights, as_node=False)) == 0
