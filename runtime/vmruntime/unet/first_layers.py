"""The first layers of a pooled U-Net, which our own kernel computes faster than any engine.

Convolution, LeakyReLU and max-pooling in one pass: what lies between them, by far the largest
tensor of the network, is never written. Engines do badly here for want of channels: two go in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmruntime.native import NativeKernels
from vmruntime.unet.graph import Graph, Node

__all__ = ["FirstLayers", "find_first_layers"]

LANES = 16
"""Channels that the kernel computes together."""


@dataclass(frozen=True, eq=False)
class FirstLayers:
    """A convolution of the model's inputs, LeakyReLU, and max-pooling.

    Parameters
    ----------
    inputs
        Names of the model's inputs, as they are concatenated.
    weights, bias
        ``(out, C, 3, 3, 3)`` and ``(out,)`` float32.
    slope
        Of LeakyReLU.
    output
        Name of the tensor ``(1, out, D / 2, H / 2, W / 2)`` that comes out.
    """

    inputs: tuple[str, ...]
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    slope: float
    output: str

    def run(
        self, native: NativeKernels, feeds: Mapping[str, NDArray[np.float32]], threads: int
    ) -> NDArray[np.float32]:
        """Features ``(1, D / 2, H / 2, W / 2, out)`` of inputs ``(1, C, D, H, W)``, float32."""
        volumes = [volume for name in self.inputs for volume in feeds[name][0]]
        found = native.pooled_convolution(
            volumes, self.weights, self.bias, self.slope, threads=threads
        )
        return found[None]


def find_first_layers(graph: Graph, prediction: str) -> FirstLayers | None:
    """The first layers, if they are as above and nothing else looks at what lies between."""
    nodes = graph.needed_for(prediction)
    at, inputs = _inputs(graph, nodes)
    chain: list[Node] = []
    for operator in ("Conv", "LeakyRelu", "MaxPool"):
        readers = [node for node in nodes if at in node.inputs]
        if len(readers) != 1 or readers[0].operator != operator:
            return None
        chain += readers
        at = readers[0].outputs[0]
    convolution, activation, pooling = (node.attributes for node in chain)
    weights = graph.weights.get(chain[0].inputs[1])
    bias = graph.weights.get(chain[0].inputs[2]) if len(chain[0].inputs) > 2 else None
    slope = activation.get("alpha", 0.01)
    fits = (
        weights is not None
        and bias is not None
        and weights.shape[2:] == (3, 3, 3)
        and len(weights) % LANES == 0
        and _is(convolution, strides=(1,) * 3, pads=(1,) * 6, dilations=(1,) * 3, group=1)
        and convolution.get("auto_pad", "NOTSET") == "NOTSET"
        and 0 <= slope <= 1
        and _is(pooling, kernel_shape=(2,) * 3, strides=(2,) * 3, pads=(0,) * 6, ceil_mode=0)
    )
    if not fits or weights is None or bias is None:
        return None
    plain = weights.astype(np.float32), bias.astype(np.float32)
    return FirstLayers(inputs, *plain, float(slope), at)


def _inputs(graph: Graph, nodes: list[Node]) -> tuple[str, tuple[str, ...]]:
    """The tensor that holds all inputs, cast to the weights' type, and their names."""
    names = {given.name for given in graph.inputs}
    for node in nodes:
        if node.operator == "Concat" and node.attributes.get("axis") == 1:
            readers = [other for other in nodes if names.intersection(other.inputs)]
            if set(node.inputs) != names or readers != [node]:
                break
            at = node.outputs[0]
            casts = [other for other in nodes if at in other.inputs and other.operator == "Cast"]
            return (casts[0].outputs[0] if casts else at), node.inputs
    return "", ()


def _is(attributes: Mapping[str, Any], **expected: Any) -> bool:
    return all(attributes.get(name, value) == value for name, value in expected.items())
