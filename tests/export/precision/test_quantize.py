"""INT8 models: what is in the file, and that engines take it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from vmexport.errors import ExportError
from vmexport.graph.manifest_props import with_manifest
from vmexport.precision import find_layers, is_quantized, to_int8
from vmexport.verification import phantom_pair
from vmruntime import Artifact

SHAPE = (16, 32, 48)
THRESHOLDS = {"encoder.1.0": 0.5, "decoder.2.0": 0.25}


@pytest.fixture
def model(tiny_artifact: Path) -> onnx.ModelProto:
    return onnx.load(tiny_artifact)


def test_what_is_in_the_file(model: onnx.ModelProto) -> None:
    found = to_int8(model, THRESHOLDS)
    onnx.checker.check_model(found, full_check=True)
    kinds = Counter(node.op_type for node in found.graph.node)
    assert kinds["QuantizeLinear"] == 2
    assert kinds["DequantizeLinear"] == 4  # two tensors, two weights
    constants = {t.name: numpy_helper.to_array(t) for t in found.graph.initializer}
    made = {node.output[0]: node for node in found.graph.node}
    for node in (n for n in found.graph.node if n.op_type == "Conv"):
        weights = made.get(node.input[1])
        if weights is None:
            continue
        values, scales = (constants[name] for name in weights.input[:2])
        assert values.dtype == np.int8
        assert scales.shape == (len(values),)  # one an output channel
        assert not constants[weights.input[2]].any()
        assert constants[node.input[2]].dtype == np.float32  # bias
        tensor = made[made[node.input[0]].input[0]]
        assert tensor.op_type == "QuantizeLinear"
        assert constants[tensor.input[2]].dtype == np.int8
    assert all(t.HasField("raw_data") for t in found.graph.initializer)
    assert [f.name for f in found.functions] == [f.name for f in model.functions]


def test_scales_are_the_thresholds(model: onnx.ModelProto) -> None:
    found = to_int8(model, THRESHOLDS)
    constants = {t.name: numpy_helper.to_array(t) for t in found.graph.initializer}
    scales = sorted(
        float(constants[node.input[1]])
        for node in found.graph.node
        if node.op_type == "QuantizeLinear"
    )
    np.testing.assert_allclose(scales, [0.25 / 127, 0.5 / 127], rtol=0.01)


def test_the_model_given_is_not_changed(model: onnx.ModelProto) -> None:
    before = model.SerializeToString(deterministic=True)
    to_int8(model, THRESHOLDS)
    assert model.SerializeToString(deterministic=True) == before


def test_onnxruntime_runs_it(model: onnx.ModelProto) -> None:
    scans = phantom_pair(SHAPE)
    feeds = {"moving": scans.moving[None], "fixed": scans.fixed[None]}
    fields = []
    for variant in (model, to_int8(model, {"encoder.1.0": 0.5})):
        session = ort.InferenceSession(variant.SerializeToString())
        fields.append(session.run(["displacement"], feeds)[0])
    error = np.abs(fields[1] - fields[0])
    assert 0 < error.max() < 0.5
    assert error.mean() < 0.05


@pytest.mark.parametrize(
    ("thresholds", "message"),
    [
        ({}, "no layer is to be quantized"),
        ({"encoder.9.0": 1.0}, "has no layer 'encoder.9.0'"),
        ({"encoder.1.0": 0.0}, "threshold of the layer encoder.1.0"),
        ({"encoder.1.0": float("inf")}, "threshold of the layer encoder.1.0"),
    ],
)
def test_refusals(model: onnx.ModelProto, thresholds: dict[str, float], message: str) -> None:
    with pytest.raises(ExportError, match=message):
        to_int8(model, thresholds)


def test_a_quantized_model_is_refused(model: onnx.ModelProto) -> None:
    found = to_int8(model, THRESHOLDS)
    assert is_quantized(found)
    assert not is_quantized(model)
    with pytest.raises(ExportError, match="is quantized already"):
        find_layers(found)
    with pytest.raises(ExportError, match="is quantized already"):
        to_int8(found, THRESHOLDS)


def test_nodes_without_names(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        node.name = ""
    assert is_quantized(to_int8(model, THRESHOLDS))


def test_tensorrt_rtx_builds_it(tiny_artifact: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="the rtx extra is not installed")
    from vmexport.engine.build import build_engine
    from vmexport.engine.options import EngineOptions
    from vmexport.engine.toolkit import find_toolkit

    artifact = Artifact.read(tiny_artifact)
    manifest = replace(artifact.manifest, precision="int8")
    quantized = to_int8(onnx.load(tiny_artifact), THRESHOLDS)
    path = tmp_path / "int8.onnx"
    path.write_bytes(with_manifest(quantized, manifest))
    built = build_engine(Artifact.read(path), find_toolkit("rtx"), EngineOptions(target="rtx"))
    assert built.manifest.precision == "int8"
    assert built.manifest.engine["precision"] == "int8"
    assert len(built.plan) > 1000
