"""Sensitivities and plans, on a small model."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import pytest

from vmcalibration.planning import find_plan
from vmcalibration.sensitivity import Sensitivity, plan_for, sensitivities
from vmcalibration.trial import MOST_VOXELS, Trial, _corner
from vmexport.precision import Layer, PrecisionPlan, apply_plan, find_layers
from vmexport.verification import phantom_pair
from vmruntime import Artifact, Registrar

SHAPE = (16, 32, 48)


@pytest.fixture(scope="module")
def layers(tiny_artifact: Path) -> tuple[Layer, ...]:
    return find_layers(onnx.load(tiny_artifact))


@pytest.fixture(scope="module")
def trial(tiny_artifact: Path) -> Trial:
    artifact = Artifact.read(tiny_artifact)
    return Trial(onnx.load(tiny_artifact), artifact.manifest, phantom_pair(SHAPE), 2)


@pytest.fixture(scope="module")
def thresholds(layers: tuple[Layer, ...]) -> dict[str, float]:
    return {layer.name: 1.0 for layer in layers}


@pytest.fixture(scope="module")
def sensitive(
    trial: Trial, layers: tuple[Layer, ...], thresholds: dict[str, float]
) -> tuple[Sensitivity, ...]:
    return sensitivities(trial, layers, "int8", thresholds)


def test_the_reference_is_what_the_model_gives(trial: Trial, tiny_artifact: Path) -> None:
    scans = phantom_pair(SHAPE)
    with Registrar.load(tiny_artifact, backend="onnxruntime") as registrar:
        feeds = {"moving": scans.moving[None], "fixed": scans.fixed[None]}
        expected = registrar.backend.run(feeds, ["displacement"])["displacement"][0]
    assert trial.shape == SHAPE
    np.testing.assert_allclose(trial.reference, expected, atol=1e-4)


def test_the_error_of_a_plan_is_that_of_its_file(trial: Trial, tiny_artifact: Path) -> None:
    model = onnx.load(tiny_artifact)
    names = [layer.name for layer in find_layers(model)]
    plan = PrecisionPlan("int8", dict.fromkeys(names, "fp32") | {"encoder.1.0": "int8"},
                         {"encoder.1.0": 0.7})  # fmt: skip
    import onnxruntime as ort

    scans = phantom_pair(SHAPE)
    feeds = {"moving": scans.moving[None], "fixed": scans.fixed[None]}
    session = ort.InferenceSession(apply_plan(model, plan).SerializeToString())
    found = session.run(["displacement"], feeds)[0][0]
    error = np.sqrt(np.square(found - trial.reference).sum(0))
    assert trial.error(plan).max == pytest.approx(float(error.max()), abs=0.02)
    assert trial.error(plan).mean == pytest.approx(float(error.mean()), rel=0.1)


def test_a_corner_of_a_large_pair() -> None:
    parts = _corner((160, 192, 224), 16)
    shape = [part.stop - part.start for part in parts]
    assert np.prod(shape) <= MOST_VOXELS
    assert all(size % 16 == 0 for size in shape)
    assert all(2 * size >= whole for size, whole in zip(shape, (160, 192, 224), strict=True))
    assert _corner((16, 32, 48), 16) == (slice(0, 16), slice(0, 32), slice(0, 48))


def test_each_layer_alone(sensitive: tuple[Sensitivity, ...], layers: tuple[Layer, ...]) -> None:
    assert [found.layer for found in sensitive] == [layer.name for layer in layers]
    assert all(0 < found.mean <= found.p99 <= found.max for found in sensitive)
    # Two millimetres a voxel.
    assert all(found.p99_mm == pytest.approx(2 * found.p99, rel=1e-3) for found in sensitive)


def test_what_has_no_threshold_cannot_be_int8(trial: Trial, layers: tuple[Layer, ...]) -> None:
    (found,) = sensitivities(trial, layers[:1], "int8", {})
    assert math.isinf(found.p99_mm)


def test_a_generous_budget_lowers_everything(
    trial: Trial, layers: tuple[Layer, ...], sensitive: tuple[Sensitivity, ...], thresholds: dict
) -> None:
    found = find_plan(trial, layers, "int8", sensitive, {"flow"}, thresholds, 100.0)
    assert found.plan.kept == ("flow",)
    assert found.error is not None


def test_a_budget_of_nothing_lowers_nothing(
    trial: Trial, layers: tuple[Layer, ...], sensitive: tuple[Sensitivity, ...], thresholds: dict
) -> None:
    found = find_plan(trial, layers, "int8", sensitive, (), thresholds, 1e-9)
    assert found.plan.precision == "fp32"
    assert found.error is None


def test_what_is_between_meets_the_budget_and_keeps_no_more_than_it_must(
    trial: Trial, layers: tuple[Layer, ...], sensitive: tuple[Sensitivity, ...], thresholds: dict
) -> None:
    everything = trial.error(plan_for(layers, "int8", set(), thresholds)).p99_mm
    target = everything / 2
    found = find_plan(trial, layers, "int8", sensitive, (), thresholds, target)
    assert found.error is not None
    assert found.error.p99_mm <= target
    kept = set(found.plan.kept)
    assert 0 < len(kept) < len(layers)
    for name in kept:  # none of them can be let go
        error = trial.error(plan_for(layers, "int8", kept - {name}, thresholds))
        assert error.p99_mm > target
