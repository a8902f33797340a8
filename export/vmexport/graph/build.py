"""A network as the ONNX model of an artifact."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import onnx
import torch
from torch import nn
from torch.export import Dim

from vmexport.errors import ExportError
from vmexport.graph.artifact_module import INPUTS, ArtifactModule, output_names
from vmexport.graph.half_kernels import half_kernels
from vmexport.graph.identity_grids import compute_identity_grids
from vmexport.graph.manifest_props import with_manifest
from vmexport.graph.tidy import name_free_axes, remove_traces
from vmexport.graph.warp3d import DOMAIN, OPSET, VERSION, translations, warp3d_function
from vmexport.networks import RegistrationNetwork
from vmruntime.errors import one_line

__all__ = ["build_model", "with_manifest"]

AXES = ("D", "H", "W")

LARGEST_CONSTANT = 1 << 20
"""Bytes; a constant beyond this that is no weight is a grid that escaped, see `build_model`."""


def build_model(
    source: nn.Module,
    shape: tuple[int, int, int],
    *,
    channels: tuple[int, int] = (1, 1),
    precision: str = "fp32",
    dynamic: bool = False,
    stride: int = 1,
) -> onnx.ModelProto:
    """Export a network.

    Parameters
    ----------
    source
        As `ArtifactModule` takes it, in evaluation mode.
    shape
        Voxels ``(D, H, W)`` of the grid; with `dynamic`, of the example that is traced.
    channels
        Channels of the moving and of the fixed input.
    precision
        ``"fp32"``, or ``"fp16"``: U-Net weights and activations in float16; inputs, outputs and the
        tail (resize, integration, warp) in float32.
    dynamic
        Leave D, H and W free, in multiples of `stride`.
    stride
        What every axis is a multiple of.

    Returns
    -------
    onnx.ModelProto
        Opset 20; inputs ``moving`` and ``fixed``, outputs as `output_names` says; without a
        manifest. Passes ``onnx.checker`` with full checks.

    Raises
    ------
    ExportError
        The network cannot be exported as asked.
    """
    if precision == "fp16":
        source = _halved(source)
    module = ArtifactModule(source).eval()
    # Two tensors: the exporter wires the graph wrongly where one serves as both inputs.
    examples = tuple(torch.rand(1, count, *shape) for count in channels)
    free = None
    if dynamic:
        # A multiple of the stride, said as such, or the exporter cannot know that sizes halve.
        axes = {2 + i: stride * Dim(name, min=1, max=1 << 12) for i, name in enumerate(AXES)}
        free = (axes, axes)
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                module,
                examples,
                dynamo=True,
                opset_version=OPSET,
                input_names=list(INPUTS),
                output_names=list(output_names(source)),
                dynamic_shapes=free,
                custom_translation_table=translations(),
                verbose=False,
            )
    except ExportError:
        raise
    # The exporter's failures derive from Exception; anything may come out of a user's module.
    except Exception as error:
        raise ExportError(
            f"PyTorch cannot export {type(source).__name__}: {one_line(error.__cause__ or error)}"
        ) from error
    if program is None:
        raise ExportError("PyTorch's exporter returned no program")
    model = program.model_proto
    compute_identity_grids(model)
    remove_traces(model)
    if dynamic:
        name_free_axes(model, AXES)
    model.functions.append(warp3d_function())
    if not any(opset.domain == DOMAIN for opset in model.opset_import):
        model.opset_import.append(onnx.helper.make_opsetid(DOMAIN, VERSION))
    model.graph.name = "voxelmorph"
    onnx.checker.check_model(model, full_check=True)
    return model


def _halved(source: nn.Module) -> RegistrationNetwork:
    if not isinstance(source, RegistrationNetwork):
        raise ExportError(
            "--precision fp16 needs to know the U-Net from the tail, which a module of one's own "
            "does not tell; export it in fp32, or read the weights through a checkpoint layout"
        )
    halved = copy.deepcopy(source)
    for module in halved.modules():
        if isinstance(module, nn.Conv3d):
            kernels = half_kernels(module.weight.detach().numpy())
            module.weight.data = torch.from_numpy(kernels).float()
    halved.unet.half()
    halved.flow.half()
    return halved


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's notes to developers of PyTorch (torchvision, pytrees) from our users."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
