"""Measuring how far the outputs of an artifact are from those of its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmexport.errors import VerificationError
from vmexport.verification.limits import Limits
from vmexport.verification.pair import Pair
from vmruntime.backends import Backend
from vmruntime.quality import agreement, effect

__all__ = ["Outputs", "compare", "run_backend"]

Outputs = Mapping[str, NDArray[np.float32]]
"""Every output of a model by name, in order, ``(C, D, H, W)`` each."""


def run_backend(backend: Backend, pair: Pair) -> dict[str, NDArray[np.float32]]:
    """Every output that a loaded artifact gives on a pair.

    Raises
    ------
    BackendError
        The engine failed.
    """
    names = [spec.name for spec in backend.outputs]
    feeds = {"moving": pair.moving[np.newaxis], "fixed": pair.fixed[np.newaxis]}
    outputs = backend.run(feeds, names)
    # Copies: an engine's own arrays keep all of its working memory, gigabytes, after it is closed.
    return {name: outputs[name][0].copy() for name in names}


def compare(
    reference: Outputs,
    found: Outputs,
    pair: Pair,
    voxel_size: tuple[float, float, float],
    limits: Limits,
    *,
    engine: str,
    source: str = "checkpoint",
) -> dict[str, Any]:
    """Compare the outputs of an artifact with those of its source.

    Parameters
    ----------
    reference, found
        Outputs of the source and of the artifact.
    pair
        The scans.
    voxel_size
        Millimetres along each array axis.
    limits
        What the displacements may differ by.
    engine
        What ran the artifact, for the report.
    source
        What `reference` comes from, for messages.

    Returns
    -------
    dict
        For the manifest: the pair's name, engine, limits, displacement error (`Agreement`), the
        inverse's where there is one, largest difference of the moved scan, Dice and folding of
        source and artifact.

    Raises
    ------
    VerificationError
        A displacement is over its limit, or the outputs are others.
    """
    names = list(found)
    if names != list(reference):
        raise VerificationError(
            f"the artifact gives {', '.join(names)}, its source {', '.join(reference)}; "
            "nothing was written"
        )
    report: dict[str, Any] = {
        "pair": pair.name,
        "engine": engine,
        "limits": {"max": limits.max, "p99": limits.p99},
    }
    for name in names[1:]:
        if found[name].shape != reference[name].shape:
            raise VerificationError(
                f"the artifact's {name} has shape {found[name].shape}, the {source}'s "
                f"{reference[name].shape}; nothing was written"
            )
        error = agreement(reference[name], found[name], voxel_size)
        limits.require(error, source)
        report[name] = _rounded(asdict(error))
    report["moved_max"] = _short(np.abs(found["moved"] - reference["moved"]).max())
    for who, outputs in (("source", reference), ("artifact", found)):
        report[who] = _registration(pair, outputs["displacement"])
    return report


def _registration(pair: Pair, displacement: NDArray[np.float32]) -> dict[str, Any]:
    """Dice and folding that a displacement gives on the pair."""
    labels = None
    if pair.moving_labels is not None and pair.fixed_labels is not None:
        labels = (pair.moving_labels, pair.fixed_labels)
    found = effect(displacement, labels=labels)
    figures: dict[str, Any] = {"folding_percent": _short(found.regularity.folding_percent)}
    if found.overlap is not None:
        figures["dice"] = _short(found.overlap.mean)
    return figures


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {k: _short(v) if isinstance(v, float) else list(v) for k, v in values.items()}


def _short(value: float) -> float:
    """Four digits: the manifest must fit into 4096 bytes of a TensorRT plan."""
    return float(f"{value:.4g}")
