"""Reading an ONNX file's outer layers, against the onnx package; fuzzed."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthetic_scans import MODEL_SHAPE, textured
from vmruntime import ArtifactError, Manifest
from vmruntime.manifest import MANIFEST_KEY
from vmruntime.onnx_file import read_metadata, select_outputs

OUTPUTS = ("moved", "displacement", "inverse_displacement")


@pytest.fixture(scope="module")
def onnx() -> Any:
    return pytest.importorskip("onnx", reason="the export extra is not installed")


@pytest.fixture(scope="module")
def model(tiny_artifact: Path) -> bytes:
    return tiny_artifact.read_bytes()


@pytest.fixture(scope="module")
def skeleton(onnx: Any, model: bytes) -> bytes:
    """The same model without its weights, so that changed bytes hit structure."""
    parsed = onnx.load_from_string(model)
    del parsed.graph.initializer[:]
    del parsed.graph.node[8:]
    return bytes(parsed.SerializeToString())


def test_metadata_as_onnx_reads_it(onnx: Any, model: bytes, manifest: Manifest) -> None:
    expected = {p.key: p.value for p in onnx.load_from_string(model).metadata_props}
    assert read_metadata(model) == expected
    assert Manifest.from_json(expected[MANIFEST_KEY]) == manifest


@pytest.mark.parametrize("text", ["", "a", "\u00e9\n\0" * 50, "x" * 200_000])
def test_any_metadata(onnx: Any, model: bytes, text: str) -> None:
    parsed = onnx.load_from_string(model)
    onnx.helper.set_model_props(parsed, {"first": text, "second": "2", "": text})
    assert read_metadata(parsed.SerializeToString()) == {"first": text, "second": "2", "": text}


@pytest.mark.parametrize(
    "names", [OUTPUTS, ("displacement",), ("inverse_displacement", "displacement"), ("moved",)]
)
def test_selected_outputs(onnx: Any, model: bytes, names: tuple[str, ...]) -> None:
    whole, chosen = (onnx.load_from_string(m) for m in (model, select_outputs(model, names)))
    assert [o.name for o in chosen.graph.output] == [n for n in OUTPUTS if n in names]
    kept = [o for o in whole.graph.output if o.name in names]
    del whole.graph.output[:]
    whole.graph.output.extend(kept)
    assert chosen == whole  # and nothing else changed
    onnx.checker.check_model(chosen, full_check=True)


def test_all_outputs_are_the_same_bytes(model: bytes) -> None:
    assert select_outputs(model, OUTPUTS) == model


def test_the_smaller_model_computes_the_same(model: bytes) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="the cpu extra is not installed")
    feeds = {
        name: textured(MODEL_SHAPE, seed, 1.0)[None, None]
        for seed, name in enumerate(("moving", "fixed"))
    }

    def run(content: bytes, names: list[str]) -> list[np.ndarray]:
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        assert {o.name for o in session.get_outputs()} >= set(names)
        result: list[np.ndarray] = session.run(names, feeds)
        return result

    names = ["displacement", "inverse_displacement"]
    whole = run(model, names)
    assert np.abs(whole[0]).max() > 0.5
    for chosen in (names, names[:1], names[1:]):
        for name, found in zip(chosen, run(select_outputs(model, chosen), chosen), strict=True):
            np.testing.assert_array_equal(found, whole[names.index(name)])


@pytest.mark.parametrize(
    "content", [b"", b"hello, world", b"\0" * 50, b"\xff" * 50, b"PK\x03\x04rest of a zip file"]
)
def test_no_model(content: bytes) -> None:
    with pytest.raises(ArtifactError, match="not an ONNX model"):
        read_metadata(content)


def result_or_error(content: bytes) -> None:
    with contextlib.suppress(ArtifactError):
        assert isinstance(read_metadata(content), dict)
    with contextlib.suppress(ArtifactError):
        assert len(select_outputs(content, ["displacement"])) <= len(content) + 10


@given(st.binary(max_size=200))
def test_fuzz_bytes(content: bytes) -> None:
    result_or_error(content)


@given(data=st.data())
def test_fuzz_changed_models(skeleton: bytes, data: st.DataObject) -> None:
    content = bytearray(skeleton)
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    result_or_error(bytes(content))


@given(data=st.data())
def test_fuzz_truncated_models(skeleton: bytes, data: st.DataObject) -> None:
    result_or_error(skeleton[: data.draw(st.integers(0, len(skeleton)))])
