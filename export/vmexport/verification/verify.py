"""Running an artifact and its source on one pair, and measuring the difference."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from vmexport.errors import VerificationError
from vmexport.graph.artifact_module import ArtifactModule, output_names
from vmexport.verification.limits import Limits
from vmexport.verification.pair import Pair
from vmruntime.backends import Backend
from vmruntime.quality import agreement, overlap, regularity
from vmruntime.warp import warp_nearest

__all__ = ["verify"]


def verify(
    source: nn.Module,
    backend: Backend,
    pair: Pair,
    voxel_size: tuple[float, float, float],
    limits: Limits,
) -> dict[str, Any]:
    """Compare an artifact with the PyTorch network it was made from, every output of it.

    Parameters
    ----------
    source
        The network in float32.
    backend
        The artifact, loaded.
    pair
        The scans.
    voxel_size
        Millimetres along each array axis.
    limits
        What the displacements may differ by.

    Returns
    -------
    dict
        For the manifest: the pair's name, engine, limits, displacement error (`Agreement`), the
        inverse's where there is one, largest difference of the moved scan, Dice and folding of
        source and artifact.

    Raises
    ------
    VerificationError
        A displacement is over its limit.
    """
    names = [spec.name for spec in backend.outputs]
    feeds = {"moving": pair.moving[np.newaxis], "fixed": pair.fixed[np.newaxis]}
    with torch.inference_mode():
        tensors = [torch.from_numpy(array) for array in feeds.values()]
        expected = [tensor.numpy()[0] for tensor in ArtifactModule(source).eval()(*tensors)]
    reference = dict(zip(output_names(source), expected, strict=True))
    if names != list(reference):
        raise VerificationError(
            f"the artifact gives {', '.join(names)}, its source {', '.join(reference)}; "
            "nothing was written"
        )
    outputs = backend.run(feeds, names)
    found: dict[str, NDArray[np.float32]] = {name: outputs[name][0] for name in names}

    report: dict[str, Any] = {
        "pair": pair.name,
        "engine": f"{backend.name} {backend.version} {backend.device}",
        "limits": {"max": limits.max, "p99": limits.p99},
    }
    for name in names[1:]:
        if found[name].shape != reference[name].shape:
            raise VerificationError(
                f"the artifact's {name} has shape {found[name].shape}, the checkpoint's "
                f"{reference[name].shape}; nothing was written"
            )
        error = agreement(reference[name], found[name], voxel_size)
        limits.require(error)
        report[name] = _rounded(asdict(error))
    report["moved_max"] = _short(np.abs(found["moved"] - reference["moved"]).max())
    for who, displacement in (("source", reference), ("artifact", found)):
        report[who] = _registration(pair, displacement["displacement"])
    return report


def _registration(pair: Pair, displacement: NDArray[np.float32]) -> dict[str, Any]:
    """Dice and folding that a displacement gives on the pair."""
    figures: dict[str, Any] = {"folding_percent": _short(regularity(displacement).folding_percent)}
    if pair.moving_labels is not None and pair.fixed_labels is not None:
        moved = warp_nearest(pair.moving_labels, displacement)
        figures["dice"] = _short(overlap(moved, pair.fixed_labels).mean)
    return figures


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {k: _short(v) if isinstance(v, float) else list(v) for k, v in values.items()}


def _short(value: float) -> float:
    """Four digits: the manifest must fit into 4096 bytes of a TensorRT plan."""
    return float(f"{value:.4g}")
