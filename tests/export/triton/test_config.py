"""``config.pbtxt``, parsed with Triton's own schema and compared with the model's file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from google.protobuf import text_format

from tiny_networks import SHAPE, STRIDE
from vmexport.errors import ExportError
from vmexport.triton import model_config
from vmexport.triton.config import WARM_UP_STRIDES
from vmruntime import Artifact, Manifest
from vmruntime.onnx_signature import read_signature

schema = pytest.importorskip(
    "tritonclient.grpc.model_config_pb2", reason="the triton extra is not installed"
)
KIND = schema.ModelInstanceGroup.Kind


def _parsed(path: Path, name: str = "brain", hardware: str = "gpu"):
    made = model_config(Artifact.read(path), name, hardware)
    return text_format.Parse(made.text, schema.ModelConfig())


@pytest.mark.parametrize("name", ["plain", "half", "free", "channels"])
def test_the_tensors_are_those_of_the_file(models: dict[str, Path], name: str) -> None:
    config = _parsed(models[name])
    signature = read_signature(models[name].read_bytes())
    for said, tensors in zip((config.input, config.output), signature, strict=True):
        assert [each.name for each in said] == [tensor.name for tensor in tensors]
        assert all(each.data_type == schema.TYPE_FP32 for each in said)
        assert all(tensor.dtype == "float" for tensor in tensors)
        for each, tensor in zip(said, tensors, strict=True):
            assert list(each.dims) == [-1 if n is None else n for n in tensor.shape]
    assert ("inverse_displacement" in [each.name for each in config.output]) is (name != "plain")


@pytest.mark.parametrize("name", ["plain", "half", "free", "channels"])
def test_what_is_said_about_serving(models: dict[str, Path], name: str) -> None:
    config = _parsed(models[name])
    assert (config.name, config.max_batch_size) == ("brain", 0)
    assert (config.platform, config.backend) == ("onnxruntime_onnx", "onnxruntime")
    assert [(group.kind, group.count) for group in config.instance_group] == [(KIND.KIND_GPU, 1)]
    assert config.version_policy.latest.num_versions == 1
    assert config.WhichOneof("scheduling_choice") is None  # a batcher needs batches
    (warm_up,) = config.model_warmup
    size = WARM_UP_STRIDES * STRIDE
    grid = (size, size, size) if name == "free" else SHAPE
    assert warm_up.batch_size == 1
    assert sorted(warm_up.inputs) == ["fixed", "moving"]
    for tensor in config.input:
        given = warm_up.inputs[tensor.name]
        assert given.WhichOneof("input_data_type") == "zero_data"
        assert given.data_type == tensor.data_type
        assert list(given.dims) == [1, tensor.dims[1], *grid]


def test_on_the_processor(models: dict[str, Path]) -> None:
    assert _parsed(models["half"], hardware="cpu").instance_group[0].kind == KIND.KIND_CPU


def test_the_manifest_is_the_files(models: dict[str, Path]) -> None:
    stored = _parsed(models["half"]).parameters["vxm.manifest"].string_value
    assert Manifest.from_json(stored) == Artifact.read(models["half"]).manifest
    assert json.loads(stored)["precision"] == "fp16"


def test_a_plan(plans: dict[str, Path]) -> None:
    config = _parsed(plans["tensorrt"])
    assert (config.platform, config.backend) == ("tensorrt_plan", "tensorrt")
    assert [group.kind for group in config.instance_group] == [KIND.KIND_GPU]
    assert list(config.input[0].dims) == [1, 1, *SHAPE]
    stored = Manifest.from_json(config.parameters["vxm.manifest"].string_value)
    assert stored.engine["version"] == "10.13.0.35"


def test_a_plan_with_a_free_grid_is_warmed_up_on_its_usual_one(
    models: dict[str, Path], tmp_path: Path
) -> None:
    from dataclasses import replace

    artifact = Artifact.read(models["free"])
    engine = {
        "target": "tensorrt", "version": "11.2.1.0", "precision": "fp32", "verified": False,
        "shapes": [[8, 8, 8], [16, 24, 40], [64, 64, 64]],
    }  # fmt: skip
    plan = replace(artifact, kind="plan", manifest=replace(artifact.manifest, engine=engine))
    config = text_format.Parse(model_config(plan, "m").text, schema.ModelConfig())
    assert list(config.input[0].dims) == [1, 1, -1, -1, -1]
    assert list(config.model_warmup[0].inputs["moving"].dims) == [1, 1, 16, 24, 40]


def test_what_triton_does_not_run(plans: dict[str, Path]) -> None:
    with pytest.raises(ExportError, match="TensorRT-RTX, and Triton has a backend for those of Te"):
        _parsed(plans["rtx"])
    with pytest.raises(ExportError, match="runs on GPUs only"):
        _parsed(plans["tensorrt"], hardware="cpu")
