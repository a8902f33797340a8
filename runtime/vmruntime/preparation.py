"""Bringing a pair of scans onto the model's grid: what is decided, and the sampling."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vmruntime.alignment import Alignment, align
from vmruntime.errors import AlignmentError, GridMismatchError
from vmruntime.grid import Grid
from vmruntime.intensity import IntensityRule
from vmruntime.io.affine_files import read_affine
from vmruntime.io.matrix import checked_matrix
from vmruntime.io.together import Background
from vmruntime.manifest import Manifest
from vmruntime.placement import foreground, lies_inside, place_model_grid, share_outside
from vmruntime.stages import Stages
from vmruntime.volume import Volume
from vmruntime.workplace import Workplace

__all__ = ["AffineSource", "Decision", "Preparation", "Prepared", "decide", "sample"]

AffineSource = str | os.PathLike[str] | NDArray[np.float64] | None
"""``"auto"``, ``"none"``, ``"header"``, a file, a matrix, or None (see `Preparation`)."""

OUTSIDE = 0.005
"""Share of a foreground outside the model's grid that is worth a warning."""


@dataclass(frozen=True)
class Preparation:
    """How a pair is brought onto the model's grid.

    Parameters
    ----------
    affine
        Where the affine alignment comes from. ``"auto"``: it is computed. ``"header"``: the two
        headers share a world. ``"none"``: both scans stand on the model's grid and match voxel by
        voxel. A file (ITK, FSL, LTA) or a ``(4, 4)`` matrix, fixed world to moving world, RAS+ mm.
        None: ``"none"`` where both scans stand on the model's grid at the same place, else
        ``"auto"``.
    search
        ``"quick"`` finds the alignment from rotations up to some 45 degrees, ``"full"`` from any.
    force
        Go on where the alignment is evidently wrong.
    reference
        A scan of the model's training space, to which the fixed scan is aligned to place the
        model's grid; None places it around the fixed scan's foreground.
    moving_intensity, fixed_intensity
        Rules used instead of the manifest's.
    """

    affine: AffineSource = None
    search: Literal["quick", "full"] = "quick"
    force: bool = False
    reference: Volume | None = None
    moving_intensity: str | None = None
    fixed_intensity: str | None = None


@dataclass(frozen=True, eq=False)
class Prepared:
    """A pair as the network takes it.

    Parameters
    ----------
    moving, fixed
        On the model's grid, in the model's intensities.
    affine
        ``(4, 4)`` float64, fixed world to moving world, RAS+ mm.
    affine_source
        ``"auto"``, ``"none"``, ``"header"`` or the name of the file.
    alignment
        Figures of the alignment, where it was computed.
    warnings
        ``(code, text)`` of what looks doubtful.
    """

    moving: Volume
    fixed: Volume
    affine: NDArray[np.float64]
    affine_source: str
    alignment: Alignment | None
    warnings: tuple[tuple[str, str], ...]
    outside: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Decision:
    """How a pair is sampled into the model's grid: matrices and rules, decided on the host.

    Parameters
    ----------
    model
        The model's grid, in the fixed world.
    affine
        ``(4, 4)`` float64, fixed world to moving world, RAS+ mm.
    affine_source
        ``"auto"``, ``"none"``, ``"header"`` or the name of the file.
    alignment
        Figures of the alignment, where it was computed.
    moving_rule, fixed_rule
        What scales the intensities.
    outside
        Share of each scan's foreground outside the model's grid, 0 to 1.
    """

    model: Grid
    affine: NDArray[np.float64]
    affine_source: str
    alignment: Alignment | None
    moving_rule: IntensityRule
    fixed_rule: IntensityRule
    outside: dict[str, float]


def decide(
    manifest: Manifest,
    moving: Volume,
    fixed: Volume,
    how: Preparation,
    stages: Stages,
    threads: int,
) -> Decision:
    """Align a pair and place the model's grid.

    Raises
    ------
    GridMismatchError
        ``"none"`` was asked for and a scan does not stand on the model's grid.
    AlignmentError
        The alignment is evidently wrong, or leads past a scan.
    TransformError
        The affine's file cannot be read, or it is no invertible affine.
    ManifestError
        An intensity rule is none.
    """
    rules = [
        IntensityRule.parse(own or manifest.intensity)
        for own in (how.moving_intensity, how.fixed_intensity)
    ]
    source = _source(manifest, moving, fixed, how.affine)
    with stages("align"):
        affine, alignment = _affine(manifest, source, moving, fixed, how, threads)
        model = _model_grid(manifest, fixed, source, how, threads)
        inverse = np.linalg.inv(affine).astype(np.float64)
        outside = {
            "moving": _outside(moving, model, inverse),
            "fixed": _outside(fixed, model, np.eye(4)),
        }
    for role, volume in (("moving", moving), ("fixed", fixed)):
        if outside[role] == 1 and not how.force:
            raise AlignmentError(
                f"{volume.name}: all of the {role} scan's foreground lies outside the model's grid "
                f"with the affine {source.name!r}; is it the right one? --affine auto aligns the "
                "scans"
            )
    return Decision(model, affine, source.name, alignment, rules[0], rules[1], outside)


def sample(decision: Decision, moving: Volume, fixed: Volume, workplace: Workplace) -> Prepared:
    """Sample both scans into the model's grid, each once, where the network will find them."""
    model = decision.model
    first = partial(workplace.sample, moving, decision.moving_rule, decision.affine, model)
    second = partial(workplace.sample, fixed, decision.fixed_rule, np.eye(4), model)
    if workplace.samples_at_once:
        aside = Background(first)
        other = second()
        both = [aside.result(), other]
    else:
        both = [first(), second()]
    alignment = decision.alignment
    warnings = list(alignment.warnings) if alignment else []
    if alignment and not alignment.plausible:
        warnings.insert(0, ("affine-forced", f"the alignment looks wrong: {alignment.reason}"))
    for sampled in both:
        text = IntensityRule.suspicion_of(sampled.brightest, sampled.volume.name)
        if text:
            warnings.append(("intensity-range", text))
    for role, volume in (("moving", moving), ("fixed", fixed)):
        if decision.outside[role] > OUTSIDE:
            warnings.append(
                (
                    "foreground-outside-grid",
                    f"{volume.name}: {decision.outside[role]:.1%} of the {role} scan's foreground "
                    "lies outside the model's grid and is moved by the affine alone",
                )
            )
    return Prepared(
        both[0].volume,
        both[1].volume,
        decision.affine,
        decision.affine_source,
        alignment,
        tuple(warnings),
        decision.outside,
    )


def _outside(scan: Volume, model: Grid, affine: NDArray[np.float64]) -> float:
    """Share of a scan's foreground outside the model's grid, by an affine from its world."""
    if lies_inside(scan.grid, model, affine):
        return 0.0
    return share_outside(foreground(scan), scan.grid, model, affine)


@dataclass(frozen=True, eq=False)
class _Source:
    """Where the affine comes from, decided."""

    name: str
    matrix: NDArray[np.float64] | None = None


def _source(manifest: Manifest, moving: Volume, fixed: Volume, given: AffineSource) -> _Source:
    if given is None:
        same = moving.grid.matches(fixed.grid) and not manifest.grid_differences(fixed.grid)
        return _Source("none" if same else "auto")
    if isinstance(given, np.ndarray):
        return _Source("matrix", checked_matrix(np.asarray(given, np.float64), "the affine"))
    if given in ("auto", "none", "header"):
        return _Source(str(given))
    return _Source(os.fspath(given), read_affine(given, moving=moving.grid, fixed=fixed.grid))


def _affine(
    manifest: Manifest,
    source: _Source,
    moving: Volume,
    fixed: Volume,
    how: Preparation,
    threads: int,
) -> tuple[NDArray[np.float64], Alignment | None]:
    """The affine from the fixed to the moving world."""
    if source.matrix is not None:
        return source.matrix, None
    if source.name == "header":
        return np.eye(4), None
    if source.name == "none":
        for role, scan in (("moving", moving), ("fixed", fixed)):
            differences = manifest.grid_differences(scan.grid)
            if differences:
                raise GridMismatchError(
                    f"{scan.name}: the {role} scan is not on the model's grid: "
                    f"{', '.join(differences)}; resample it, or let --affine auto do so"
                )
        if moving.grid.shape != fixed.grid.shape:
            raise GridMismatchError(
                f"the moving scan has {moving.grid.shape} voxels, the fixed one "
                f"{fixed.grid.shape}; resample one, or let --affine auto do so"
            )
        # Voxel by voxel: the same indices, whatever world the headers claim.
        return moving.grid.affine @ np.linalg.inv(fixed.grid.affine), None
    found = align(moving, fixed, search=how.search, threads=threads)
    if not (found.plausible or how.force):
        raise AlignmentError(
            f"{moving.name} could not be aligned to {fixed.name}: {found.reason}; look at both "
            "scans, try --affine-search full, or give the alignment with --affine FILE"
        )
    return found.matrix, found


def _model_grid(
    manifest: Manifest, fixed: Volume, source: _Source, how: Preparation, threads: int
) -> Grid:
    """Where the model's grid lies in the fixed world."""
    if source.name == "none":
        return fixed.grid
    if how.reference is None:
        return place_model_grid(manifest, fixed)
    found = align(fixed, how.reference, search=how.search, threads=threads)
    if not (found.plausible or how.force):
        raise AlignmentError(
            f"{fixed.name} could not be aligned to the reference {how.reference.name}: "
            f"{found.reason}; leave --reference out to centre the model's grid instead"
        )
    on_reference = place_model_grid(manifest, how.reference)
    return Grid(on_reference.shape, found.matrix @ on_reference.affine)
