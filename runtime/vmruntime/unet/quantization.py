"""Explicit quantization (QDQ) in an artifact's graph: weights in INT8, tensors rounded to it.

What ``vm-export --precision-plan`` and ``vm-calibrate`` write: signed 8 bits, symmetric, one scale
a tensor for what flows, one an output channel for weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vmruntime.unet.graph import Graph, Node

__all__ = ["QuantizedWeights", "activation_scale", "is_quantized", "quantized_weights"]

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"


@dataclass(frozen=True, eq=False)
class QuantizedWeights:
    """Weights of a convolution in INT8.

    Parameters
    ----------
    values
        ``(out, in, 3, 3, 3)`` int8.
    scales
        ``(out,)`` float32: what one step of each output channel is worth.
    """

    values: NDArray[np.int8]
    scales: NDArray[np.float32]


def is_quantized(graph: Graph) -> bool:
    """Whether any part of a graph is quantized explicitly."""
    return any(node.operator == QUANTIZE for node in graph.nodes)


def quantized_weights(graph: Graph, tensor: str) -> QuantizedWeights | None:
    """The INT8 constant that a tensor is the dequantization of; None if it is not such a one."""
    node = graph.producers.get(tensor)
    if node is None or node.operator != DEQUANTIZE or not _is_symmetric(graph, node):
        return None
    values = graph.weights.get(node.inputs[0])
    scales = graph.weights.get(node.inputs[1])
    fits = (
        values is not None
        and scales is not None
        and values.dtype == np.int8
        and values.ndim == 5
        and scales.size in (1, len(values))
        and (scales.size == 1 or node.attributes.get("axis", 1) == 0)
    )
    if not fits or values is None or scales is None:
        return None
    each = np.broadcast_to(scales.reshape(-1), len(values)).astype(np.float32)
    return QuantizedWeights(values, each)


def activation_scale(graph: Graph, node: Node) -> float | None:
    """What one step is worth where a node quantizes or dequantizes a tensor; None if otherwise."""
    if node.operator not in (QUANTIZE, DEQUANTIZE) or not _is_symmetric(graph, node):
        return None
    scale = graph.weights.get(node.inputs[1])
    if scale is None or scale.size != 1 or not 0 < float(scale.reshape(-1)[0]) < np.inf:
        return None
    return float(scale.reshape(-1)[0])


def _is_symmetric(graph: Graph, node: Node) -> bool:
    """Signed 8 bits around zero; without a zero point QuantizeLinear would mean unsigned ones."""
    zero = graph.weights.get(node.inputs[2]) if len(node.inputs) > 2 else None
    return zero is not None and zero.dtype == np.int8 and not zero.any()
