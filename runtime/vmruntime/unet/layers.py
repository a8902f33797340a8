"""A U-Net as a list of convolutions, with what lies between them folded into those.

For engines of our own: what a network concatenates or doubles becomes part of the convolution that
reads it, an activation or a pooling part of the one that writes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vmruntime.errors import BackendUnavailableError
from vmruntime.unet.graph import Graph, Node

__all__ = ["Layer", "Part", "read_layers"]

ONES = (1, 1, 1)
AROUND = (1,) * 6
"""One voxel of zeros on every side."""


@dataclass(frozen=True)
class Part:
    """Channels that a convolution reads.

    Parameters
    ----------
    tensor
        Name of an input of the model, of a `Layer.result` or a `Layer.pooled`.
    channels
        How many it has; all of them are read.
    doubled
        Whether it is read on a grid of twice its size, each voxel eight times.
    """

    tensor: str
    channels: int
    doubled: bool = False


@dataclass(eq=False)
class Layer:
    """A convolution of 3 x 3 x 3 with one voxel of zeros around.

    Parameters
    ----------
    parts
        What it reads, one after the other along the channels.
    weights
        ``(O, I, 3, 3, 3)`` of the file's type.
    bias
        ``(O,)``.
    level
        Its grid is the model's, halved so many times.
    result
        Name of what it computes, after the activation.
    slope
        Of the LeakyReLU; 1 for none.
    pooled
        Name of the largest of each 2 x 2 x 2 voxels of it; None where nobody wants that.
    kept
        Whether anything but the pooling reads the result.
    """

    parts: tuple[Part, ...]
    weights: NDArray[np.floating]
    bias: NDArray[np.floating]
    level: int
    result: str
    slope: float = 1.0
    pooled: str | None = None
    kept: bool = field(default=False)


def read_layers(graph: Graph, prediction: str, engine: str) -> list[Layer]:
    """The convolutions that compute a prediction, in order.

    Parameters
    ----------
    graph
        The artifact's.
    prediction
        Name of the tensor where the U-Net ends.
    engine
        Who asks, for messages.

    Raises
    ------
    BackendUnavailableError
        The U-Net has something that cannot be folded; the message names the operator.
    """
    return _Reader(graph, engine).read(prediction)


class _Reader:
    def __init__(self, graph: Graph, engine: str) -> None:
        self._graph = graph
        self._engine = engine
        self._layers: list[Layer] = []
        self._made_by: dict[str, Layer] = {}
        """The layer whose result a tensor is, as it stands there."""
        self._parts: dict[str, tuple[Part, ...]] = {}
        """What a tensor consists of."""
        self._level: dict[str, int] = {}
        for given in graph.inputs:
            self._parts[given.name] = (Part(given.name, given.shape[1] or 1),)
            self._level[given.name] = 0

    def read(self, prediction: str) -> list[Layer]:
        """See `read_layers`."""
        kinds: dict[str, Callable[[Node], bool]] = {
            "Cast": self._cast,
            "Concat": self._concat,
            "Conv": self._convolution,
            "LeakyRelu": self._leaky_relu,
            "MaxPool": self._max_pool,
            "Resize": self._double,
        }
        for node in self._graph.needed_for(prediction):
            understood = kinds.get(node.operator)
            if understood is None or not node.inputs or not understood(node):
                raise BackendUnavailableError(
                    f"the {self._engine} backend does not know the operator {node.operator} as "
                    "this model uses it; --backend onnxruntime runs it"
                )
        last = self._made_by.get(prediction)
        if last is None:
            raise BackendUnavailableError(
                f"the {self._engine} backend knows U-Nets that end in a convolution, and this one "
                "does not; --backend onnxruntime runs it"
            )
        last.result, last.kept = prediction, True
        return self._layers

    def _known(self, node: Node) -> bool:
        return all(name in self._parts for name in node.inputs)

    def _cast(self, node: Node) -> bool:
        source, made = node.inputs[0], node.outputs[0]
        if source not in self._parts:
            return False
        # Between float32 and float16: how values are stored is the engine's affair.
        self._parts[made], self._level[made] = self._parts[source], self._level[source]
        if source in self._made_by:
            self._made_by[made] = self._made_by[source]
        return True

    def _concat(self, node: Node) -> bool:
        if node.attributes.get("axis") != 1 or not self._known(node):
            return False
        levels = {self._level[name] for name in node.inputs}
        made = node.outputs[0]
        self._parts[made] = tuple(part for name in node.inputs for part in self._parts[name])
        self._level[made] = levels.pop()
        return not levels

    def _double(self, node: Node) -> bool:
        source, made = node.inputs[0], node.outputs[0]
        scales = self._graph.weights.get(node.inputs[2]) if len(node.inputs) > 2 else None
        wanted = {
            "mode": "nearest",
            "nearest_mode": "floor",
            "coordinate_transformation_mode": "asymmetric",
        }
        if (
            source not in self._parts
            or scales is None
            or scales.tolist() != [1, 1, 2, 2, 2]
            or any(node.attributes.get(name) != value for name, value in wanted.items())
            or any(part.doubled for part in self._parts[source])
        ):
            return False
        self._parts[made] = tuple(
            Part(part.tensor, part.channels, True) for part in self._parts[source]
        )
        self._level[made] = self._level[source] - 1
        return True

    def _convolution(self, node: Node) -> bool:
        source, made = node.inputs[0], node.outputs[0]
        weights, bias = (self._graph.weights.get(name) for name in (*node.inputs, "", "")[1:3])
        attributes = node.attributes
        parts = self._parts.get(source)
        if (
            parts is None
            or weights is None
            or bias is None
            or attributes.get("strides", ONES) != ONES
            or attributes.get("dilations", ONES) != ONES
            or attributes.get("pads") != AROUND
            or attributes.get("group", 1) != 1
            or attributes.get("auto_pad", "NOTSET") != "NOTSET"
            or weights.shape[1:] != (sum(part.channels for part in parts), 3, 3, 3)
        ):
            return False
        for part in parts:
            if part.tensor in self._made_by:
                maker = self._made_by[part.tensor]
                maker.kept |= maker.result == part.tensor
        layer = Layer(parts, weights, bias, self._level[source], made)
        self._layers.append(layer)
        self._own(made, layer)
        return True

    def _leaky_relu(self, node: Node) -> bool:
        source, made = node.inputs[0], node.outputs[0]
        layer = self._made_by.get(source)
        readers = sum(other.inputs.count(source) for other in self._graph.nodes)
        if layer is None or layer.slope != 1 or layer.result != source or readers != 1:
            return False
        layer.slope, layer.result = float(node.attributes.get("alpha", 0.01)), made
        self._own(made, layer)
        return True

    def _max_pool(self, node: Node) -> bool:
        source, made = node.inputs[0], node.outputs[0]
        layer = self._made_by.get(source)
        attributes = node.attributes
        if (
            layer is None
            or layer.result != source
            or layer.pooled is not None
            or attributes.get("kernel_shape") != (2, 2, 2)
            or attributes.get("strides") != (2, 2, 2)
            or attributes.get("pads") != (0,) * 6
            or attributes.get("dilations", ONES) != ONES
            or attributes.get("ceil_mode", 0) != 0
            or attributes.get("auto_pad", "NOTSET") != "NOTSET"
        ):
            return False
        layer.pooled = made
        self._parts[made] = (Part(made, len(layer.bias)),)
        self._level[made] = layer.level + 1
        return True

    def _own(self, tensor: str, layer: Layer) -> None:
        self._parts[tensor] = (Part(tensor, len(layer.bias)),)
        self._level[tensor] = layer.level
        self._made_by[tensor] = layer
