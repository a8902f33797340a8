"""vm-inspect."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from vmruntime import Manifest
from vmruntime.cli.inspect import main as vm_inspect


def test_json(tiny_artifact: Path, manifest: Manifest) -> None:
    result = CliRunner().invoke(vm_inspect, [str(tiny_artifact), "--json"])
    assert result.exit_code == 0
    assert result.stderr == ""
    facts = json.loads(result.stdout)
    content = tiny_artifact.read_bytes()
    assert facts["file"] == str(tiny_artifact)
    assert facts["bytes"] == len(content)
    assert facts["sha256"] == hashlib.sha256(content).hexdigest()
    assert facts["manifest"] == json.loads(json.dumps(manifest.to_dict()))
    assert [tensor["name"] for tensor in facts["inputs"]] == ["moving", "fixed"]
    names = [tensor["name"] for tensor in facts["outputs"]]
    assert names == ["moved", "displacement", "inverse_displacement"]
    assert facts["inputs"][0] == {"name": "moving", "dtype": "float", "shape": [1, 1, 16, 32, 48]}
    assert facts["outputs"][1]["shape"] == [1, 3, 16, 32, 48]


def test_text(tiny_artifact: Path) -> None:
    result = CliRunner().invoke(vm_inspect, [str(tiny_artifact)])
    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    for expected in (
        "moving float 1 x 1 x 16 x 32 x 48",
        "displacement float 1 x 3 x 16 x 32 x 48",
        "orientation LIA",
        "voxel_size 2.0, 2.0, 2.0",
        "intensity divide:255",
        "precision fp32",
        "layout random weights",
        "max 1e-05",
    ):
        assert expected in lines


@pytest.mark.parametrize("content", [None, b"", b"this is no model\n", b"\x08\x0a\x3a\x00"])
def test_files_that_are_no_artifact(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    result = CliRunner().invoke(vm_inspect, [str(path)])
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"Error: {path}: ")
    assert "vm-export" in line


def test_usage() -> None:
    assert CliRunner().invoke(vm_inspect, []).exit_code == 2
    assert CliRunner().invoke(vm_inspect, ["a.onnx", "b.onnx"]).exit_code == 2
