"""A model that float16 cannot hold is found, named, planned for, and its file is right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from vmcalibration import CalibrationOptions, calibrate
from vmcalibration.loading import load_pair
from vmcalibration.pairs import PairFiles
from vmcalibration.ranges import Ranges
from vmcalibration.risks import find_risks, layers_that_overflow
from vmexport.engine.half_precision import to_half
from vmexport.errors import VerificationError
from vmexport.precision import PrecisionPlan, convert_with_plan, find_layers, plan_limits
from vmexport.verification import phantom_pair
from vmruntime import Artifact, Registrar
from vmruntime.backends.onnxruntime import OnnxRuntimeBackend

LARGE, NEXT = "decoder.3.0", "remaining.0"


def test_the_function_is_unchanged(
    overflowing: Path, checked_artifact: Path, pair: dict[str, Path]
) -> None:
    fields = []
    for path in (checked_artifact, overflowing):
        with Registrar.load(path, backend="onnxruntime") as registrar:
            fields.append(registrar.register(pair["moving"], pair["fixed"]).displacement.data)
    np.testing.assert_allclose(fields[1], fields[0], atol=1e-4)


def test_ranges_name_the_layer_and_the_tensor(overflowing: Path, pair_files: PairFiles) -> None:
    artifact = Artifact.read(overflowing)
    model = onnx.load(overflowing)
    layers = find_layers(model)
    ranges = Ranges()
    ranges.collect(model, load_pair(pair_files, artifact.manifest, 2), 2)
    risks = find_risks(model, layers, ranges)
    assert layers_that_overflow(risks) == (LARGE,)
    made = next(layer for layer in layers if layer.name == LARGE)
    found = [risk for risk in risks if risk.kind == "overflow" and risk.layer == LARGE]
    assert [risk.tensor for risk in found] == [made.result]
    assert "float16 ends at 65504" in found[0].text
    share = ranges.tensors[made.result].report()["fp16_overflow_share"]
    assert 0 < share < 1


def test_the_healthy_model_has_no_such_risk(checked_artifact: Path, pair_files: PairFiles) -> None:
    artifact = Artifact.read(checked_artifact)
    model = onnx.load(checked_artifact)
    ranges = Ranges()
    ranges.collect(model, load_pair(pair_files, artifact.manifest, 2), 2)
    assert not layers_that_overflow(find_risks(model, find_layers(model), ranges))


def test_the_plan_keeps_the_layer_and_its_file_passes(
    overflowing: Path, listing: Path, tmp_path: Path, pair: dict[str, Path]
) -> None:
    options = CalibrationOptions(precision="fp16", repeats=1, threads=2)
    found = calibrate(overflowing, listing, tmp_path / "out", options)
    assert {LARGE, NEXT} <= set(found.report["plans"]["fp16"]["kept"])
    assert found.decision.recommended == "mixed"
    assert found.model.name == "model_mixed.onnx"
    everything = next(c for c in found.report["candidates"] if c["name"] == "fp16-all")
    assert everything["verdict"]["p99_mm"] is None
    assert not everything["verdict"]["meets"]

    written = Artifact.read(found.model)
    assert written.manifest.precision == "mixed"
    assert written.manifest.verification["displacement"]["p99"] < 0.05
    types = {tensor.name: tensor.data_type for tensor in onnx.load(found.model).graph.initializer}
    half, full = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    kinds = {name: kind for name, kind in types.items() if name.startswith("source.")}
    assert kinds[f"source.unet.{LARGE}.conv.weight"] == full
    assert kinds[f"source.unet.{NEXT}.conv.weight"] == full
    assert half in kinds.values()

    fields = []
    for path in (overflowing, found.model):
        with Registrar.load(path) as registrar:
            fields.append(registrar.register(pair["moving"], pair["fixed"]).displacement.data)
    np.testing.assert_allclose(fields[1], fields[0], atol=0.05)


def test_a_plan_without_that_layer_does_not_pass(overflowing: Path, tmp_path: Path) -> None:
    artifact = Artifact.read(overflowing)
    layers = find_layers(onnx.load(overflowing))
    plan = PrecisionPlan("fp16", {layer.name: "fp16" for layer in layers})
    pairs = [phantom_pair(artifact.manifest.shape or (1, 1, 1))]
    with pytest.raises(VerificationError, match="nothing was written"):
        convert_with_plan(artifact, tmp_path / "m.onnx", plan, pairs, plan_limits(plan))


def test_onnxruntime_alone_would_not_have_noticed(overflowing: Path, tmp_path: Path) -> None:
    """Why `vmexport.precision.faithful` is there: it rounds, onnxruntime's processor does not."""
    artifact = Artifact.read(overflowing)
    path = tmp_path / "half.onnx"
    onnx.save(to_half(onnx.load(overflowing)), path)
    backend = OnnxRuntimeBackend(Artifact(path, path.read_bytes(), artifact.manifest))
    scans = phantom_pair(artifact.manifest.shape or (1, 1, 1))
    feeds = {"moving": scans.moving[None], "fixed": scans.fixed[None]}
    assert np.isfinite(backend.run(feeds, ["displacement"])["displacement"]).all()
    backend.close()
