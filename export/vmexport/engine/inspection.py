"""Whether the network that a parser made is the one that was meant.

Parsers have read the ONNX wrongly without a word: older ones take ``mode="linear"`` for nearest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from vmexport.errors import EngineBuildError

__all__ = ["LayerCounts", "inspect_network"]

FLOATS = ("FLOAT", "HALF", "BF16", "FP8", "FP4", "E8M0")
HEAVY = ("CONVOLUTION", "DECONVOLUTION")
"""Layers that hold the weights; the last of them on the way is the head."""

UNET = (*HEAVY, "ACTIVATION", "POOLING", "RESIZE")


@dataclass(frozen=True)
class LayerCounts:
    """How many layers of a parsed network compute in which type.

    Parameters
    ----------
    unet, tail
        Layers by type of their output, such as ``{"HALF": 31}``, up to the head and behind it;
        those that compute shapes and indices are not counted.
    warps
        How many GridSample or plugin layers sample volumes.
    """

    unet: dict[str, int]
    tail: dict[str, int]
    warps: int

    def __str__(self) -> str:
        def listed(counts: dict[str, int]) -> str:
            names = {"HALF": "fp16", "FLOAT": "fp32"}
            return ", ".join(f"{counts[k]} {names.get(k, k.lower())}" for k in sorted(counts))

        return f"U-Net {listed(self.unet)}; tail {listed(self.tail)}"


def inspect_network(trt: Any, network: Any, precision: str, warp: str, warps: int) -> LayerCounts:
    """Check types and sampling of a parsed network, and count its layers.

    Parameters
    ----------
    trt
        The module ``tensorrt`` or ``tensorrt_rtx``.
    network
        An INetworkDefinition.
    precision
        ``"fp16"``: the U-Net's convolutions, activations, poolings and resizes have to be in
        float16, everything that is not on the way to the head in float32. ``"mixed"``: some of
        them. ``"fp32"``: all float32. ``"int8"``: so too but for what is quantized, of which there
        has to be some.
    warp
        Form of the warp: ``"native"``, ``"gather"`` or ``"plugin"``.
    warps
        Number of GridSample nodes (of plugin nodes, for ``"plugin"``) that the parser was given.

    Raises
    ------
    EngineBuildError
        Something is not as it was meant; names the layer.
    """
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    unet = _before_the_head(layers)
    counts: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    for index, layer in enumerate(layers):
        kind, in_unet = layer.type.name, index in unet
        for found in (t.dtype.name for t in _outputs(layer)):
            if found not in FLOATS:
                continue
            counts[not in_unet][found] += 1
            half = precision in ("fp16", "mixed") and in_unet
            if half and precision == "fp16" and kind in UNET and found != "HALF":
                raise _wrong(layer, f"computes in {found}", "float16, as all of the U-Net")
            if not half and found != "FLOAT":
                part = "float32, as all of the tail" if precision != "fp32" else "float32"
                raise _wrong(layer, f"computes in {found}", part)
    _require_convolutions(layers, precision)
    if warp == "plugin":
        sampling = [layer for layer in layers if layer.type.name.startswith("PLUGIN")]
    else:
        sampling = [layer for layer in layers if layer.type.name == "GRID_SAMPLE"]
        for layer in sampling:
            # Layers come as their base class; this is how NVIDIA's own tools look inside.
            layer.__class__ = trt.IGridSampleLayer
            if layer.interpolation_mode != trt.InterpolationMode.LINEAR:
                mode = layer.interpolation_mode.name
                raise _wrong(layer, f"samples with mode {mode}", "LINEAR; use --warp gather")
            if not layer.align_corners:
                raise _wrong(layer, "does not align corners", "coordinates from centre to centre")
    if len(sampling) != warps:
        raise EngineBuildError(
            f"the parser made {len(sampling)} sampling layers of {warps} nodes; use another --warp"
        )
    return LayerCounts(dict(counts[0]), dict(counts[1]), len(sampling))


def _require_convolutions(layers: list[Any], precision: str) -> None:
    """Types of what goes into a convolution, which its output alone does not tell."""
    wanted = "HALF" if precision in ("fp16", "mixed") else "FLOAT"
    if precision == "int8" and not any(layer.type.name == "QUANTIZE" for layer in layers):
        raise EngineBuildError("the network quantizes nothing; make the INT8 model again")
    heavy = [layer for layer in layers if layer.type.name in HEAVY]
    if not heavy and precision in ("fp16", "mixed"):
        raise EngineBuildError(
            "the network has no convolution that could run in float16; build it with "
            "--precision fp32"
        )
    types = [layer.get_input(0).dtype.name for layer in heavy]
    if precision == "mixed":
        if not set(types) <= {"HALF", "FLOAT"} or "HALF" not in types:
            raise EngineBuildError(
                f"the network's convolutions take {', '.join(sorted(set(types)))}, not float16 "
                "and float32; follow the precision plan again"
            )
        return
    for layer, found in zip(heavy, types, strict=True):
        if found != wanted:
            raise _wrong(layer, f"takes {found}", wanted)


def _before_the_head(layers: list[Any]) -> set[int]:
    """Numbers of all convolutions and of the layers that lead to them; the head is the last."""
    maker = {t.name: number for number, layer in enumerate(layers) for t in _outputs(layer)}
    inside: set[int] = set()
    waiting = [number for number, layer in enumerate(layers) if layer.type.name in HEAVY]
    while waiting:
        number = waiting.pop()
        if number not in inside:
            inside.add(number)
            waiting += [maker[t.name] for t in _inputs(layers[number]) if t.name in maker]
    return inside


def _inputs(layer: Any) -> Iterator[Any]:
    tensors = (layer.get_input(index) for index in range(layer.num_inputs))
    return (tensor for tensor in tensors if tensor is not None)


def _outputs(layer: Any) -> Iterator[Any]:
    tensors = (layer.get_output(index) for index in range(layer.num_outputs))
    return (tensor for tensor in tensors if tensor is not None)


def _wrong(layer: Any, fact: str, expected: str) -> EngineBuildError:
    return EngineBuildError(
        f"layer {layer.name} ({layer.type.name}) of the parsed network {fact} instead of "
        f"{expected}; nothing was written"
    )
