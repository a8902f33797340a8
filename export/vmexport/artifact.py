"""Making an artifact: network -> graph -> verification -> file."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import torch
from torch import nn

from vmexport.checkpoints import Checkpoint, read_checkpoint
from vmexport.errors import ExportError
from vmexport.graph.build import build_model, with_manifest
from vmexport.networks import RegistrationNetwork
from vmexport.precision import PrecisionPlan, convert_with_plan, faithful, plan_limits
from vmexport.verification import Limits, VerifyOn, choose_pair, phantom_pair, verify
from vmruntime.artifact import Artifact
from vmruntime.backends.onnxruntime import OnnxRuntimeBackend
from vmruntime.intensity import IntensityRule
from vmruntime.io.images import Scan
from vmruntime.io.outputs import Outputs
from vmruntime.manifest import Manifest
from vmruntime.version import __version__

__all__ = ["ExportOptions", "export_artifact"]


@dataclass(frozen=True)
class ExportOptions:
    """What an artifact is to be like.

    Parameters
    ----------
    shape
        Voxels ``(D, H, W)`` of the model grid; None for the one the checkpoint was trained on.
    dynamic
        Leave the grid free, in multiples of the network's stride.
    precision
        ``"fp32"``, or ``"fp16"`` (U-Net only; the tail, inputs and outputs stay float32).
    orientation
        World direction that each array axis of the model grid runs toward.
    voxel_size
        Millimetres along each array axis.
    intensity
        Rule that brings scans to the model's range.
    max_error, p99_error
        Largest displacement error accepted, in voxels; None for the precision's usual limits.
    stride
        For a module of one's own: what every axis must be a multiple of.
    channels
        For a module of one's own: channels of the moving and of the fixed input.
    """

    shape: tuple[int, int, int] | None = None
    dynamic: bool = False
    precision: str = "fp32"
    orientation: str = "LIA"
    voxel_size: tuple[float, float, float] = (1.0, 1.0, 1.0)
    intensity: str = "divide:255"
    max_error: float | None = None
    p99_error: float | None = None
    stride: int = 1
    channels: tuple[int, int] = (1, 1)


def export_artifact(
    source: str | os.PathLike[str] | Checkpoint | nn.Module,
    output: str | os.PathLike[str],
    options: ExportOptions | None = None,
    *,
    verify_moving: Scan | None = None,
    verify_fixed: Scan | None = None,
    verify_moving_labels: Scan | None = None,
    verify_fixed_labels: Scan | None = None,
    force: bool = False,
    progress: Callable[[str], None] | None = None,
    plan: PrecisionPlan | None = None,
) -> Manifest:
    """Export a trained network to an ONNX artifact, verified before it gets its name.

    Parameters
    ----------
    source
        Checkpoint file, `Checkpoint`, or any module that maps ``(moving, fixed)``, each
        ``(1, C, D, H, W)`` float32, to a displacement ``(1, 3, D, H, W)`` in voxels.
    output
        The ``.onnx`` file.
    options
        `ExportOptions`; the defaults where None.
    verify_moving, verify_fixed
        Scans on the model's grid to verify on; a phantom pair where none are given.
    verify_moving_labels, verify_fixed_labels
        Their segmentations.
    force
        Replace an existing file.
    progress
        Called with what begins now.
    plan
        The number format of each layer, in place of the options' precision.

    Returns
    -------
    Manifest
        As it stands in the file, with what the verification measured.

    Raises
    ------
    CheckpointError
        The checkpoint cannot be read.
    ExportError
        The network cannot be exported as asked.
    VerificationError
        The artifact differs from its source by more than the limit.
    ScanError, GridMismatchError
        The pair to verify on cannot be used.
    OutputError
        The file exists or cannot be written.
    """
    options = options or ExportOptions()
    announce = progress or (lambda _: None)
    scans = VerifyOn(verify_moving, verify_fixed, verify_moving_labels, verify_fixed_labels)
    with Outputs(force=force) as outputs:
        temporary = outputs.file(output, (".onnx",))
        announce("reading the checkpoint")
        network, origin = _network(source)
        shape = _shape(network, options)
        manifest = _manifest(network, origin, options, shape)
        channels = (manifest.moving_channels, manifest.fixed_channels)
        voxel_size = manifest.voxel_size
        pairs = [choose_pair(manifest, shape, scans)]
        if options.dynamic:
            # A second, odd grid shows that nothing of the traced one was kept.
            other = tuple(manifest.stride * n for n in (2, 3, 4))
            pairs.append(phantom_pair((other[0], other[1], other[2]), channels))
        announce("exporting the graph")
        model = build_model(
            network,
            shape,
            channels=channels,
            precision=options.precision,
            dynamic=options.dynamic,
            stride=manifest.stride,
        )
        temporary.write_bytes(with_manifest(model, manifest))
        announce("verifying against the checkpoint")
        limits = Limits.of(options.precision, options.max_error, options.p99_error)
        if plan is not None:  # the limits given are of what the plan makes
            limits = Limits.of("fp32")
        artifact = faithful(Artifact.read(temporary))
        reports = [
            # One backend a pair: `verify` closes it, for what memory it holds.
            verify(network, OnnxRuntimeBackend(artifact, arena=False), pair, voxel_size, limits)
            for pair in pairs
        ]
        manifest = replace(manifest, verification=reports[0])
        temporary.write_bytes(with_manifest(model, manifest))
        if plan is not None:
            limits = plan_limits(plan, options.max_error, options.p99_error)
            exact = Artifact.read(temporary)
            manifest = convert_with_plan(exact, temporary, plan, pairs, limits, announce).manifest
    return manifest


def _network(
    source: str | os.PathLike[str] | Checkpoint | nn.Module,
) -> tuple[nn.Module, dict[str, str]]:
    if isinstance(source, nn.Module):
        # A copy: evaluation mode and float32 are our needs, not the caller's.
        network = copy.deepcopy(source).cpu().float().eval()
        return network, {"layout": f"module {type(source).__name__}"}
    checkpoint = source if isinstance(source, Checkpoint) else read_checkpoint(source)
    return checkpoint.network, {
        "layout": checkpoint.layout,
        "file": Path(checkpoint.path).name,
        "sha256": checkpoint.sha256,
    }


def _manifest(
    network: nn.Module,
    origin: dict[str, str],
    options: ExportOptions,
    shape: tuple[int, int, int],
) -> Manifest:
    stride, channels, int_steps = options.stride, options.channels, 0
    if isinstance(network, RegistrationNetwork):
        stride, int_steps = network.stride, network.int_steps
        channels = (network.moving_channels, network.fixed_channels)
    manifest = Manifest(
        shape=None if options.dynamic else shape,
        stride=stride,
        orientation=options.orientation,
        voxel_size=options.voxel_size,
        intensity=str(IntensityRule.parse(options.intensity)),
        moving_channels=channels[0],
        fixed_channels=channels[1],
        diffeomorphic=int_steps > 0,
        int_steps=int_steps,
        precision=options.precision,
        source=origin,
        versions={
            "voxelmorph-deploy": __version__,
            "torch": torch.__version__,
            "onnx": version("onnx"),
        },
    )
    # The reader's checks are the definition of a valid manifest: a bad option fails here.
    return Manifest.from_json(manifest.to_json())


def _shape(network: nn.Module, options: ExportOptions) -> tuple[int, int, int]:
    """The grid to export for, or to trace with where the artifact takes any."""
    stride = network.stride if isinstance(network, RegistrationNetwork) else options.stride
    shape = options.shape or getattr(network, "inshape", None)
    if shape is None:
        raise ExportError("the source does not say the grid it was trained on; give --shape D,H,W")
    if any(size < stride or size % stride for size in shape):
        raise ExportError(
            f"the grid {' x '.join(map(str, shape))} does not fit the network: every axis must be "
            f"a multiple of {stride}; pad the grid or choose another --shape"
        )
    d, h, w = (int(size) for size in shape)
    return d, h, w
