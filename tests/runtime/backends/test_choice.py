"""Which engine runs a file, and what is said where none can."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from vmruntime import Artifact, BackendUnavailableError, Registrar
from vmruntime.backends import BACKENDS, DeviceBackend, candidates, open_backend
from vmruntime.cuda.probe import probe

NO_GPU = probe().reason
without_gpu = pytest.mark.skipif(not NO_GPU, reason="there is a GPU here")


def refusal(artifact: Artifact, *arguments: str, **options: str) -> str:
    with pytest.raises(BackendUnavailableError) as found:
        open_backend(artifact, *arguments, **options)  # type: ignore[arg-type]
    message = str(found.value)
    assert "\n" not in message
    return message


@pytest.fixture(scope="module")
def onnx(tiny_artifact: Path) -> Artifact:
    return Artifact.read(tiny_artifact)


@pytest.fixture(scope="module")
def plan(tiny_plan: Path) -> Artifact:
    return Artifact.read(tiny_plan)


def test_the_order(onnx: Artifact, plan: Artifact) -> None:
    on_cpu = [("openvino", "cpu"), ("onnxruntime", "cpu")]
    assert candidates(onnx) == [("onnxruntime", "cuda"), *on_cpu]
    assert candidates(onnx, "auto", "cpu") == on_cpu
    assert candidates(onnx, "auto", "cuda:1") == [("onnxruntime", "cuda:1")]
    assert candidates(onnx, "onnxruntime") == [("onnxruntime", "cuda"), ("onnxruntime", "cpu")]
    assert candidates(onnx, "onnxruntime", "cpu") == [("onnxruntime", "cpu")]
    half = replace(onnx, manifest=replace(onnx.manifest, precision="fp16"))
    assert candidates(half) == [("cuda", "cuda"), ("onnxruntime", "cuda"), *on_cpu]
    assert candidates(half, "auto", "cuda:1") == [("cuda", "cuda:1"), ("onnxruntime", "cuda:1")]
    assert candidates(half, "cuda") == [("cuda", "auto")]
    assert candidates(plan) == [("tensorrt-rtx", "auto")]
    engine = {**plan.manifest.engine, "target": "tensorrt"}
    other = replace(plan, manifest=replace(plan.manifest, engine=engine))
    assert candidates(other, "auto", "cuda:0") == [("tensorrt", "cuda:0")]


@without_gpu
def test_what_was_passed_over_is_said(onnx: Artifact) -> None:
    said: list[str] = []
    backend = open_backend(onnx, "onnxruntime", announce=said.append)
    assert said == [f"passed over onnxruntime on cuda: {NO_GPU}"]
    assert (backend.name, backend.device, backend.precision) == ("onnxruntime", "cpu", "fp32")
    assert not isinstance(backend, DeviceBackend)
    backend.close()
    said.clear()
    open_backend(onnx, "onnxruntime", "cpu", announce=said.append).close()
    assert said == []


@without_gpu
def test_a_gpu_that_is_asked_for_is_not_replaced(onnx: Artifact) -> None:
    for options in ({"device": "cuda"}, {"name": "onnxruntime", "device": "cuda:0"}):
        assert refusal(onnx, **options) == NO_GPU


@without_gpu
@pytest.mark.parametrize("name", ["auto", "tensorrt-rtx"])
@pytest.mark.parametrize("device", ["auto", "cuda", "cuda:3"])
def test_a_plan_without_a_gpu(plan: Artifact, name: str, device: str) -> None:
    """Issue 4, 1."""
    message = refusal(plan, name, device)
    assert message == (
        f"{plan.path}: a plan needs an NVIDIA GPU ({NO_GPU}); model.onnx, which it was built from, "
        "runs on this machine"
    )


def test_a_plan_on_the_cpu(plan: Artifact) -> None:
    message = refusal(plan, "auto", "cpu")
    assert "a plan needs an NVIDIA GPU, not the CPU; model.onnx" in message


def test_engines_that_do_not_run_such_files(onnx: Artifact, plan: Artifact) -> None:
    for name, title, target in [
        ("tensorrt", "TensorRT", "tensorrt"), ("tensorrt-rtx", "TensorRT-RTX", "rtx"),
    ]:  # fmt: skip
        message = refusal(onnx, name)
        assert f"{title} runs plans, and {onnx.path} is an ONNX model" in message
        assert f"vm-export model.onnx --engine model.plan --target {target}" in message
    assert "onnxruntime runs ONNX models, and" in refusal(plan, "onnxruntime")
    assert "was built for TensorRT-RTX, not for TensorRT;" in refusal(plan, "tensorrt")


def test_precisions(onnx: Artifact, plan: Artifact) -> None:
    for precision in ("bf16", "fp16"):
        message = refusal(onnx, "onnxruntime", precision=precision)
        assert f"{onnx.path} is fp32, not {precision}; " in message
        message = refusal(plan, precision=precision)
        assert f"was built in fp32, not {precision}; " in message
    assert "--backend openvino" in refusal(onnx, "onnxruntime", precision="bf16")
    assert "--precision fp16" in refusal(onnx, "onnxruntime", precision="fp16")
    half = replace(onnx, manifest=replace(onnx.manifest, precision="fp16"))
    assert "is fp16, not fp32; " in refusal(half, "onnxruntime", precision="fp32")
    backend = open_backend(onnx, "onnxruntime", "cpu", precision="fp32")
    assert backend.precision == "fp32"
    backend.close()


@pytest.mark.parametrize(
    "device", ["gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:\u0661", "cpu:0", "", "CUDA"]
)
def test_devices_that_there_are_not(onnx: Artifact, device: str) -> None:
    assert f"there is no device {device!r}" in refusal(onnx, "auto", device)


def test_backends_that_there_are_not(onnx: Artifact) -> None:
    message = refusal(onnx, "tensorflow")
    assert re.fullmatch("there is no backend 'tensorflow'; choose one of auto, .*", message)
    for name in BACKENDS:
        assert name in message


def test_a_registrar_of_an_artifact_that_was_read(onnx: Artifact) -> None:
    with Registrar.load(onnx, backend="onnxruntime", device="cpu", threads=1) as registrar:
        assert registrar.manifest == onnx.manifest
        assert registrar.backend.name == "onnxruntime"
