"""What Triton has to know of a model: its ``config.pbtxt``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from vmexport.errors import ExportError
from vmexport.triton.pbtxt import Symbol, to_text
from vmruntime.artifact import Artifact
from vmruntime.manifest import MANIFEST_KEY, Manifest

__all__ = ["Hardware", "ModelConfig", "model_config"]

Hardware = Literal["gpu", "cpu"]
Shape = tuple[int, int, int]

FREE = -1
"""An axis of any size."""

WARM_UP_STRIDES = 8
"""Strides along each axis of the warm-up's grid, where the model takes any and nothing says which
is usual. What `vm-export` verifies such models on."""


@dataclass(frozen=True)
class ModelConfig:
    """How a model is served.

    Parameters
    ----------
    platform, backend
        Triton's names of what runs it.
    file
        Name that the backend expects of the model's file.
    hardware
        ``"gpu"`` or ``"cpu"``.
    grid
        Voxels ``(D, H, W)``, `FREE` where any will do.
    warm_up
        Voxels of the grid that the server runs once, before the model counts as ready.
    text
        The ``config.pbtxt``.
    """

    platform: str
    backend: str
    file: str
    hardware: Hardware
    grid: Shape
    warm_up: Shape
    text: str


def model_config(artifact: Artifact, name: str, hardware: Hardware = "gpu") -> ModelConfig:
    """What to tell Triton of an artifact.

    Batches are off (``max_batch_size: 0``), for a model takes one pair: dims are whole shapes.

    Parameters
    ----------
    artifact
        An ONNX model, or a plan of TensorRT.
    name
        What the server is to call it.
    hardware
        Where its one instance runs; a plan runs on GPUs only.

    Raises
    ------
    ExportError
        Triton has no backend for the file, or not on this hardware.
    """
    manifest = artifact.manifest
    if artifact.kind == "plan":
        _check_plan(artifact, hardware)
        platform, backend, file = "tensorrt_plan", "tensorrt", "model.plan"
    else:
        platform, backend, file = "onnxruntime_onnx", "onnxruntime", "model.onnx"
    grid = manifest.shape or (FREE, FREE, FREE)
    warm_up = manifest.shape or _usual(manifest)
    inputs = {"moving": manifest.moving_channels, "fixed": manifest.fixed_channels}
    outputs = {"moved": manifest.moving_channels, "displacement": 3}
    if manifest.diffeomorphic:
        outputs["inverse_displacement"] = 3
    text = to_text(
        {
            "name": name,
            "platform": platform,
            "backend": backend,
            "max_batch_size": 0,
            "input": [_tensor(each, channels, grid) for each, channels in inputs.items()],
            "output": [_tensor(each, channels, grid) for each, channels in outputs.items()],
            "instance_group": {"count": 1, "kind": Symbol(f"KIND_{hardware.upper()}")},
            "version_policy": {"latest": {"num_versions": 1}},
            "model_warmup": {
                "name": "zeros",
                "batch_size": 1,  # of a model without batches
                "inputs": [
                    {"key": each, "value": _zeros(channels, warm_up)}
                    for each, channels in inputs.items()
                ],
            },
            "parameters": {"key": MANIFEST_KEY, "value": {"string_value": manifest.to_json()}},
        }
    )
    return ModelConfig(platform, backend, file, hardware, grid, warm_up, text)


def _check_plan(artifact: Artifact, hardware: Hardware) -> None:
    if artifact.manifest.engine["target"] == "rtx":
        raise ExportError(
            f"{artifact.path}: is a plan of TensorRT-RTX, and Triton has a backend for those of "
            "TensorRT only: build with --target tensorrt, or serve the model.onnx"
        )
    if hardware == "cpu":
        raise ExportError(
            f"{artifact.path}: a plan runs on GPUs only: leave --triton-device out, or serve the "
            "model.onnx"
        )


def _usual(manifest: Manifest) -> Shape:
    """A grid to try a model with a free one on: what its plan is fastest with, else a small one."""
    if manifest.engine:
        d, h, w = manifest.engine["shapes"][1]
        return d, h, w
    size = WARM_UP_STRIDES * manifest.stride
    return size, size, size


def _tensor(name: str, channels: int, grid: Shape) -> dict[str, Any]:
    return {"name": name, "data_type": FLOAT, "dims": _whole(channels, grid)}


def _zeros(channels: int, grid: Shape) -> dict[str, Any]:
    # Not random: what is random may be NaN, and an empty scan is a valid one.
    return {"data_type": FLOAT, "dims": _whole(channels, grid), "zero_data": True}


def _whole(channels: int, grid: Shape) -> Sequence[int]:
    return (1, channels, *grid)


FLOAT = Symbol("TYPE_FP32")
"""Inputs and outputs are float32, whatever the U-Net is computed in."""
