"""Where a model's U-Net ends, and what follows it.

Read backwards from the outputs: a resize, the squarings of an integration, another resize, a cast
(see ``vmexport/networks/tail.py``, which the exporter traced). What computes the tensor before all
that is the U-Net.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from vmruntime.errors import BackendUnavailableError
from vmruntime.unet.graph import Graph, Node

__all__ = ["Tail", "find_tail"]

LARGEST_FACTOR = 64
"""Resizes are by small whole numbers or their inverses; a denominator beyond this is none."""


@dataclass(frozen=True)
class Tail:
    """From what the U-Net predicts to a displacement on the model's grid.

    Parameters
    ----------
    prediction
        Name of the tensor ``(1, 3, d, h, w)`` where the U-Net ends.
    before
        Factor of the resize before the integration; 1 for none.
    int_steps
        Number of squarings; 0 takes the prediction for the displacement.
    after
        Factor of the resize after it.
    """

    prediction: str
    before: Fraction
    int_steps: int
    after: Fraction


def find_tail(graph: Graph) -> Tail:
    """Find the tail of an artifact's graph.

    Raises
    ------
    BackendUnavailableError
        The graph does not end in such a tail, or its outputs do not share it.
    """
    tail, start = _backwards(graph, "displacement")
    if any(output.name == "inverse_displacement" for output in graph.outputs):
        inverse, minus = _backwards(graph, "inverse_displacement")
        node = graph.producers.get(minus)
        same = (tail.before, tail.int_steps, tail.after) == (
            inverse.before,
            inverse.int_steps,
            inverse.after,
        )
        if node is None or node.operator != "Neg" or node.inputs != (start,) or not same:
            raise _foreign("its inverse is not the integral of minus the velocity")
    moved = graph.producers.get("moved")
    if moved is None or not _is_warp(moved, "moving", "displacement"):
        raise _foreign("its moved scan is not the moving scan, displaced")
    return tail


def _backwards(graph: Graph, output: str) -> tuple[Tail, str]:
    """The tail that ends in an output, and the tensor before it, after its cast to float32."""
    at, after = _resize(graph, output)
    int_steps = 0
    while True:
        node = graph.producers.get(at)
        if node is None or node.operator != "Add":
            break
        field, added = (*node.inputs, "", "")[:2]
        step = graph.producers.get(added)
        if step is None or not _is_warp(step, field, field):
            break
        at, int_steps = field, int_steps + 1
    before = Fraction(1)
    if int_steps:
        node = graph.producers.get(at)
        divisor = _scalar(graph, node, "Div")
        if node is None or divisor != 2**int_steps:
            raise _foreign("its integration does not begin with a division by 2^steps")
        at, before = _resize(graph, _first(node))
    start, node = at, graph.producers.get(at)
    if node is not None and node.operator == "Cast":
        at = _first(node)
    return Tail(at, before, int_steps, after), start


def _resize(graph: Graph, at: str) -> tuple[str, Fraction]:
    """What is resized to a tensor, and the factor; the tensor itself and 1 if nothing is."""
    node = graph.producers.get(at)
    if node is None:
        return at, Fraction(1)
    resize: Node | None
    scale: Node | None
    if node.operator == "Resize":  # enlarged: the values are scaled first
        resize, scale = node, graph.producers.get(_first(node))
        source = scale
    else:  # made smaller: the values are scaled afterwards
        resize, scale = graph.producers.get(_first(node)), node
        if resize is None or resize.operator != "Resize" or node.operator != "Mul":
            return at, Fraction(1)
        source = resize
    factor = Fraction(_scalar(graph, scale, "Mul") or 0).limit_denominator(LARGEST_FACTOR)
    attributes = resize.attributes
    linear = attributes.get("mode") == "linear"
    corners = attributes.get("coordinate_transformation_mode") == "align_corners"
    if not (linear and corners and factor > 0 and source):
        raise _foreign("it resizes in another way")
    return _first(source), factor


def _first(node: Node) -> str:
    """A node's first input; a damaged file may have a node without."""
    return node.inputs[0] if node.inputs else ""


def _is_warp(node: Node, volume: str, displacement: str) -> bool:
    return (
        node.operator == "vxm::Warp3d"
        and node.inputs == (volume, displacement)
        and node.attributes.get("mode") == "linear"
        and node.attributes.get("padding") == "zeros"
    )


def _scalar(graph: Graph, node: Node | None, operator: str) -> float | None:
    """The constant that a node multiplies or divides by; None if it is no such node."""
    if node is None or node.operator != operator or len(node.inputs) != 2:
        return None
    values = graph.weights.get(node.inputs[1])
    if values is None:
        return None
    return float(values.reshape(-1)[0]) if values.size == 1 and np.isfinite(values).all() else None


def _foreign(reason: str) -> BackendUnavailableError:
    return BackendUnavailableError(
        f"this model does not end as VoxelMorph's do ({reason}); --backend onnxruntime runs it"
    )
