"""A float32 artifact whose convolutions take INT8, as explicit quantization (QDQ).

onnxruntime's own quantizer places the operators. It is told where and with which scales, so that
the file is one that onnxruntime, OpenVINO and TensorRT all take: symmetric signed activations with
one scale a tensor, symmetric weights with one scale an output channel, bias in float32, nothing
quantized behind a convolution before its activation.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping

import numpy as np
import onnx
from onnx import numpy_helper

from vmexport.errors import ExportError
from vmexport.precision.layers import Layer, find_layers
from vmruntime.errors import one_line

__all__ = ["can_quantize", "to_int8"]

INFERENCE_MARK = "onnx.infer"
"""What onnxruntime's quantizer leaves in the metadata."""


def can_quantize(layer: Layer) -> bool:
    """Whether a layer has an INT8 form that all engines take."""
    return layer.operator == "Conv"


def to_int8(model: onnx.ModelProto, thresholds: Mapping[str, float]) -> onnx.ModelProto:
    """Quantize layers of an artifact's U-Net.

    Parameters
    ----------
    model
        An artifact's, in float32. It is not changed.
    thresholds
        For each layer to quantize, by its name: the absolute value of its input that becomes 127;
        what is larger is cut off.

    Returns
    -------
    onnx.ModelProto
        A copy with ``QuantizeLinear`` and ``DequantizeLinear`` in front of those layers. The
        manifest is the caller's to change.

    Raises
    ------
    ExportError
        There is no such layer, it has no INT8 form, a threshold is none, or onnxruntime cannot
        quantize it.
    """
    quantized = copy.deepcopy(model)
    for index, node in enumerate(quantized.graph.node):
        node.name = node.name or f"node_{index}"  # by which onnxruntime knows them
    layers = {layer.name: layer for layer in find_layers(quantized)}
    ranges: dict[str, float] = {}
    for name, threshold in thresholds.items():
        layer = layers.get(name)
        if layer is None:
            raise ExportError(
                f"the model has no layer {name!r}; its layers are {', '.join(layers)}"
            )
        if not can_quantize(layer):
            raise ExportError(f"the layer {name} is a {layer.operator}, which has no INT8 form")
        if not 0 < threshold < np.inf:
            raise ExportError(f"the threshold of the layer {name} is {threshold}; calibrate again")
        if ranges.setdefault(layer.source, threshold) != threshold:
            raise ExportError(
                f"two layers read {layer.source} with different thresholds; calibrate again"
            )
    if not ranges:
        raise ExportError("no layer is to be quantized; that is the float32 model")
    result = _quantized(quantized, ranges, [layers[name].node for name in thresholds])
    onnx.checker.check_model(result, full_check=True)
    return result


def _quantized(
    model: onnx.ModelProto, ranges: Mapping[str, float], nodes: list[str]
) -> onnx.ModelProto:
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    data = {
        tensor: TensorData(lowest=np.float32(-value), highest=np.float32(value))
        for tensor, value in ranges.items()
    }
    logging.getLogger("onnxruntime.quantization").setLevel(logging.ERROR)
    try:
        quantizer = QDQQuantizer(
            model,
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QInt8,
            tensors_range=TensorsData(CalibrationMethod.MinMax, data),
            nodes_to_quantize=nodes,
            nodes_to_exclude=[],
            op_types_to_quantize=["Conv"],
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,
                "OpTypesToExcludeOutputQuantization": ["Conv"],
            },
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()
    # It raises ValueError, RuntimeError and others, with no base of their own.
    except Exception as error:
        raise ExportError(f"onnxruntime cannot quantize the model: {one_line(error)}") from error
    result: onnx.ModelProto = quantizer.model.model
    _tidy(result)
    return result


def _tidy(model: onnx.ModelProto) -> None:
    """Constants in raw bytes, as every reader of ours wants them, and no marks of the tool."""
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name))
    kept = [entry for entry in model.metadata_props if entry.key != INFERENCE_MARK]
    entries = {entry.key: entry.value for entry in kept}
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, entries)
    del model.graph.value_info[:]
