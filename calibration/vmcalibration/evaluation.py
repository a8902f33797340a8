"""What each candidate does to each pair, against float32."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmcalibration.candidates import Candidate, Run
from vmexport.verification import Pair
from vmruntime.backends import open_backend
from vmruntime.quality import Effect, agreement, effect

__all__ = ["ErrorMap", "Evaluation", "evaluate_pair"]

Field = NDArray[np.float32]
Evaluation = dict[str, Any]
"""Plain values, as the report has them."""
ErrorMap = dict[str, NDArray[Any]]
"""Three planes of the fixed scan and of the error's length in mm, through the worst voxel."""


def evaluate_pair(
    pair: Pair,
    candidates: Sequence[Candidate],
    voxel_size: tuple[float, float, float],
    labels: tuple[int, ...] | None,
    threads: int,
    announce: Callable[[str], None] = lambda _: None,
) -> tuple[list[Evaluation], dict[str, ErrorMap]]:
    """Run every candidate on a pair.

    Parameters
    ----------
    pair
        On the model's grid.
    candidates
        The first one is float32.
    voxel_size
        Millimetres along each array axis.
    labels
        Labels to measure; None for all that both segmentations have.
    threads
        Threads to use.
    announce
        Called with what begins.

    Returns
    -------
    tuple
        For each way of running each candidate what was measured, and for each candidate where its
        error is, in the way that is worst.
    """
    results: list[Evaluation] = []
    maps: dict[str, ErrorMap] = {}
    reference: Field | None = None
    for candidate in candidates:
        worst = -1.0
        for run in candidate.runs:
            announce(f"{candidate.title}, {run.how}")
            displacement, engine = _displacement(run, pair, threads)
            if reference is None:
                reference = displacement
            found = _effect(displacement, pair, labels, threads)
            error = agreement(reference, displacement, voxel_size)
            results.append(
                {
                    "candidate": candidate.name,
                    "pair": pair.name,
                    "how": run.how,
                    "engine": engine,
                    "error": {key: _plain(value) for key, value in asdict(error).items()},
                    **_figures(found),
                }
            )
            if not error.p99_mm <= worst:
                worst = error.p99_mm
                maps[candidate.name] = _map(pair, reference, displacement, voxel_size, error.where)
    return results, maps


def _displacement(run: Run, pair: Pair, threads: int) -> tuple[Field, str]:
    backend = open_backend(run.artifact, run.backend, "cpu", threads, run.precision)
    try:
        feeds = {"moving": pair.moving[np.newaxis], "fixed": pair.fixed[np.newaxis]}
        found = backend.run(feeds, ["displacement"])["displacement"][0]
        # A copy: an engine's own array keeps its working memory.
        return np.array(found, np.float32), f"{backend.name} {backend.version} {backend.precision}"
    finally:
        backend.close()


def _effect(
    displacement: Field, pair: Pair, labels: tuple[int, ...] | None, threads: int
) -> Effect:
    segmentations = None
    if pair.moving_labels is not None and pair.fixed_labels is not None:
        segmentations = (pair.moving_labels, pair.fixed_labels)
    # An overflowed displacement leads nowhere: its voxels count as unmoved, and its error is NaN.
    usable = np.nan_to_num(displacement, nan=0.0, posinf=0.0, neginf=0.0)
    return effect(
        usable,
        scans=(pair.moving[0], pair.fixed[0]),
        labels=segmentations,
        wanted=labels,
        threads=threads,
    )


def _figures(found: Effect) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "folding_percent": found.regularity.folding_percent,
        "sd_log_jacobian": _plain(found.regularity.sd_log_jacobian),
        "similarity": None,
        "dice": None,
        "dice_labels": {},
    }
    if found.similarity is not None:
        figures["similarity"] = {"ncc": found.similarity.ncc, "mse": found.similarity.mse}
    if found.overlap is not None and found.overlap.labels:
        figures["dice"] = found.overlap.mean
        figures["dice_labels"] = {str(k): v for k, v in found.overlap.labels.items()}
    return figures


def _map(
    pair: Pair,
    reference: Field,
    displacement: Field,
    voxel_size: tuple[float, float, float],
    where: tuple[int, int, int],
) -> ErrorMap:
    scale = np.array(voxel_size, np.float32)
    planes: ErrorMap = {"where": np.array(where)}
    for axis, index in enumerate(where):
        at = [slice(None)] * 3
        cut: list[Any] = [*at[:axis], index, *at[axis + 1 :]]
        difference = displacement[(slice(None), *cut)] - reference[(slice(None), *cut)]
        planes[f"error_{axis}"] = np.sqrt(np.square(difference * scale.reshape(3, 1, 1)).sum(0))
        planes[f"scan_{axis}"] = np.array(pair.fixed[0][tuple(cut)])
    return planes


def _plain(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return list(value)
