"""``vm-export --precision-plan`` as it is typed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from click.testing import CliRunner, Result

from command_line import one_error_line
from tiny_networks import tiny_network
from vmexport.artifact import ExportOptions, export_artifact
from vmexport.cli.export import main
from vmexport.precision import PrecisionPlan, find_layers, is_quantized
from vmruntime import Artifact


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert "Traceback" not in result.output
    return result


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("artifact") / "model.onnx"
    export_artifact(tiny_network(), path, ExportOptions())
    return path


@pytest.fixture
def plan(artifact: Path, tmp_path: Path) -> Any:
    def write(lower: str, *low: str, **limits: float) -> Path:
        names = [layer.name for layer in find_layers(onnx.load(artifact))]
        formats = {name: lower if name in low else "fp32" for name in names}
        thresholds = dict.fromkeys(low, 2.0) if lower == "int8" else {}
        path = tmp_path / f"plan_{lower}.json"
        path.write_text(PrecisionPlan(lower, formats, thresholds, **limits).to_json())
        return path

    return write


def test_an_artifact_in_int8(artifact: Path, plan: Any, tmp_path: Path) -> None:
    output = tmp_path / "int8.onnx"
    low = plan("int8", "encoder.1.0", "decoder.0.0")
    result = run(artifact, "--precision-plan", low, "-o", output)
    assert result.exit_code == 0, result.output
    assert "int8" in result.stdout
    assert is_quantized(onnx.load(output))
    assert Artifact.read(output).manifest.precision == "int8"


def test_a_plan_whose_limit_is_not_met_leaves_nothing(
    artifact: Path, plan: Any, tmp_path: Path
) -> None:
    output = tmp_path / "int8.onnx"
    low = plan("int8", "encoder.1.0", p99_voxels=1e-6, max_voxels=1.0)
    result = run(artifact, "--precision-plan", low, "-o", output)
    assert "the limit is 1e-06" in one_error_line(result.exit_code, result.stderr)
    assert [path.name for path in tmp_path.iterdir()] == ["plan_int8.json"]
    loose = run(artifact, "--precision-plan", low, "-o", output, "--p99-error", 1)
    assert loose.exit_code == 0, loose.output


def test_a_checkpoint(tmp_path: Path) -> None:
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
    config = {
        "inshape": [16, 16, 32], "nb_unet_features": [[4, 4], [4, 4, 4]], "nb_unet_levels": None,
        "unet_feat_mult": 1, "nb_unet_conv_per_level": 1, "int_steps": 3, "int_downsize": 2,
        "bidir": False, "use_probs": False, "src_feats": 1, "trg_feats": 1, "unet_half_res": True,
    }  # fmt: skip
    torch.save({"config": config, "model_state": state}, tmp_path / "model.pt")
    names = [name.removeprefix("unet_model.").removesuffix(".main") for name in widths]
    formats = dict.fromkeys(names, "fp16") | {"flow": "fp32"}
    (tmp_path / "plan.json").write_text(PrecisionPlan("fp16", formats).to_json())
    arguments = (tmp_path / "model.pt", "--precision-plan", tmp_path / "plan.json")
    result = run(*arguments, "-o", tmp_path / "model.onnx")
    assert result.exit_code == 0, result.output
    manifest = Artifact.read(tmp_path / "model.onnx").manifest
    assert manifest.precision == "mixed"
    assert manifest.source["layout"] == "vxm-dense"


@pytest.mark.parametrize(("lower", "precision"), [("int8", "int8"), ("fp16", "mixed")])
def test_an_engine(artifact: Path, plan: Any, tmp_path: Path, lower: str, precision: str) -> None:
    pytest.importorskip("tensorrt_rtx", reason="the rtx extra is not installed")
    low = plan(lower, "encoder.1.0", "decoder.0.0")
    result = run(
        artifact, "--precision-plan", low, "--engine", tmp_path / "m.plan", "--target", "rtx"
    )
    assert result.exit_code == 0, result.output
    assert f"{precision} engine" in result.stdout
    built = Artifact.read(tmp_path / "m.plan")
    assert built.kind == "plan"
    assert built.manifest.engine["precision"] == precision


def test_bad_usage(artifact: Path, plan: Any, tmp_path: Path) -> None:
    low = plan("fp16", "encoder.1.0")
    both = run(artifact, "--precision", "fp16", "--precision-plan", low, "-o", tmp_path / "m.onnx")
    assert both.exit_code == 2
    assert "leave --precision out" in both.stderr
    none = run(artifact, "-o", tmp_path / "m.onnx")
    assert none.exit_code == 2
    absent = run(artifact, "--precision-plan", tmp_path / "no.json", "-o", tmp_path / "m.onnx")
    assert "no.json: cannot be read" in one_error_line(absent.exit_code, absent.stderr)
    (tmp_path / "text.json").write_text("text")
    text = run(artifact, "--precision-plan", tmp_path / "text.json", "-o", tmp_path / "m.onnx")
    assert "is no JSON" in one_error_line(text.exit_code, text.stderr)
    assert not (tmp_path / "m.onnx").exists()
