"""Layers that float16 cannot compute, by what their tensors hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx

from vmcalibration.histogram import HALF_LARGEST
from vmcalibration.ranges import Ranges, TensorRange, range_of_weights
from vmexport.precision import Layer

__all__ = ["Risk", "find_risks", "layers_that_overflow"]

MUCH = 0.5
"""Share of a tensor's values other than zero whose loss is worth a word."""


@dataclass(frozen=True)
class Risk:
    """A tensor that float16 does not hold.

    Parameters
    ----------
    layer
        The layer that reads, gives or owns it.
    tensor
        Its name in the graph.
    kind
        ``"overflow"``: a value becomes infinite; the layer must stay float32. ``"underflow"``: most
        values become zero; the sensitivity says whether that matters.
    text
        One line for people.
    """

    layer: str
    tensor: str
    kind: str
    text: str


def find_risks(model: onnx.ModelProto, layers: Sequence[Layer], ranges: Ranges) -> tuple[Risk, ...]:
    """The tensors at risk in float16, layer by layer."""
    found: list[Risk] = []
    for layer in layers:
        weights = range_of_weights(model, layer)
        for role, tensor, held in (
            ("input", layer.source, ranges.tensors.get(layer.source)),
            ("weights", layer.weights, weights),
            ("output", layer.result, ranges.tensors.get(layer.result)),
        ):
            if held is not None:
                found += _risks(layer.name, role, tensor, held)
    return tuple(found)


def layers_that_overflow(risks: Sequence[Risk]) -> tuple[str, ...]:
    """Names of the layers that cannot be float16 at all."""
    return tuple(dict.fromkeys(risk.layer for risk in risks if risk.kind == "overflow"))


def _risks(layer: str, role: str, tensor: str, held: TensorRange) -> list[Risk]:
    found = []
    if held.overflows:
        found.append(
            Risk(
                layer,
                tensor,
                "overflow",
                f"{layer}: its {role} {tensor} reaches {held.largest:.4g}, float16 ends at "
                f"{HALF_LARGEST:g}",
            )
        )
    flushed = held.histogram.share_flushed()
    if flushed > MUCH:
        found.append(
            Risk(
                layer,
                tensor,
                "underflow",
                f"{layer}: {flushed:.0%} of its {role} {tensor} become zero in float16",
            )
        )
    return found
