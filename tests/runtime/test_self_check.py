"""Trying an artifact on a phantom pair."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vmruntime import Artifact, ArtifactError, BackendUnavailableError
from vmruntime.backends import Backend, open_backend
from vmruntime.cuda.probe import probe
from vmruntime.manifest import MANIFEST_KEY
from vmruntime.onnx_file import read_metadata
from vmruntime.self_check import check, compare, find_onnx


@pytest.fixture(scope="module")
def onnx() -> Any:
    return pytest.importorskip("onnx", reason="the export extra is not installed")


def changed(onnx: Any, source: Path, target: Path, scale: float) -> Path:
    """The model with a scaled displacement, and `moved` as it was."""
    model = onnx.load_from_string(source.read_bytes())
    for node in model.graph.node:
        for number, name in enumerate(node.output):
            if name == "displacement":
                node.output[number] = "true_displacement"
        for number, name in enumerate(node.input):
            if name == "displacement":
                node.input[number] = "true_displacement"
    factor = onnx.helper.make_tensor("factor", onnx.TensorProto.FLOAT, [], [scale])
    model.graph.initializer.append(factor)
    model.graph.node.append(
        onnx.helper.make_node("Mul", ["true_displacement", "factor"], ["displacement"])
    )
    target.write_bytes(model.SerializeToString())
    return target


def test_a_good_model(tiny_artifact: Path) -> None:
    report = check(Artifact.read(tiny_artifact), threads=1)
    assert report["pair"] == "phantom"
    assert report["engine"].startswith("onnxruntime ")
    assert report["displacement_max"] > 0.5
    assert 0 < report["warp_error"] < 1e-5
    assert 0 < report["inverse_error"]["mean"] < 0.2 < report["inverse_error"]["max"]


@pytest.mark.parametrize(
    ("scale", "fact"), [(1.1, "not the moving scan under its displacement"), (float("nan"), "NaN")]
)
def test_a_model_that_contradicts_itself(
    onnx: Any, tiny_artifact: Path, tmp_path: Path, scale: float, fact: str
) -> None:
    path = changed(onnx, tiny_artifact, tmp_path / "wrong.onnx", scale)
    with pytest.raises(ArtifactError) as found:
        check(Artifact.read(path), threads=1)
    assert str(found.value).startswith(f"{path}: its ")
    assert ("not finite" if fact == "NaN" else fact) in str(found.value)


# Two engines -------------------------------------------------------------------------------------


def opened(path: Path) -> Backend:
    return open_backend(Artifact.read(path), "onnxruntime", "cpu", 1)


def test_the_same_engine_twice(tiny_artifact: Path) -> None:
    artifact = Artifact.read(tiny_artifact)
    first, second = opened(tiny_artifact), opened(tiny_artifact)
    report = compare(first, second, artifact)
    assert report["displacement"]["max"] < 1e-5
    assert report["inverse_displacement"]["max"] < 1e-5
    assert report["moved_max"] < 1e-5
    assert report["limits"] == {"max": 1e-3, "p99": None}


@pytest.mark.parametrize(
    ("precision", "scale", "figure"),
    [
        ("fp32", 1.0 + 1e-5, None),
        ("fp32", 1.01, "max"),
        ("fp16", 1.01, None),
        ("fp16", 1.04, "p99"),
        ("fp16", 1.5, "max"),
        ("fp32", float("nan"), "max"),
    ],
)
def test_limits_of_the_precision(
    onnx: Any,
    tiny_artifact: Path,
    tmp_path: Path,
    precision: str,
    scale: float,
    figure: str | None,
) -> None:
    path = changed(onnx, tiny_artifact, tmp_path / "other.onnx", scale)
    reference, engine = opened(tiny_artifact), opened(path)
    engine.precision = precision
    artifact = Artifact.read(path)
    if figure is None:
        assert compare(reference, engine, artifact)["displacement"]["max"] > 0
    else:
        with pytest.raises(ArtifactError, match=rf"differs from onnxruntime's by .*\({figure},"):
            compare(reference, engine, artifact)


# The ONNX model of a plan ------------------------------------------------------------------------


def test_found_beside_the_plan(tiny_plan: Path, tmp_path: Path) -> None:
    plan = Artifact.read(tiny_plan)
    assert find_onnx(plan) == tiny_plan.with_suffix(".onnx")
    moved = tmp_path / "engine.plan"
    shutil.copy(tiny_plan, moved)
    shutil.copy(tiny_plan.with_suffix(".onnx"), tmp_path / "called_otherwise.onnx")
    (tmp_path / "another.onnx").write_bytes(b"")
    assert find_onnx(Artifact.read(moved)) == tmp_path / "called_otherwise.onnx"
    given = tiny_plan.with_suffix(".onnx")
    assert find_onnx(plan, given) == given


def test_not_found(tiny_plan: Path, tmp_path: Path) -> None:
    moved = tmp_path / "model.plan"
    shutil.copy(tiny_plan, moved)
    plan = Artifact.read(moved)
    with pytest.raises(ArtifactError, match="give it with --onnx"):
        find_onnx(plan)
    other = tmp_path / "model.onnx"
    other.write_bytes(tiny_plan.with_suffix(".onnx").read_bytes() + b"\0")
    with pytest.raises(ArtifactError, match="give it with --onnx"):
        find_onnx(plan)
    with pytest.raises(ArtifactError, match="is not the model that"):
        find_onnx(plan, other)
    with pytest.raises(ArtifactError, match="cannot be read"):
        find_onnx(plan, tmp_path / "absent.onnx")


def test_a_plan_needs_a_gpu(tiny_plan: Path) -> None:
    if probe().devices:
        pytest.skip("there is a GPU here")
    with pytest.raises(BackendUnavailableError, match="a plan needs an NVIDIA GPU"):
        check(Artifact.read(tiny_plan))


@pytest.mark.gpu
def test_a_plan_on_a_gpu(tiny_plan: Path) -> None:
    found = probe()
    if not found.devices:
        pytest.skip(found.reason)
    if found.devices[0].compute_capability != (8, 6):
        pytest.skip("the plan of the tests is for compute capability 8.6")
    report = check(Artifact.read(tiny_plan))
    assert report["displacement"]["max"] < 1e-3


def test_a_free_grid(onnx: Any, tiny_artifact: Path) -> None:
    """Multiples of the stride, or what a plan was tuned for."""
    from vmruntime.self_check import _feeds

    artifact = Artifact.read(tiny_artifact)
    assert MANIFEST_KEY in read_metadata(artifact.model)
    free = replace(artifact.manifest, shape=None)
    feeds = _feeds(replace(artifact, manifest=free))
    assert feeds["fixed"].shape == (1, 1, 32, 48, 64)
    tuned = replace(free, engine={"shapes": [[16] * 3, [16, 16, 32], [64] * 3]})
    assert _feeds(replace(artifact, manifest=tuned))["moving"].shape == (1, 1, 16, 16, 32)
