"""A parsed network that is not the one that was meant is found, with the layer's name."""

from __future__ import annotations

import copy

import onnx
import pytest
from onnx import TensorProto, helper

from vmexport.engine.builder_log import collecting
from vmexport.engine.inspection import LayerCounts, inspect_network
from vmexport.engine.warp_forms import with_warp_form
from vmexport.errors import EngineBuildError

WARPS = 11


def _inspect(rtx, model: onnx.ModelProto, precision: str, warp: str = "native", warps: int = WARPS):
    lowered = model if warp == "as it is" else with_warp_form(model, warp)
    with collecting(rtx.trt) as (logger, _):
        builder = rtx.trt.Builder(logger)
        network = rtx.create_network(builder)
        parser = rtx.trt.OnnxParser(network, logger)
        assert parser.parse(lowered.SerializeToString()), parser.get_error(0).desc()
        form = "native" if warp == "as it is" else warp
        return inspect_network(rtx.trt, network, precision, form, warps)


@pytest.fixture
def models(artifacts) -> dict[str, onnx.ModelProto]:
    return {name: onnx.load_from_string(a.model) for name, a in artifacts.items()}


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_artifacts_networks_are_as_meant(rtx, models, precision: str) -> None:
    counts = _inspect(rtx, models[precision], precision)
    assert counts.warps == WARPS
    assert set(counts.tail) == {"FLOAT"}
    if precision == "fp16":
        # The concatenated scans come before the cast.
        assert counts.unet["HALF"] > counts.unet["FLOAT"] == 1
    else:
        assert set(counts.unet) == {"FLOAT"}
    gathers = _inspect(rtx, models[precision], precision, "gather", 0)
    assert set(gathers.tail) == {"FLOAT"}


def test_the_other_precision_is_found(rtx, models) -> None:
    with pytest.raises(EngineBuildError, match=r"layer node_conv3d\S* \(CONVOLUTION\).*float16"):
        _inspect(rtx, models["fp32"], "fp16")
    with pytest.raises(EngineBuildError, match="computes in HALF instead of float32"):
        _inspect(rtx, models["fp16"], "fp32")


def test_nearest_sampling_is_found(rtx, models) -> None:
    lowered = with_warp_form(models["fp16"], "native")
    sampling = [node for node in lowered.graph.node if node.op_type == "GridSample"]
    for attribute in sampling[4].attribute:
        if attribute.name == "mode":
            attribute.s = b"nearest"
    with pytest.raises(
        EngineBuildError, match=r"layer node_of_sampled\S* .*NEAREST instead of LINEAR"
    ):
        _inspect(rtx, lowered, "fp16", "as it is")


def test_one_half_layer_in_the_tail_is_found(rtx, models) -> None:
    model = copy.deepcopy(models["fp16"])
    output = model.graph.output[1].name
    maker = next(node for node in model.graph.node if output in node.output)
    maker.output[list(maker.output).index(output)] = "exact"
    for node in model.graph.node:
        node.input[:] = ["exact" if name == output else name for name in node.input]
    model.graph.node.extend(
        [
            helper.make_node(
                "Cast", ["exact"], ["rounded"], name="rounding", to=TensorProto.FLOAT16
            ),
            helper.make_node("Cast", ["rounded"], [output], name="back", to=TensorProto.FLOAT),
        ]
    )
    with pytest.raises(EngineBuildError, match=r"layer rounding .*HALF instead of float32, as all"):
        _inspect(rtx, model, "fp16")


def test_a_float32_activation_in_the_unet_is_found(rtx, models) -> None:
    model = copy.deepcopy(models["fp16"])
    relu = next(node for node in model.graph.node if node.op_type == "LeakyRelu")
    before, after = relu.input[0], relu.output[0]
    relu.input[0], relu.output[0] = "widened", "wide"
    at = list(model.graph.node).index(relu)
    cast = helper.make_node
    model.graph.node.insert(at, cast("Cast", [before], ["widened"], to=TensorProto.FLOAT))
    model.graph.node.insert(at + 2, cast("Cast", ["wide"], [after], to=TensorProto.FLOAT16))
    with pytest.raises(EngineBuildError, match=r"\(ACTIVATION\).*FLOAT instead of float16"):
        _inspect(rtx, model, "fp16")


def test_a_sampling_layer_that_is_missing_is_found(rtx, models) -> None:
    with pytest.raises(EngineBuildError, match="made 11 sampling layers of 12 nodes"):
        _inspect(rtx, models["fp16"], "fp16", warps=WARPS + 1)


def test_counts_read_as_text() -> None:
    counts = LayerCounts({"HALF": 31, "FLOAT": 1}, {"FLOAT": 700}, 15)
    assert str(counts) == "U-Net 1 fp32, 31 fp16; tail 700 fp32"
