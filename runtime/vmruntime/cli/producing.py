"""From scans that were read to files on the disk: what ``vm-infer`` and ``vm-batch`` share."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from vmruntime.io.affine_files import write_affine
from vmruntime.io.images import read_labels, read_scan
from vmruntime.io.nifti import write_volume
from vmruntime.io.outputs import Outputs
from vmruntime.io.together import read_together
from vmruntime.io.transform_files import TRANSFORM_SUFFIXES, require_writer, write_transform
from vmruntime.registrar import OutputGrid, Registrar
from vmruntime.registration import Registration
from vmruntime.report import build_report
from vmruntime.stages import Stages
from vmruntime.volume import Volume

if TYPE_CHECKING:
    from vmruntime.cli.registering import Request

__all__ = ["Files", "Inputs", "produce", "read_inputs", "read_labels_of"]


@dataclass(frozen=True, eq=False)
class Inputs:
    """What was read of a pair.

    Parameters
    ----------
    moving, fixed
        The scans.
    labels
        Labels of the moving scan that are carried over.
    fixed_labels
        Labels of the fixed scan, where Dice is to be measured.
    """

    moving: Volume
    fixed: Volume
    labels: tuple[Volume, ...]
    fixed_labels: Volume | None


def read_inputs(request: Request) -> Inputs:
    """Read a pair.

    Raises
    ------
    ScanError
        A file cannot be used.
    GridMismatchError
        Labels do not lie on their scan's grid.
    """
    scans = [partial(read_scan, path) for path in (request.moving, request.fixed)]
    segmentations = [*request.moving_seg, *([request.fixed_seg] if request.fixed_seg else [])]
    readers = [*scans, *(partial(read_labels, path) for path in segmentations)]
    threads = request.threads or len(os.sched_getaffinity(0))
    moving, fixed, *labels = read_together(readers, threads)
    fixed_labels = labels.pop() if request.fixed_seg else None
    for segmentation in labels:
        segmentation.require_grid(moving.grid, "moving")
    if fixed_labels:
        fixed_labels.require_grid(fixed.grid, "fixed")
    return Inputs(moving, fixed, tuple(labels), fixed_labels)


def read_labels_of(scan: Volume, path: Path, role: str) -> Volume:
    """Read labels, and find out before the work whether they belong to the scan."""
    labels = read_labels(path)
    labels.require_grid(scan.grid, role)
    return labels


class Files:
    """Temporary names of everything that is to be written.

    Parameters
    ----------
    request
        The options.
    outputs
        What gives the names.
    """

    def __init__(self, request: Request, outputs: Outputs) -> None:
        def image(path: Path | None) -> Path | None:
            return outputs.image(path) if path else None

        def transform(path: Path | None) -> Path | None:
            if path is None:
                return None
            require_writer(path)
            return outputs.file(path, TRANSFORM_SUFFIXES)

        self.compression = request.compression
        self.moved = image(request.moved)
        self.labels = [outputs.image(path) for path in request.moved_seg]
        self.confidence = image(request.confidence)
        self.jacobian = image(request.jacobian)
        self.warp = transform(request.warp)
        self.inverse = transform(request.inverse_warp)
        affine, report, page = request.affine_out, request.report, request.report_html
        suffixes = (".txt", ".tfm", ".mat", ".lta")
        self.affine = outputs.file(affine, suffixes) if affine else None
        self.report = outputs.file(report, (".json",)) if report else None
        self.html = outputs.file(page, (".html",)) if page else None
        self.figure = outputs.file(request.figure, (".png",)) if request.figure else None

    def write(self, result: Registration, shares: Volume | None, jacobian: Volume | None) -> None:
        """Write images and transforms."""
        if self.moved:
            write_volume(self.moved, result.moved, self.compression)
        for path, volume in zip(self.labels, result.moved_labels, strict=False):
            write_volume(path, volume, self.compression)
        if self.confidence and shares:
            write_volume(self.confidence, shares, self.compression)
        if self.jacobian and jacobian:
            write_volume(self.jacobian, jacobian, self.compression)
        if self.warp:
            write_transform(self.warp, result.transform, self.compression)
        if self.inverse and result.inverse:
            write_transform(self.inverse, result.inverse, self.compression)
        if self.affine:
            transform = result.transform
            grids = {"moving": transform.moving, "fixed": transform.fixed}
            write_affine(self.affine, transform.affine, **grids)


def produce(
    request: Request,
    registrar: Registrar,
    inputs: Inputs,
    files: Files,
    *,
    verified: bool | None,
    began: float,
    stages: Stages,
    local: bool,
    warn: Callable[[str, str], None] | None = None,
    turn: AbstractContextManager[Any] | None = None,
) -> dict[str, Any]:
    """Register a pair, measure the result and write every file that was asked for.

    Parameters
    ----------
    request
        The options.
    registrar
        The loaded model.
    inputs
        The pair.
    files
        Where to.
    verified
        What the report says about the artifact, see `vmruntime.plan_records.is_verified`.
    began
        `time.perf_counter` when the work on this pair began, for the report.
    stages
        Where to add the timings.
    local
        Also measure the local correlation, which takes longer than all other figures together.
    warn
        Called with code and text of each warning as soon as the pair is registered.
    turn
        Held while the registration itself runs; pairs that share a Registrar take turns by it.

    Returns
    -------
    dict
        What `build_report` gives, with ``engine.verified``.

    Raises
    ------
    VMError
        See `Registrar.register`.
    OSError
        A file could not be written.
    """
    labels = inputs.labels
    with turn or nullcontext():
        result = registrar.register(
            inputs.moving,
            inputs.fixed,
            affine=request.affine,
            affine_search=request.affine_search,
            force_affine=request.force_affine,
            reference=request.reference,
            intensity=request.intensity,
            moving_intensity=request.moving_intensity,
            fixed_intensity=request.fixed_intensity,
            inverse=request.inverse_warp is not None,
            interpolation=request.image_interp,
            labels=labels,
            label_interpolation=request.interp,
            grid=_grid(request.grid),
            stages=stages,
        )
    for code, text in result.warnings if warn else ():
        cast(Any, warn)(code, text)
    carried = result.moved_labels
    shares = result.vote_labels(labels[0])[1] if request.confidence else None
    quality = result.quality(
        moving_labels=labels[0] if labels else None,
        fixed_labels=inputs.fixed_labels,
        moved_labels=carried[0] if carried else None,
        labels=request.dice_labels,
        local=local,
    )
    # Before "write", or its seconds would count twice.
    jacobian = result.jacobian() if files.jacobian else None
    with stages("write"):
        files.write(result, shares, jacobian)
    first = carried[0] if carried else None
    if files.figure:
        with stages("figure"):
            # Here, since most runs draw nothing and start the sooner.
            from vmruntime.figure import draw_figure

            draw_figure(files.figure, result, quality, first, inputs.fixed_labels)
    facts = build_report(registrar, result, quality, time.perf_counter() - began)
    facts["engine"]["verified"] = verified
    if files.html:
        from vmruntime.html_report import write_html

        write_html(files.html, result, quality, facts, first, inputs.fixed_labels)
    if files.report:
        files.report.write_text(json.dumps(facts, indent=2, allow_nan=False) + "\n")
    return facts


def _grid(given: str) -> OutputGrid:
    if given in ("fixed", "moving", "model"):
        return cast(OutputGrid, given)
    return read_scan(given).grid
