"""The manifest in a plan's bytes, in real plans of TensorRT-RTX; fuzzed."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiny_plans import engine_of, rtx_plan
from vmruntime import Artifact, ArtifactError, Manifest, ManifestError
from vmruntime.plan_file import MAX_NAME, is_plan, read_plan_manifest


@pytest.fixture(scope="module")
def plan(tiny_plan: Path) -> bytes:
    return tiny_plan.read_bytes()


@pytest.fixture(scope="module")
def small_model() -> bytes:
    """One operator: a plan of it is built in no time, and only its name is wanted."""
    onnx: Any = pytest.importorskip("onnx", reason="the export extra is not installed")
    tensors = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [4]) for name in "xy"
    ]
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    graph = onnx.helper.make_graph([node], "small", tensors[:1], tensors[1:])
    return bytes(onnx.helper.make_model(graph, ir_version=10).SerializeToString())


def test_a_plans_manifest_is_the_onnx_one_and_the_engine(
    tiny_plan: Path, tiny_artifact: Path
) -> None:
    """Issue 4, 2."""
    onnx, plan = Artifact.read(tiny_artifact), Artifact.read(tiny_plan)
    assert (onnx.kind, plan.kind) == ("onnx", "plan")
    assert "engine" not in onnx.manifest.to_dict()
    values = plan.manifest.to_dict()
    assert values == {**onnx.manifest.to_dict(), "engine": engine_of(onnx)}
    assert next(iter(values)) == "version"
    assert plan.model == tiny_plan.read_bytes()


def test_the_text_is_the_networks_name(plan: bytes) -> None:
    text = read_plan_manifest(plan)
    assert text == Manifest.from_json(text).to_json()
    assert is_plan(plan)


def test_the_longest_manifest_that_a_plan_holds(tiny_artifact: Path, small_model: bytes) -> None:
    """4096 bytes, the text's end included; with characters that JSON escapes and others."""
    artifact = Artifact.read(tiny_artifact)
    short = len(json.dumps(engine_of(artifact, note="")))
    whole = len(artifact.manifest.to_json()) + short
    note = 'q"\\' * ((MAX_NAME - 1 - whole) // len('q\\"\\\\'))
    manifest = replace(artifact.manifest, engine=engine_of(artifact, note=note))
    text = read_plan_manifest(rtx_plan(small_model, manifest.to_json()))
    assert MAX_NAME - 200 < len(text) < MAX_NAME
    assert Manifest.from_json(text).engine["note"] == note


def test_a_name_that_is_not_ascii(tiny_artifact: Path, small_model: bytes) -> None:
    artifact = Artifact.read(tiny_artifact)
    values = {**artifact.manifest.to_dict(), "engine": engine_of(artifact, note="Größe π")}
    plan = rtx_plan(small_model, json.dumps(values, ensure_ascii=False))
    assert Manifest.from_json(read_plan_manifest(plan)).engine["note"] == "Größe π"


@pytest.mark.parametrize("name", ["", "main_graph", '{"version":"1.0"}', '{"version":'])
def test_plans_of_others(small_model: bytes, tmp_path: Path, name: str) -> None:
    path = tmp_path / "other.plan"
    path.write_bytes(rtx_plan(small_model, name))
    with pytest.raises(ManifestError, match="without a manifest") as found:
        Artifact.read(path)
    assert str(found.value).startswith(f"{path}: is a TensorRT plan")
    assert "vm-export --engine" in str(found.value)


@pytest.mark.parametrize(
    ("changes", "fact"),
    [
        ({"target": "tpu"}, "target is 'tpu'"),
        ({"version": 11}, "version is '11'"),
        ({"precision": "int4"}, "precision is 'int4'"),
        ({"verified": "yes"}, "verified is 'yes'"),
        ({"compute_capability": "86"}, "compute_capability is '86'"),
        ({"compute_capability": ["8.6"]}, "compute_capability is"),
        ({"shapes": [[16, 16, 16]]}, "shapes is"),
        ({"shapes": [None, [16, 16, 16], [32, 32, 32]]}, "shapes is"),
        ({"shapes": [[0, 16, 16], [16, 16, 16], [32, 32, 32]]}, "shape is"),
    ],
)
def test_wrong_engines(tiny_plan: Path, changes: dict[str, object], fact: str) -> None:
    values = Artifact.read(tiny_plan).manifest.to_dict()
    values["engine"] |= changes
    with pytest.raises(ManifestError, match=fact):
        Manifest.from_json(json.dumps(values))


def test_a_newer_manifest(tiny_artifact: Path, small_model: bytes, tmp_path: Path) -> None:
    artifact = Artifact.read(tiny_artifact)
    values = {**artifact.manifest.to_dict(), "version": "2.0", "engine": {}}
    path = tmp_path / "newer.plan"
    path.write_bytes(rtx_plan(small_model, json.dumps(values, separators=(",", ":"))))
    with pytest.raises(ManifestError, match=r"version 2\.0.*update voxelmorph-deploy"):
        Artifact.read(path)


@pytest.mark.parametrize("kept", [1, 4, 5, 16, 23, 24, 100, 1000, 2000, 0.5, 0.99, -1])
def test_truncated(plan: bytes, tmp_path: Path, kept: float) -> None:
    path = tmp_path / "cut.plan"
    path.write_bytes(plan[: int(kept * len(plan)) if 0 < kept < 1 else int(kept)])
    with pytest.raises(ArtifactError) as found:
        Artifact.read(path)
    assert str(found.value).startswith(f"{path}: is ")
    assert "damaged" in str(found.value)
    assert "\n" not in str(found.value)


def test_a_manifest_alone_is_no_artifact(tiny_plan: Path, tmp_path: Path) -> None:
    path = tmp_path / "manifest.plan"
    path.write_text(Artifact.read(tiny_plan).manifest.to_json())
    with pytest.raises(ArtifactError, match="neither a TensorRT plan nor an ONNX model"):
        Artifact.read(path)
    with pytest.raises(ArtifactError, match="no TensorRT plan"):
        read_plan_manifest(path.read_bytes())


def test_other_kinds_of_plans(tiny_plan: Path) -> None:
    """TensorRT's own begin otherwise; what matters is the name, wherever it stands."""
    text = Artifact.read(tiny_plan).manifest.to_json().encode()
    for magic in (b"ftrt", b"ptrt"):
        filler = bytes(range(256)) * 4096
        assert read_plan_manifest(magic + filler + text + filler).encode() == text


def test_openings_that_lead_nowhere(tiny_plan: Path) -> None:
    """A few before the manifest do no harm; a file full of them is given up, not worked through."""
    text = Artifact.read(tiny_plan).manifest.to_json().encode()
    decoys = b'{"version":' * 10 + b'{"version":"1.0"}' + b'{"version":[[[[' + b"\xff\xfe"
    assert read_plan_manifest(b"ftrt" + decoys + text).encode() == text
    with pytest.raises(ManifestError, match="without a manifest"):
        read_plan_manifest(b"ftrt" + b'{"version":' * 1_000_000 + text)
    with pytest.raises(ManifestError, match="without a manifest"):
        read_plan_manifest(b'ftrt{"version":' + b"[" * 100_000)


def result_or_error(content: bytes) -> None:
    with contextlib.suppress(ArtifactError):
        Manifest.from_json(read_plan_manifest(content))


@given(st.sampled_from([b"", b"vtrt", b"ftrt", b"ptrt"]), st.binary(max_size=200))
def test_fuzz_bytes(magic: bytes, content: bytes) -> None:
    result_or_error(magic + content)


@given(data=st.data())
def test_fuzz_changed_plans(plan: bytes, data: st.DataObject) -> None:
    at = plan.index(b'{"version":')
    content = bytearray(plan[: at + 2048])
    content[16:24] = len(content).to_bytes(8, "little")
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    result_or_error(bytes(content))
