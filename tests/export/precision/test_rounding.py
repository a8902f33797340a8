"""float32 models that give what float16 would."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto

from vmexport.engine.half_precision import to_half
from vmexport.precision import as_rounded, faithful
from vmruntime import Artifact


def parsed(text: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 20]> {text}')


MODEL = """g (float[1, 1, 1, 1, N] x) => (float[1, 1, 1, 1, N] y)
<float[1, 1, 1, 1, 1] w = {1.0}, float[1] b = {0.0}>
{ a = Conv (x, w, b) r = LeakyRelu <alpha = 0.2> (a) y = Conv (r, w, b) }"""


def computed(model: onnx.ModelProto, values: list[float]) -> np.ndarray:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.array(values, np.float32).reshape(1, 1, 1, 1, -1)
    return session.run(None, {session.get_inputs()[0].name: x})[0].reshape(-1)


VALUES = [1.0001, 70000.0, 1e-9, -3.14159, 65519.0, 1e-6]


def test_every_tensor_is_rounded_to_float16() -> None:
    found = computed(as_rounded(to_half(parsed(MODEL))), VALUES)
    with np.errstate(over="ignore"):
        half = np.array(VALUES, np.float32).astype(np.float16)
        expected = np.where(half < 0, (half.astype(np.float32) * 0.2).astype(np.float16), half)
    np.testing.assert_array_equal(found, expected.astype(np.float32))
    assert np.isinf(found[1])
    assert found[2] == 0


def test_bfloat16_keeps_the_range_and_loses_digits() -> None:
    found = computed(as_rounded(to_half(parsed(MODEL), (), TensorProto.BFLOAT16)), VALUES)
    positive = [0, 1, 2, 4, 5]
    expected = np.array(VALUES, np.float32)[positive]
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[positive], expected, rtol=2**-8)
    assert found[0] == 1


def test_what_is_kept_is_not_rounded() -> None:
    found = computed(as_rounded(to_half(parsed(MODEL), ["a", "y"])), VALUES)
    np.testing.assert_allclose(found[[0, 1, 2]], VALUES[:3])


def test_the_function_body_still_works(tiny_artifact: Path) -> None:
    model = onnx.load(tiny_artifact)
    for kind in (TensorProto.FLOAT16, TensorProto.BFLOAT16):
        rounded = as_rounded(to_half(model, (), kind))
        onnx.checker.check_model(rounded, full_check=True)
        assert [output.name for output in rounded.graph.output] == [
            output.name for output in model.graph.output
        ]


def test_an_artifact_without_float16_is_left_alone(tiny_artifact: Path) -> None:
    artifact = Artifact.read(tiny_artifact)
    assert faithful(artifact) is artifact


@pytest.mark.parametrize("form", ["list", "tensor"])
def test_constants_are_widened(form: str) -> None:
    given = "value_floats = [0.1]" if form == "list" else "value = float[1] {0.1}"
    model = parsed(
        "g (float[1, 1, 1, 1, N] x) => (float[1, 1, 1, 1, N] y) "
        "<float[1, 1, 1, 1, 1] w = {1.0}> "
        f"{{ c = Constant <{given}> () m = Mul (x, c) y = Conv (m, w) }}"
    )
    found = computed(as_rounded(to_half(model)), [1.0])
    assert found[0] == np.float32(np.float16(0.1))
