"""The openvino backend on quantized and on mixed models: against onnxruntime, and in what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from synthetic_scans import textured
from vmexport.graph.manifest_props import with_manifest
from vmexport.precision import PrecisionPlan, apply_plan, find_layers
from vmruntime import Artifact
from vmruntime.backends.onnxruntime import OnnxRuntimeBackend
from vmruntime.errors import BackendUnavailableError

pytest.importorskip("openvino._pyopenvino", reason="the cpu extra is not installed")
OpenVinoBackend = pytest.importorskip("vmruntime.backends.openvino").OpenVinoBackend

SHAPE = (16, 32, 48)

ROUNDING = 0.02
"""Voxels between two engines on one INT8 model: a value between two steps may go either way."""

Make = Callable[..., Artifact]


@pytest.fixture
def make(tiny_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """The tiny artifact with these layers lowered."""
    monkeypatch.setenv("VM_CACHE", str(tmp_path / "cache"))

    def build(lower: str, low: set[str] | None = None, change: Any = None) -> Artifact:
        model = onnx.load(tiny_artifact)
        layers = find_layers(model)
        low = low or {layer.name for layer in layers if layer.source != "cat"} - {"flow"}
        plan = PrecisionPlan(
            lower,
            {layer.name: lower if layer.name in low else "fp32" for layer in layers},
            dict.fromkeys(low, 1.0),
        )
        made = apply_plan(model, plan)
        if change:
            change(made)
        path = tmp_path / f"{lower}.onnx"
        manifest = replace(Artifact.read(tiny_artifact).manifest, precision=plan.precision)
        path.write_bytes(with_manifest(made, manifest))
        return Artifact.read(path)

    return build


@pytest.fixture
def feeds() -> dict[str, np.ndarray]:
    return {
        name: textured(SHAPE, seed)[None, None] / np.float32(255)
        for seed, name in enumerate(("moving", "fixed"))
    }


def kinds(backend: Any) -> Counter[str]:
    """Number of convolutions that run in each type, as OpenVINO tells."""
    request = next(iter(backend._requests.values()))
    found: Counter[str] = Counter()
    for node in request.get_compiled_model().get_runtime_model().get_ordered_ops():
        info = node.get_rt_info()
        if info["layerType"].value == "Convolution":
            found[info["primitiveType"].value.rpartition("_")[2].lower()] += 1
    return found


def test_int8_gives_what_onnxruntime_gives(make: Make, feeds: dict[str, np.ndarray]) -> None:
    artifact = make("int8")
    backend, reference = OpenVinoBackend(artifact), OnnxRuntimeBackend(artifact)
    names = ["displacement", "inverse_displacement", "moved"]
    found, expected = backend.run(feeds, names), reference.run(feeds, names)
    for name in names[:2]:
        assert np.abs(found[name] - expected[name]).max() < ROUNDING
    assert backend.precision == "int8"
    backend.close()


def test_quantized_layers_run_in_int8_kernels(make: Make) -> None:
    backend = OpenVinoBackend(make("int8"))
    found = kinds(backend)
    assert found["i8"] >= 7, found
    backend.close()
    exact = OpenVinoBackend(make("fp16"), precision="fp32")
    assert not kinds(exact)["i8"]
    exact.close()


def test_a_single_quantized_layer_among_rewritten_ones(
    make: Make, feeds: dict[str, np.ndarray]
) -> None:
    for low in ("encoder.0.0", "decoder.1.0", "flow"):
        artifact = make("int8", {low})
        backend = OpenVinoBackend(artifact)
        found = backend.run(feeds, ["displacement"])["displacement"]
        expected = OnnxRuntimeBackend(artifact).run(feeds, ["displacement"])["displacement"]
        assert np.abs(found - expected).max() < ROUNDING, low
        backend.close()


def test_a_mixed_model(make: Make, feeds: dict[str, np.ndarray], tiny_artifact: Path) -> None:
    backend = OpenVinoBackend(make("fp16", {"encoder.1.0", "decoder.2.0"}), precision="fp32")
    found = backend.run(feeds, ["displacement"])["displacement"]
    exact = OnnxRuntimeBackend(Artifact.read(tiny_artifact))
    expected = exact.run(feeds, ["displacement"])["displacement"]
    assert 0 < np.abs(found - expected).max() < 0.02  # weights in float16
    backend.close()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_another_precision_than_the_files_is_refused(make: Make, precision: str) -> None:
    with pytest.raises(BackendUnavailableError, match="is quantized to int8"):
        OpenVinoBackend(make("int8"), precision=precision)


def asymmetric(model: onnx.ModelProto) -> None:
    """Give every tensor a zero point that we do not write."""
    for tensor in model.graph.initializer:
        if tensor.name.endswith("_zero_point"):
            values = numpy_helper.to_array(tensor) + np.int8(3)
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.int8), tensor.name))


def without_zero_point(model: onnx.ModelProto) -> None:
    """To ONNX that means unsigned."""
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear":
            del node.input[2:]


@pytest.mark.parametrize("change", [asymmetric, without_zero_point])
def test_quantization_of_another_kind_is_refused(make: Make, change: Any) -> None:
    with pytest.raises(BackendUnavailableError, match="--backend onnxruntime runs it"):
        OpenVinoBackend(make("int8", None, change))
