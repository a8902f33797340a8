"""Inputs and outputs read from the file, against onnxruntime."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmruntime import Artifact, ArtifactError
from vmruntime.backends import open_backend
from vmruntime.onnx_signature import read_signature


def test_as_onnxruntime_reads_it(tiny_artifact: Path) -> None:
    artifact = Artifact.read(tiny_artifact)
    backend = open_backend(artifact, "onnxruntime", "cpu")
    assert read_signature(artifact.model) == (backend.inputs, backend.outputs)
    assert [spec.name for spec in backend.inputs] == ["moving", "fixed"]
    backend.close()


def test_free_axes_and_other_types(tiny_artifact: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="the export extra is not installed")
    value = onnx.helper.make_tensor_value_info
    kinds = onnx.TensorProto
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["a"], ["b"])],
        "small",
        [value("a", kinds.FLOAT16, [1, "d", None, 0])],
        [value("b", kinds.FLOAT8E5M2, [])],
    )
    (first,), (second,) = read_signature(onnx.helper.make_model(graph).SerializeToString())
    assert (first.name, first.dtype, first.shape) == ("a", "float16", (1, None, None, 0))
    assert (second.name, second.dtype, second.shape) == ("b", "type 19", ())


@given(data=st.data())
def test_fuzz_changed_models(tiny_artifact: Path, data: st.DataObject) -> None:
    model = tiny_artifact.read_bytes()
    tail = bytearray(model)
    for _ in range(data.draw(st.integers(1, 5))):
        # Inputs and outputs stand behind the nodes and the weights.
        tail[-data.draw(st.integers(1, 1200))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ArtifactError):
        read_signature(bytes(tail))
