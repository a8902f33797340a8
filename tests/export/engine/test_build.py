"""Engines that TensorRT-RTX builds, read back from their bytes."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from vmexport.engine.build import MAX_NAME, build_engine
from vmexport.engine.options import EngineOptions
from vmexport.engine.verify_engine import as_verified, why_unverified
from vmexport.errors import EngineBuildError
from vmruntime.artifact import Artifact
from vmruntime.cuda.probe import probe


def _read(plan: bytes, folder: Path) -> Artifact:
    path = folder / "model.plan"
    path.write_bytes(plan)
    return Artifact.read(path)


@pytest.mark.parametrize("warp", ["native", "gather"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_plan_carries_the_manifest_of_its_onnx(
    artifacts, rtx, tmp_path: Path, precision: str, warp: str
) -> None:
    artifact = artifacts[precision]
    built = build_engine(artifact, rtx, EngineOptions(warp=warp))
    found = _read(built.plan, tmp_path)
    assert found.kind == "plan"
    assert found.manifest == built.manifest
    assert replace(found.manifest, engine={}) == artifact.manifest
    assert found.manifest.engine == {
        "target": "rtx",
        "version": rtx.trt.__version__,
        "precision": precision,
        "warp": warp,
        "compute_capability": [80, 86, 89, 120],
        "onnx_sha256": hashlib.sha256(artifact.model).hexdigest(),
        "verified": False,
    }


def test_the_report_says_what_was_built(artifacts, rtx) -> None:
    report = build_engine(artifacts["fp16"], rtx, EngineOptions()).report
    convolutions_at_least = 8
    assert report.layers.unet["HALF"] > convolutions_at_least
    assert set(report.layers.tail) == {"FLOAT"}
    assert report.layers.warps == 11
    assert report.activation_bytes is not None
    assert 0 < report.activation_bytes < 1 << 30
    assert report.plan_bytes > 1000
    text = "\n".join(report.lines())
    assert rtx.trt.__version__ in text
    assert "compute capability 8.0, 8.6, 8.9, 12.0" in text
    assert "native warp" in text


def test_the_capabilities_stand_in_the_manifest(artifacts, rtx, tmp_path: Path) -> None:
    built = build_engine(artifacts["fp16"], rtx, EngineOptions(compute_capabilities=(86, 120)))
    assert _read(built.plan, tmp_path).manifest.engine["compute_capability"] == [86, 120]


def test_a_free_grid_is_built_for_a_range(artifacts, rtx, tmp_path: Path) -> None:
    shapes = {"min_shape": (8, 8, 8), "opt_shape": (16, 24, 40), "max_shape": (24, 24, 40)}
    built = build_engine(artifacts["dynamic"], rtx, EngineOptions(**shapes))
    engine = _read(built.plan, tmp_path).manifest.engine
    assert engine["shapes"] == [[8, 8, 8], [16, 24, 40], [24, 24, 40]]
    assert built.manifest.shape is None


@pytest.mark.parametrize(
    ("name", "shapes", "message"),
    [
        ("fp32", {"opt_shape": (16, 24, 40)}, "the model has a fixed grid"),
        ("dynamic", {}, "give --opt-shape"),
        ("dynamic", {"opt_shape": (16, 24, 41)}, "--opt-shape 16,24,41 .*multiple of 8"),
        ("dynamic", {"opt_shape": (16, 24, 40), "max_shape": (16, 16, 40)}, "not in order"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(artifacts, rtx, name, shapes, message) -> None:
    with pytest.raises(EngineBuildError, match=message) as caught:
        build_engine(artifacts[name], rtx, EngineOptions(**shapes))
    assert "\n" not in str(caught.value)


def test_a_manifest_that_a_plan_does_not_take_is_refused(artifacts, rtx) -> None:
    artifact = artifacts["fp32"]
    long = {**artifact.manifest.source, "file": "x" * MAX_NAME}
    with pytest.raises(EngineBuildError, match=r"the manifest has \d+ bytes, a plan takes 4095"):
        build_engine(
            replace(artifact, manifest=replace(artifact.manifest, source=long)),
            rtx,
            EngineOptions(),
        )


def test_the_longest_manifest_that_a_plan_takes(artifacts, rtx, tmp_path: Path) -> None:
    artifact = artifacts["fp32"]
    built = build_engine(artifact, rtx, EngineOptions())
    room = MAX_NAME - len(built.manifest.to_json().encode())
    layout = artifact.manifest.source["layout"] + "x" * room
    source = {**artifact.manifest.source, "layout": layout}
    long = replace(artifact, manifest=replace(artifact.manifest, source=source))
    built = build_engine(long, rtx, EngineOptions())
    assert len(built.manifest.to_json().encode()) == MAX_NAME
    assert _read(built.plan, tmp_path).manifest == built.manifest


def test_a_node_that_the_parser_does_not_take_is_named(artifacts, rtx) -> None:
    artifact = artifacts["fp32"]
    model = onnx.load_from_string(artifact.model)
    output = model.graph.output[0].name
    maker = next(node for node in model.graph.node if output in node.output)
    maker.output[:] = ["before"]
    odd = onnx.helper.make_node("Det", ["before"], [output], "the_odd_one")
    model.graph.node.append(odd)
    with pytest.raises(EngineBuildError, match=r"node the_odd_one \(Det\)") as caught:
        build_engine(replace(artifact, model=model.SerializeToString()), rtx, EngineOptions())
    assert "\n" not in str(caught.value)


def test_too_little_workspace_is_one_line_with_the_remedy(artifacts, rtx) -> None:
    with pytest.raises(EngineBuildError, match="raise --workspace") as caught:
        build_engine(artifacts["fp16"], rtx, EngineOptions(workspace=1e-9))
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(bool(probe().devices), reason="a GPU is present")
def test_for_this_machines_gpu_without_one(artifacts, rtx) -> None:
    with pytest.raises(EngineBuildError, match="a GPU and its driver are needed"):
        build_engine(artifacts["fp16"], rtx, EngineOptions(compute_capabilities="current"))
    assert "driver" in why_unverified((86,))


def test_a_verified_plan_says_so_and_is_otherwise_the_same(artifacts, rtx, tmp_path: Path) -> None:
    measured = artifacts["fp16"].manifest.verification
    built = build_engine(artifacts["fp16"], rtx, EngineOptions(), spare=1200)
    verified = as_verified(built, measured)
    found = _read(verified.plan, tmp_path).manifest
    assert found.engine["verified"] is True
    assert found.engine["verification"] == measured
    assert len(verified.plan) == len(built.plan)
    differing = sum(a != b for a, b in zip(verified.plan, built.plan, strict=True))
    assert differing <= 1200 + 100

    tight = build_engine(artifacts["fp16"], rtx, EngineOptions())
    with pytest.raises(EngineBuildError, match="no place for"):
        as_verified(tight, measured)
