"""``vm-export`` as it is typed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from vmexport.cli.export import main
from vmruntime.artifact import Artifact


def _run(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert "Traceback" not in result.output
    return result


def _config(**changes: object) -> dict[str, object]:
    return {
        "inshape": [16, 16, 32],
        "nb_unet_features": [[4, 4], [4, 4, 4]],
        "nb_unet_levels": None,
        "unet_feat_mult": 1,
        "nb_unet_conv_per_level": 1,
        "int_steps": 3,
        "int_downsize": 2,
        "bidir": False,
        "use_probs": False,
        "src_feats": 1,
        "trg_feats": 1,
        "unet_half_res": True,
        **changes,
    }


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A checkpoint of the VxmDense layout with random weights."""
    torch.manual_seed(0)
    widths = {
        "unet_model.encoder.0.0.main": (2, 4),
        "unet_model.encoder.1.0.main": (4, 4),
        "unet_model.decoder.0.0.main": (4, 4),
        "unet_model.decoder.1.0.main": (8, 4),
        "unet_model.remaining.0.main": (4, 4),
        "flow": (4, 3),
    }
    state = {}
    for name, (inside, outside) in widths.items():
        state[f"{name}.weight"] = torch.randn(outside, inside, 3, 3, 3) * 0.1
        state[f"{name}.bias"] = torch.zeros(outside)
    path = tmp_path / "checkpoint"  # no suffix: content decides
    torch.save({"config": _config(), "model_state": state}, path)
    return path


def test_what_it_prints_and_writes(checkpoint: Path, tmp_path: Path) -> None:
    output = tmp_path / "model.onnx"
    result = _run(checkpoint, "-o", output, "--voxel-size", "2,2,2", "--orientation", "ras")
    assert result.exit_code == 0, result.output
    for text in (
        "vxm-dense",
        "16 x 16 x 32, RAS, 2 x 2 x 2 mm",
        "displacement error: mean",
        "dice",
    ):
        assert text in result.stdout
    assert result.stderr == ""
    manifest = Artifact.read(output).manifest
    assert manifest.orientation == "RAS"
    assert manifest.source["file"] == "checkpoint"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint", "model.onnx"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--shape", "16,16"],
        ["--shape", "16,16,x"],
        ["--shape", "16,16,-32"],
        ["--voxel-size", "0,1,1"],
        ["--voxel-size", "nan,1,1"],
        ["--precision", "int8"],
        ["--intensity", "sqrt"],
        ["--max-error", "-1"],
        ["--nonsense"],
    ],
)
def test_wrong_usage_is_exit_code_2(checkpoint: Path, tmp_path: Path, arguments: list[str]) -> None:
    result = _run(checkpoint, "-o", tmp_path / "m.onnx", *arguments)
    assert result.exit_code == 2
    assert not (tmp_path / "m.onnx").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--orientation", "XYZ"], "orientation"),
        (["--shape", "16,16,30"], "multiple of 4"),
        (["--max-error", "0"], "the limit is 0"),
        (["--verify-moving", "m.nii"], "both a moving and a fixed scan"),
        (["--verify-moving", "m.nii", "--verify-fixed", "f.nii"], "m.nii: no such file"),
        (["-o", "model.plan"], "must end in .onnx"),
        (["-o", "missing/model.onnx"], "its directory does not exist"),
    ],
)
def test_a_failure_is_one_line_and_exit_code_1(
    checkpoint: Path, tmp_path: Path, arguments: list[str], message: str, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = _run(checkpoint, "-o", "m.onnx", *arguments)
    assert result.exit_code == 1
    assert message in result.stderr
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint"]


@pytest.mark.parametrize(
    "content", [b"", b"hello\n", b"PK\x03\x04 not a zip", b"\x89HDF\r\n\x1a\n no"]
)
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    result = _run(path, "-o", tmp_path / "m.onnx")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert str(path) in result.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["model.pt"]


def test_without_torch_the_error_names_the_extra(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from vmexport.cli.export import main\n"
        "main(['checkpoint.pt', '-o', 'm.onnx'])"
    )
    found = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert found.returncode == 1
    assert found.stderr == (
        "Error: vm-export needs torch; pip install 'voxelmorph-deploy[export]'\n"
    )
