"""Precision plans: files, and models that follow them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from vmexport.errors import ExportError, VerificationError
from vmexport.precision import (
    PrecisionPlan,
    apply_plan,
    convert_with_plan,
    find_layers,
    plan_limits,
)
from vmexport.verification import Limits, phantom_pair
from vmruntime import Artifact

SHAPE = (16, 32, 48)


@pytest.fixture
def model(tiny_artifact: Path) -> onnx.ModelProto:
    return onnx.load(tiny_artifact)


def plan_of(model: onnx.ModelProto, lower: str, low: set[str]) -> PrecisionPlan:
    names = [layer.name for layer in find_layers(model)]
    thresholds = dict.fromkeys(low, 1.0) if lower == "int8" else {}
    return PrecisionPlan(lower, {n: lower if n in low else "fp32" for n in names}, thresholds)


def test_layers_are_named_after_their_weights(model: onnx.ModelProto) -> None:
    layers = find_layers(model)
    assert [layer.name for layer in layers][:2] == ["encoder.0.0", "encoder.1.0"]
    assert [layer.name for layer in layers if layer.is_head] == ["flow"]
    assert len({layer.name for layer in layers}) == len(layers)
    made = {node.output[0]: node for node in model.graph.node}
    assert all(made[layer.result].input[0] == layer.source for layer in layers)


def test_written_and_read_again(model: onnx.ModelProto, tmp_path: Path) -> None:
    plan = PrecisionPlan(
        "int8", {"a": "int8", "b": "fp32"}, {"a": 0.125}, 0.1, 2.5, {"file": "m.onnx"}
    )
    (tmp_path / "plan.json").write_text(plan.to_json())
    assert PrecisionPlan.read(tmp_path / "plan.json") == plan
    assert plan.kept == ("b",)


@pytest.mark.parametrize(
    ("lower", "low", "name"),
    [("fp16", 0, "fp32"), ("fp16", 1, "mixed"), ("fp16", 2, "fp16"), ("int8", 1, "int8")],
)
def test_what_the_manifest_calls_it(lower: str, low: int, name: str) -> None:
    layers = {str(i): lower if i < low else "fp32" for i in range(2)}
    assert PrecisionPlan(lower, layers, dict.fromkeys(layers, 1.0)).precision == name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("", "is no JSON"),
        ("[]", "is no precision plan"),
        ({"format": "other"}, "is no precision plan"),
        ({"version": "2.0"}, "version 2.0"),
        ({"lower": "fp8"}, "lower is 'fp8'"),
        ({"layers": []}, "layers is"),
        ({"layers": {"a": "fp16"}}, "layer a is 'fp16', not fp32 or int8"),
        ({"thresholds": {"a": -1}}, "threshold of a is '-1'"),
        ({"thresholds": {"a": True}}, "threshold of a"),
        ({"thresholds": {}}, "threshold of a is 'None'"),
        ({"limits": {"p99_voxels": "much"}}, "p99_voxels is 'much'"),
    ],
)
def test_bad_plans(tmp_path: Path, change: Any, message: str) -> None:
    good = json.loads(PrecisionPlan("int8", {"a": "int8"}, {"a": 1.0}).to_json())
    text = change if isinstance(change, str) else json.dumps(good | change)
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(ExportError, match=message) as raised:
        PrecisionPlan.read(tmp_path / "plan.json")
    assert "\n" not in str(raised.value)
    assert "plan.json" in str(raised.value)


def test_a_plan_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="cannot be read"):
        PrecisionPlan.read(tmp_path / "plan.json")


def test_a_plan_for_another_model(model: onnx.ModelProto) -> None:
    plan = plan_of(model, "fp16", {"flow"})
    missing = {name: kind for name, kind in plan.layers.items() if name != "flow"}
    with pytest.raises(ExportError, match="has a layer 'flow' more"):
        apply_plan(model, PrecisionPlan("fp16", missing))
    with pytest.raises(ExportError, match="has no layer 'other'"):
        apply_plan(model, PrecisionPlan("fp16", {**plan.layers, "other": "fp16"}))


def types_of(model: onnx.ModelProto) -> dict[str, int]:
    return {tensor.name: tensor.data_type for tensor in model.graph.initializer}


@pytest.mark.parametrize("low", [{"flow"}, {"encoder.0.0"}, {"decoder.1.0", "decoder.2.0"}])
def test_float16_where_the_plan_says(model: onnx.ModelProto, low: set[str]) -> None:
    found = apply_plan(model, plan_of(model, "fp16", low))
    onnx.checker.check_model(found, full_check=True)
    types = types_of(found)
    for node in (n for n in found.graph.node if n.op_type == "Conv"):
        name = node.input[1].removeprefix("source.").removeprefix("unet.").removesuffix("_half")
        name = name.removesuffix(".weight").removesuffix(".conv")
        expected = TensorProto.FLOAT16 if name in low else TensorProto.FLOAT
        assert types[node.input[1]] == expected, name
    assert [t.type.tensor_type.elem_type for t in found.graph.output] == [TensorProto.FLOAT] * 3


def test_keeping_nothing_is_fp32(model: onnx.ModelProto) -> None:
    plan = plan_of(model, "fp16", set())
    assert apply_plan(model, plan).SerializeToString() == model.SerializeToString()


def test_the_file_is_verified_and_says_so(tiny_artifact: Path, tmp_path: Path) -> None:
    artifact = Artifact.read(tiny_artifact)
    plan = plan_of(onnx.load(tiny_artifact), "fp16", {"encoder.1.0", "decoder.0.0"})
    pairs = [phantom_pair(SHAPE)]
    made = convert_with_plan(artifact, tmp_path / "m.onnx", plan, pairs)
    assert made.manifest.precision == "mixed"
    assert 0 < made.manifest.verification["displacement"]["max"] < 0.1
    assert "precision_plan_sha256" in made.manifest.source
    with pytest.raises(VerificationError, match="limit is 1e-09"):
        convert_with_plan(artifact, tmp_path / "m.onnx", plan, pairs, Limits(1e-9))
    with pytest.raises(ExportError, match="is mixed already"):
        convert_with_plan(made, tmp_path / "n.onnx", plan, pairs)


def test_limits_of_a_plan() -> None:
    plan = PrecisionPlan("int8", {"a": "int8"}, {"a": 1.0}, 0.1, 1.0)
    assert plan_limits(plan) == Limits(1.0, 0.1)
    assert plan_limits(plan, 3.0) == Limits(3.0, 0.1)
    usual = plan_limits(PrecisionPlan("fp16", {"a": "fp16"}))
    assert usual == Limits.of("fp16")


def test_the_same_numbers_from_a_kept_layer_on(model: onnx.ModelProto) -> None:
    """A layer that is kept computes in float32 what reaches it in float16."""
    import onnxruntime as ort

    rounded = apply_plan(model, plan_of(model, "fp16", {"encoder.0.0"}))
    scans = phantom_pair(SHAPE)
    feeds = {"moving": scans.moving[None], "fixed": scans.fixed[None]}
    fields = []
    for variant in (model, rounded):
        session = ort.InferenceSession(variant.SerializeToString())
        fields.append(session.run(["displacement"], feeds)[0])
    difference = np.abs(fields[1] - fields[0]).max()
    assert 0 < difference < 0.02
