"""What ``vm-batch`` does with its options."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import click

from vmruntime.artifact import Artifact
from vmruntime.batch.cluster import Workers, require_dask
from vmruntime.batch.cohort import cohort_of, find_subjects, parse_atlas
from vmruntime.batch.content import content_of
from vmruntime.batch.desk import Assignment
from vmruntime.batch.errors import BatchError
from vmruntime.batch.layout import Layout
from vmruntime.batch.page import Cohort, write_page
from vmruntime.batch.pair import Pair
from vmruntime.batch.pairs_file import read_pairs
from vmruntime.batch.plan import Batch, Outcome, split
from vmruntime.batch.progress import duration
from vmruntime.batch.results import write_results, write_volumes
from vmruntime.batch.run import run_batch
from vmruntime.batch.settings import Settings
from vmruntime.figure import require_matplotlib
from vmruntime.plan_records import unverified_notice

__all__ = ["Request", "run"]

CORES_EACH = 4
"""Cores of a worker where nothing is said: with more the work beside the network waits."""

KEPT = 2
"""Moving scans that a worker keeps where a table of pairs names some more than once."""


@dataclass(frozen=True)
class Request:
    """The options of ``vm-batch``, by their names there."""

    model: Path
    out: Path
    pairs: Path | None
    atlas: tuple[str, ...]
    subjects: str | None
    workers: int | None
    scheduler: str | None
    slurm: Path | None
    threads_per_worker: int | None
    gpus: tuple[int, ...] | None
    retries: int
    fuse: Literal["majority", "local-ncc"] | None
    report: bool
    dashboard: bool
    dry_run: bool
    write: tuple[str, ...]
    image_interp: Literal["linear", "cubic"]
    interp: Literal["nearest", "label"]
    dice_labels: tuple[int, ...] | None
    local_correlation: bool
    affine: str | None
    affine_search: Literal["quick", "full"]
    force_affine: bool
    reference: Path | None
    intensity: str | None
    moving_intensity: str | None
    fixed_intensity: str | None
    backend: str
    device: str
    precision: str
    force: bool
    verbose: bool


def run(request: Request) -> None:
    """Register what is asked for; prints what came of it.

    Raises
    ------
    click.UsageError
        Options that make no sense together.
    VMError
        There is nothing to register, or nobody to do it; or some pairs failed.
    """
    _require_sense(request)
    require_dask(dashboard=request.dashboard and request.scheduler is None)
    if request.report or "figure" in request.write:
        require_matplotlib()
    pairs = _pairs(request)
    artifact = Artifact.read(request.model)
    if notice := unverified_notice(artifact):
        _say(f"Warning: {notice} [unverified-plan]")
    slurm = None
    if request.slurm:
        from vmruntime.batch.slurm import read_slurm_options

        slurm = read_slurm_options(request.slurm)
    batch = Batch(
        pairs, _assignment(request, pairs, slurm), _workers(request, slurm), request.retries,
        request.fuse,
    )  # fmt: skip
    if request.dry_run:
        click.echo(_plan(batch))
        return
    outcome = Outcome()
    try:
        run_batch(batch, outcome, _say)
    except (KeyboardInterrupt, SystemExit):
        done = sum(result.status == "done" for result in outcome.results.values())
        _say(f"Stopped: {done} of {len(pairs)} pairs are done; the same command goes on from there")
        raise
    finally:
        if outcome.results:
            _write_tables(batch, outcome)
    if request.report:
        write_page(request.out / "report.html", _cohort(request, batch, outcome))
    click.echo(_summary(request, batch, outcome))
    _require_success(batch, outcome)


def _pairs(request: Request) -> list[Pair]:
    if request.pairs is not None:
        return read_pairs(request.pairs)
    atlases = [parse_atlas(text) for text in request.atlas]
    assert request.subjects is not None
    return cohort_of(atlases, find_subjects(request.subjects))


def _assignment(request: Request, pairs: list[Pair], slurm: dict[str, Any] | None) -> Assignment:
    names = Settings.__dataclass_fields__
    settings = Settings(**{name: getattr(request, name) for name in names})
    files = {role: path.absolute() for role, path in settings.files().items()}
    if "affine" in files:
        settings = replace(settings, affine=str(files["affine"]))
    if "reference" in files:
        settings = replace(settings, reference=files["reference"])
    movings = [(pair.moving, pair.moving_seg) for pair in pairs]
    distinct = len(set(movings))
    kept = distinct if request.atlas else KEPT if distinct < len(movings) else 0
    threads = request.threads_per_worker
    if threads is None and slurm is not None:
        threads = int(slurm["cores"])
    if threads is None and request.scheduler is None:
        threads = max(1, _cores() // _workers(request, slurm).count)
    return Assignment(
        model=request.model.absolute(),
        model_digest=content_of(request.model).digest,
        settings=settings,
        setting_digests={role: content_of(path).digest for role, path in settings.files().items()},
        out=request.out.absolute(),
        force=request.force,
        threads=threads,
        atlases=kept,
    )


def _workers(request: Request, slurm: dict[str, Any] | None) -> Workers:
    gpus = request.gpus or ()
    here = slurm is None and request.scheduler is None
    if here and not gpus and request.device in ("auto", "cuda"):
        gpus = _gpus()
    count = request.workers or len(gpus) or (1 if not here else max(1, _cores() // CORES_EACH))
    return Workers(count, request.scheduler, slurm, gpus, request.dashboard, request.verbose)


def _gpus() -> tuple[int, ...]:
    from vmruntime.cuda.probe import probe

    return tuple(device.ordinal for device in probe().devices)


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _require_sense(request: Request) -> None:
    """Refuse options that cannot do anything together."""
    if (request.pairs is None) == (not request.atlas):
        raise click.UsageError("give either --pairs, or --atlas and --subjects")
    if request.atlas and not request.subjects:
        raise click.UsageError("--atlas needs --subjects")
    if request.subjects and not request.atlas:
        raise click.UsageError("--subjects needs --atlas; with --pairs the table names the scans")
    if request.fuse and len(request.atlas) < 2:
        raise click.UsageError("--fuse needs two or more --atlas")
    if request.fuse and "labels" not in request.write:
        raise click.UsageError("--fuse needs the carried labels: add labels to --write")
    if request.fuse == "local-ncc" and "moved" not in request.write:
        raise click.UsageError("--fuse local-ncc needs the carried scans: add moved to --write")
    if request.scheduler and request.slurm:
        raise click.UsageError("give one of --scheduler and --slurm")
    if request.scheduler and request.workers:
        raise click.UsageError("--workers starts workers; those of --scheduler run already")
    if request.gpus and (request.scheduler or request.slurm):
        raise click.UsageError("--gpus is for workers here; elsewhere CUDA_VISIBLE_DEVICES says it")
    if request.gpus and request.device == "cpu":
        raise click.UsageError("--gpus and --device cpu exclude each other")


def _plan(batch: Batch) -> str:
    """What would be done."""
    done, todo = split(batch)
    lines = [f"{len(batch.pairs)} pairs, {len(done)} done already, {len(todo)} to do:"]
    lines += [f"{pair.id}\t{pair.moving}\t{pair.fixed}" for pair in todo]
    if batch.workers.slurm is not None:
        from vmruntime.batch.slurm import job_script

        lines += [f"\n{batch.workers.count} jobs of:\n", job_script(batch.workers.slurm)]
    return "\n".join(lines)


def _write_tables(batch: Batch, outcome: Outcome) -> None:
    out = Layout(batch.assignment.out).out
    results = [outcome.results[pair.id] for pair in batch.pairs if pair.id in outcome.results]
    write_results(out / "results.tsv", results)
    if batch.fuse:
        rows = [(fused.subject, "fused", fused.volumes) for fused in outcome.fused.values()
                if fused.status == "done"]  # fmt: skip
    else:
        rows = [(r.pair.subject, r.pair.id, r.volumes) for r in results
                if r.status == "done" and r.pair.moving_seg]  # fmt: skip
    if rows:
        write_volumes(out / "volumes.tsv", rows)


def _cohort(request: Request, batch: Batch, outcome: Outcome) -> Cohort:
    """What the page is about."""
    return Cohort(
        out=batch.assignment.out,
        model=request.model.name,
        results=[outcome.results[pair.id] for pair in batch.pairs],
        fused=list(outcome.fused.values()),
        method=batch.fuse,
        pictures="moved" in request.write,
    )


def _summary(request: Request, batch: Batch, outcome: Outcome) -> str:
    states = [result.status for result in outcome.results.values()]
    new = states.count("done") - outcome.before
    text = f"{len(states)} pairs: {new} registered"
    if outcome.before:
        text += f", {outcome.before} done before"
    if failed := states.count("failed"):
        text += f", {failed} failed"
    if new and outcome.seconds:
        text += f"; {duration(outcome.seconds)}, {new / outcome.seconds * 60:.1f} pairs/min"
    lines = [text]
    if batch.fuse:
        fused = [fused.status for fused in outcome.fused.values()]
        lines.append(f"{fused.count('done')} of {len(fused)} subjects fused by {batch.fuse}")
    names = ["results.tsv", "volumes.tsv", *(["report.html"] if request.report else [])]
    lines += [str(request.out / name) for name in names if (request.out / name).exists()]
    return "\n".join(lines)


def _require_success(batch: Batch, outcome: Outcome) -> None:
    """Raise where something failed, for the exit code; each was named when it did."""
    failed = [result.pair.id for result in outcome.results.values() if result.status == "failed"]
    unfused = [fused.subject for fused in outcome.fused.values() if fused.status == "failed"]
    parts = []
    if failed:
        parts.append(f"{len(failed)} of {len(batch.pairs)} pairs failed: {', '.join(failed)}")
    if unfused:
        parts.append(f"{len(unfused)} subjects were not fused: {', '.join(unfused)}")
    if parts:
        raise BatchError(
            f"{'; '.join(parts)}; see {batch.assignment.out / 'results.tsv'}, and run again when "
            "they are mended"
        )


def _say(text: str) -> None:
    click.echo(text, err=True)
