"""Artifacts as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vmruntime import Artifact, ArtifactError, Manifest, ManifestError, Registrar
from vmruntime.manifest import MANIFEST_KEY


@pytest.fixture
def with_metadata(tiny_artifact: Path, tmp_path: Path) -> Any:
    """Writes the tiny artifact with other metadata."""
    onnx = pytest.importorskip("onnx", reason="the export extra is not installed")

    def write(metadata: dict[str, str]) -> Path:
        model = onnx.load_from_string(tiny_artifact.read_bytes())
        del model.metadata_props[:]
        onnx.helper.set_model_props(model, metadata)
        (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
        return tmp_path / "model.onnx"

    return write


def test_reads(tiny_artifact: Path, manifest: Manifest) -> None:
    artifact = Artifact.read(str(tiny_artifact))
    assert artifact.manifest == manifest
    assert artifact.path == tiny_artifact
    assert artifact.model == tiny_artifact.read_bytes()


def test_other_metadata_is_left_alone(with_metadata: Any, manifest: Manifest) -> None:
    path = with_metadata({"author": "somebody", MANIFEST_KEY: manifest.to_json()})
    assert Artifact.read(path).manifest == manifest


@pytest.mark.parametrize(
    ("metadata", "fact"),
    [
        ({}, "without a manifest"),
        ({"author": "somebody"}, "without a manifest"),
        ({MANIFEST_KEY: ""}, "not JSON"),
        ({MANIFEST_KEY: '{"version": "1.0", '}, "not JSON"),
        ({MANIFEST_KEY: "{}"}, "version"),
        ({MANIFEST_KEY: '{"version": "2.0"}'}, r"version 2\.0.*update voxelmorph-deploy"),
        ({MANIFEST_KEY: '{"version": "1.0"}'}, "stride"),
    ],
)
def test_manifests_that_cannot_be_used(
    with_metadata: Any, metadata: dict[str, str], fact: str
) -> None:
    path = with_metadata(metadata)
    with pytest.raises(ManifestError, match=fact) as found:
        Artifact.read(path)
    assert str(found.value).startswith(f"{path}: ")


def test_multichannel_models_are_refused(with_metadata: Any, manifest: Manifest) -> None:
    from dataclasses import replace

    path = with_metadata({MANIFEST_KEY: replace(manifest, moving_channels=2).to_json()})
    with pytest.raises(ArtifactError, match="2 moving and 1 fixed channels"):
        Registrar.load(path)


def test_files_that_are_no_model(tmp_path: Path, tiny_artifact: Path) -> None:
    text, empty, cut = (tmp_path / f"{name}.onnx" for name in ("text", "empty", "cut"))
    text.write_text("this is no model\n")
    empty.write_bytes(b"")
    content = tiny_artifact.read_bytes()
    cut.write_bytes(content[: len(content) // 2])
    for path, fact in [
        (text, "not an ONNX model"),
        (empty, "empty"),
        (cut, "not an ONNX model, or is damaged"),
        (tmp_path, "directory"),
        (tmp_path / "absent.onnx", "no such file"),
        (text / "below.onnx", "Not a directory"),
    ]:
        with pytest.raises(ArtifactError, match=fact) as found:
            Artifact.read(path)
        assert str(found.value).startswith(f"{path}: ")


@pytest.mark.parametrize("left", [1, 10, 100, 0.1, 0.3, 0.7, 0.9, -1])
def test_truncated_at_any_length(tmp_path: Path, tiny_artifact: Path, left: float) -> None:
    content = tiny_artifact.read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(content[: int(left * len(content)) if 0 < left < 1 else int(left)])
    with pytest.raises(ArtifactError, match=r"cut.onnx: is "):
        Artifact.read(path)
