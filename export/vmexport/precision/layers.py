"""The layers of a U-Net that have weights, by name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import onnx

from vmexport.engine.half_precision import CONVOLUTIONS, split_unet
from vmexport.errors import ExportError

__all__ = ["Layer", "find_layers", "is_quantized"]

QUANTIZED = {
    *("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv"),
    *("ConvInteger", "QLinearMatMul", "MatMulInteger"),
}
"""Operators of quantized models."""


@dataclass(frozen=True)
class Layer:
    """One convolution of the U-Net.

    Parameters
    ----------
    name
        After its weights, such as ``"encoder.1.0"``: the same in every export of a checkpoint.
    node
        Name of its node; may be empty in models that others made.
    operator
        ``"Conv"`` or ``"ConvTranspose"``.
    source, result
        Tensors that it reads and gives.
    weights, bias
        Names of its constants; no bias is ``""``.
    is_head
        Whether it is the last one, whose result the tail takes.
    """

    name: str
    node: str
    operator: str
    source: str
    result: str
    weights: str
    bias: str
    is_head: bool


def find_layers(model: onnx.ModelProto) -> tuple[Layer, ...]:
    """The convolutions of an artifact's U-Net, in the order in which they run.

    Raises
    ------
    ExportError
        The model is quantized, its U-Net cannot be told from the tail, or a convolution computes
        its weights.
    """
    graph = model.graph
    if is_quantized(model):
        raise ExportError(
            "the model is quantized already; give the float32 model that it was made from"
        )
    head, unet = split_unet(graph)
    constants = {tensor.name for tensor in graph.initializer}
    layers: list[Layer] = []
    for index in sorted(unet):
        node = graph.node[index]
        if node.op_type not in CONVOLUTIONS:
            continue
        given = [*node.input, ""][:3]
        if given[1] not in constants or (given[2] and given[2] not in constants):
            raise ExportError(
                f"the convolution {node.name or node.output[0]} computes its weights, which "
                "leaves nothing to plan its precision by; export the model in fp32"
            )
        layers.append(
            Layer(
                name=_name(given[1], (layer.name for layer in layers)),
                node=node.name,
                operator=node.op_type,
                source=given[0],
                result=node.output[0],
                weights=given[1],
                bias=given[2],
                is_head=index == head,
            )
        )
    return tuple(layers)


def is_quantized(model: onnx.ModelProto) -> bool:
    """Whether a model has operators on integers of quantization."""
    return any(node.op_type in QUANTIZED for node in model.graph.node)


def _name(weights: str, taken: Iterable[str]) -> str:
    """A layer's name, for people: the weights' without what all of them have."""
    parts = [part for part in weights.split(".") if part not in ("source", "unet")]
    while len(parts) > 1 and parts[-1] in ("weight", "conv"):
        parts.pop()
    short = ".".join(parts)
    return weights if short in set(taken) else short
