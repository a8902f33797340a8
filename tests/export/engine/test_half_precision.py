"""A float32 artifact's U-Net in float16."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto

from vmexport.engine.half_precision import to_half
from vmexport.errors import ExportError
from vmexport.graph.build import build_model


@pytest.fixture
def model(tiny_artifact: Path) -> onnx.ModelProto:
    return onnx.load(tiny_artifact)


def outputs(model: onnx.ModelProto, shape: tuple[int, ...] | None = None) -> list[np.ndarray]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    noise = np.random.default_rng(3)
    feeds = {i.name: noise.random(shape or i.shape, np.float32) for i in session.get_inputs()}
    return session.run(None, feeds)


def parsed(text: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 20]> {text}')


def test_the_same_as_exported_in_float16(model: onnx.ModelProto, tiny_network: Any) -> None:
    """Not close but equal: both round the same weights and cast at the same places."""
    shape = tuple(dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim[2:])
    exported = build_model(tiny_network, shape, precision="fp16")
    for found, expected in zip(outputs(to_half(model)), outputs(exported), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_of_free_shapes(tiny_network: Any) -> None:
    exported = [
        build_model(tiny_network, (32, 32, 48), precision=precision, dynamic=True, stride=16)
        for precision in ("fp32", "fp16")
    ]
    found, expected = (outputs(m, (1, 1, 48, 16, 32)) for m in (to_half(exported[0]), exported[1]))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_is_half_and_what_is_not(model: onnx.ModelProto) -> None:
    halved = to_half(model)
    types = {tensor.name: tensor.data_type for tensor in halved.graph.initializer}
    for node in halved.graph.node:
        if node.op_type == "Conv":
            assert all(types[name] == TensorProto.FLOAT16 for name in node.input[1:])
    for tensor in (*halved.graph.input, *halved.graph.output):
        assert tensor.type.tensor_type.elem_type == TensorProto.FLOAT
    inferred = onnx.shape_inference.infer_shapes(halved, strict_mode=True)
    kinds = {info.name: info.type.tensor_type.elem_type for info in inferred.graph.value_info}
    warps = [node for node in halved.graph.node if node.op_type == "Warp3d"]
    assert warps
    for node in warps:
        assert kinds.get(node.input[1], TensorProto.FLOAT) == TensorProto.FLOAT
    assert halved.ByteSize() < model.ByteSize()


def test_the_model_given_is_not_changed(model: onnx.ModelProto) -> None:
    before = model.SerializeToString(deterministic=True)
    to_half(model)
    assert model.SerializeToString(deterministic=True) == before


def test_a_float16_model_is_refused(model: onnx.ModelProto) -> None:
    with pytest.raises(ExportError, match="has float16 parts already"):
        to_half(to_half(model))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("g (float[N] x) => (float[N] y) { y = Neg (x) }", "no convolution"),
        (
            "g (float[1, 3, 2, 2, 2] x, float[3, 3, 1, 1, 1] w) => (float[1, 3, 2, 2, 2] y) "
            "{ a = Conv (x, w) b = Conv (x, w) y = Add (a, b) }",
            "has 2 last convolutions",
        ),
        (
            "g (float[1, 3, 2, 2, 2] x, float[3, 3, 1, 1, 1] w) => (float[1, 3, 2, 2, 2] y) "
            "{ a = Sin (x) y = Conv (a, w) }",
            "before its last convolution the model has Sin",
        ),
        (
            "g (float[1, 3, 2, 2, 2] x, float[3, 3, 1, 1, 1] w) => (float[1, 3, 2, 2, 2] y) "
            "{ a = Relu (x) b = Conv (a, w) y = Add (a, b) }",
            "the tail takes a from within the U-Net",
        ),
    ],
)
def test_a_unet_that_cannot_be_told_from_the_tail(text: str, message: str) -> None:
    with pytest.raises(ExportError, match=message) as raised:
        to_half(parsed(text))
    assert "\n" not in str(raised.value)


def test_weights_beyond_float16_are_refused() -> None:
    model = parsed(
        "g (float[1, 1, 2, 2, 2] x) => (float[1, 1, 2, 2, 2] y) "
        "<float[1, 1, 1, 1, 1] w = {70000.0}> { y = Conv (x, w) }"
    )
    with pytest.raises(ExportError, match="'w' reach beyond what float16 holds"):
        to_half(model)
