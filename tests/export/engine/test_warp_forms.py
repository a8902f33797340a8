"""The forms of the warp that an engine's parser is given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from vmexport.engine.warp_forms import WARP_FORMS, with_warp_form
from vmexport.errors import ExportError

# What float32 coordinates are off in a few warps, in voxels and in shares of the range.
AGREEMENT = 1e-4


@pytest.fixture
def model(tiny_artifact: Path) -> onnx.ModelProto:
    return onnx.load(tiny_artifact)


def outputs(model: onnx.ModelProto) -> list[np.ndarray]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    noise = np.random.default_rng(3)
    feeds = {i.name: noise.random(i.shape, np.float32) for i in session.get_inputs()}
    return session.run(None, feeds)


def test_native_is_the_function_body_and_nothing_else(model: onnx.ModelProto) -> None:
    warps = sum(node.op_type == "Warp3d" for node in model.graph.node)
    native = with_warp_form(model, "native")
    samples = [node for node in native.graph.node if node.op_type == "GridSample"]
    assert len(samples) == warps > 0
    for node in samples:
        settings = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        assert settings["mode"] == b"linear"
        assert settings["padding_mode"] == b"zeros"


@pytest.mark.parametrize("form", ["native", "gather"])
def test_no_domain_of_ours_is_left_and_the_answer_is_the_same(
    model: onnx.ModelProto, form: str
) -> None:
    changed = with_warp_form(model, form)
    onnx.checker.check_model(changed, full_check=True)
    assert {opset.domain for opset in changed.opset_import} == {""}
    assert not changed.functions
    assert {node.domain for node in changed.graph.node} == {""}
    for found, expected in zip(outputs(changed), outputs(model), strict=True):
        assert np.abs(found - expected).max() <= AGREEMENT


def test_gather_stores_no_grid(model: onnx.ModelProto) -> None:
    gather = with_warp_form(model, "gather")
    assert not any(node.op_type == "GridSample" for node in gather.graph.node)
    stored = {tensor.name for tensor in gather.graph.initializer}
    assert stored <= {tensor.name for tensor in model.graph.initializer}
    constants = [node.attribute[0].t for node in gather.graph.node if node.op_type == "Constant"]
    assert constants
    assert max(np.prod(tensor.dims) for tensor in constants) <= 10


def test_plugin_keeps_the_nodes_and_names_the_plugin(model: onnx.ModelProto) -> None:
    plugin = with_warp_form(model, "plugin")
    before = [node for node in model.graph.node if node.op_type == "Warp3d"]
    after = [node for node in plugin.graph.node if node.op_type == "Warp3d"]
    assert not plugin.functions
    assert [list(node.input) for node in after] == [list(node.input) for node in before]
    for node in after:
        settings = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        assert settings == {
            "mode": b"linear",
            "padding": b"zeros",
            "plugin_namespace": b"vxm",
            "plugin_version": b"1",
        }


@pytest.mark.parametrize("form", WARP_FORMS)
def test_the_model_given_is_not_changed(model: onnx.ModelProto, form: str) -> None:
    before = model.SerializeToString(deterministic=True)
    with_warp_form(model, form)
    assert model.SerializeToString(deterministic=True) == before


def test_the_manifest_stays(model: onnx.ModelProto) -> None:
    for form in WARP_FORMS:
        assert with_warp_form(model, form).metadata_props == model.metadata_props


def test_refusals_are_one_line(model: onnx.ModelProto) -> None:
    with pytest.raises(ExportError, match="no warp form 'fused'; choose one of native, gather"):
        with_warp_form(model, "fused")
    without = with_warp_form(model, "native")
    with pytest.raises(ExportError, match="no vxm::Warp3d node"):
        with_warp_form(without, "gather")
    bare = with_warp_form(model, "plugin")
    with pytest.raises(ExportError, match="no function body"):
        with_warp_form(bare, "native")
    strange = onnx.ModelProto()
    strange.CopyFrom(model)
    node = next(node for node in strange.graph.node if node.op_type == "Warp3d")
    del node.attribute[:]
    node.attribute.append(onnx.helper.make_attribute("padding", "reflection"))
    with pytest.raises(ExportError, match="zeros and border"):
        with_warp_form(strange, "gather")
