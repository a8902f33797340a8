"""All that is measured, stage after stage, each kept as soon as it is there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import onnx

from vmcalibration.candidates import (
    Candidate,
    bf16_candidate,
    ends,
    float32_candidate,
    planned_candidate,
)
from vmcalibration.decision import Decision, decide
from vmcalibration.errors import CalibrationError
from vmcalibration.evaluation import ErrorMap, Evaluation, evaluate_pair
from vmcalibration.loading import load_pair
from vmcalibration.machine import computes_bfloat16
from vmcalibration.options import CalibrationOptions
from vmcalibration.pairs import PairFiles
from vmcalibration.plans import Plans, make_plans
from vmcalibration.ranges import Ranges
from vmcalibration.risks import Risk, find_risks
from vmcalibration.state import State
from vmcalibration.timing import Timing, time_candidate
from vmcalibration.trial import Trial
from vmexport.errors import ExportError
from vmexport.precision import Layer, find_layers
from vmexport.verification import Pair
from vmruntime.artifact import Artifact
from vmruntime.errors import VMError, one_line

__all__ = ["Measured", "measure"]

Announce = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Measured:
    """Everything that was found.

    Parameters
    ----------
    model, layers
        The float32 model and the layers of its U-Net.
    used, skipped
        The pairs that could be used, and the others with why not.
    ranges, risks
        What flows through it, and what float16 does not hold.
    plans
        Sensitivities and plans.
    candidates
        The number formats; the first is float32.
    evaluations
        Of each pair, candidate and way to run it.
    maps
        Where each candidate's error is, in its worst pair; by candidate, with the pair's name.
    timings
        Of the candidates that this machine runs.
    decision
        The recommendation.
    threads
        Threads that were used.
    """

    model: onnx.ModelProto
    layers: tuple[Layer, ...]
    used: tuple[PairFiles, ...]
    skipped: dict[str, str]
    ranges: Ranges
    risks: tuple[Risk, ...]
    plans: Plans
    candidates: tuple[Candidate, ...]
    evaluations: list[Evaluation]
    maps: dict[str, tuple[str, ErrorMap]]
    timings: dict[str, Timing]
    decision: Decision
    threads: int


def measure(
    artifact: Artifact,
    pairs: Sequence[PairFiles],
    options: CalibrationOptions,
    state: State,
    announce: Announce,
    warn: Announce,
) -> Measured:
    """Collect ranges, plan, make the candidates, evaluate and time them, decide.

    Raises
    ------
    CalibrationError
        None of the pairs can be used.
    """
    threads = options.threads or len(os.sched_getaffinity(0))
    artifact = _with_file(artifact, state)
    model = onnx.load_from_string(artifact.model)
    layers = find_layers(model)
    reader = _Reader(artifact, pairs, options, threads, state, warn)
    ranges = _ranges(model, reader, state, announce, threads)
    risks = find_risks(model, layers, ranges)
    for risk in risks:
        if risk.kind == "overflow":
            announce(f"overflow in float16: {risk.text}")

    def trial(whole: bool) -> Trial:
        pair = next(iter(reader))[1]
        return Trial(model, artifact.manifest, pair, threads, whole=whole)

    plans = make_plans(model, layers, ranges, risks, options, state, trial, announce)
    candidates, unplanned = _candidates(model, layers, artifact, plans, options, state)
    evaluations, maps = _evaluate(reader, candidates, artifact, options, state, announce, threads)
    timings = _time(reader, candidates, options, state, announce, threads)
    decision = decide(candidates, evaluations, timings, options, unplanned)
    used = tuple(pair for pair in pairs if pair.name not in reader.skipped)
    return Measured(
        model, layers, used, reader.skipped, ranges, risks, plans, candidates, evaluations, maps,
        timings, decision, threads,
    )  # fmt: skip


@dataclass(eq=False)
class _Reader:
    """Reads the pairs one after the other, and leaves out those that cannot be used."""

    artifact: Artifact
    pairs: Sequence[PairFiles]
    options: CalibrationOptions
    threads: int
    state: State
    warn: Announce
    skipped: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.skipped = self.state.get("skipped") or {}

    def __iter__(self) -> Iterator[tuple[PairFiles, Pair]]:
        for files in self.pairs:
            if files.name in self.skipped:
                continue
            try:
                pair = load_pair(
                    files, self.artifact.manifest, self.threads, self.options.intensity
                )
            except VMError as error:
                self.skip(files, error)
                continue
            yield files, pair
        if len(self.skipped) == len(self.pairs):
            reason = next(iter(self.skipped.values()))
            raise CalibrationError(f"none of the pairs can be used; the first one: {reason}")

    def skip(self, files: PairFiles, error: VMError) -> None:
        """Leave a pair out from now on."""
        self.skipped[files.name] = one_line(error, limit=1000)
        self.state.put("skipped", self.skipped)
        self.warn(f"{files.name}: is left out: {self.skipped[files.name]}")


def _ranges(
    model: onnx.ModelProto, reader: _Reader, state: State, announce: Announce, threads: int
) -> Ranges:
    done = state.get("ranges_done") or []
    arrays = state.arrays(f"ranges_{len(done)}") if done else None
    ranges = Ranges.from_arrays(arrays) if arrays else Ranges()
    done = done if arrays else []
    for files, pair in reader:
        if files.name in done:
            continue
        announce(f"ranges of {files.name}")
        try:
            ranges.collect(model, pair, threads)
        except CalibrationError as error:
            reader.skip(files, error)
            continue
        done = [*done, files.name]
        # Arrays first, under a name that only the list of pairs makes valid.
        state.put_arrays(f"ranges_{len(done)}", ranges.to_arrays())
        state.put("ranges_done", done)
    return ranges


def _candidates(
    model: onnx.ModelProto,
    layers: tuple[Layer, ...],
    artifact: Artifact,
    plans: Plans,
    options: CalibrationOptions,
    state: State,
) -> tuple[tuple[Candidate, ...], dict[str, str]]:
    """What is worth measuring, and why there is nothing to measure of the other formats."""
    backend = options.backend
    found = [float32_candidate(artifact, backend)]
    unplanned: dict[str, str] = {}
    for lower, planned in plans.planned.items():
        upper = lower.upper()
        if planned.plan.precision == "fp32":
            unplanned[lower] = (
                f"{upper} cannot meet the budget with any set of layers that was tried "
                f"({plans.smallest_error(lower)})"
            )
        else:
            found.append(planned_candidate(model, artifact, planned.plan, state.folder, backend))
        kept = set(planned.plan.kept)
        floor = ends(layers, model) if lower == "int8" else set()
        if kept - floor:
            everything = plans.plan_of_all(layers, lower, floor)
            try:
                name = f"{lower}-all"
                candidate = planned_candidate(
                    model, artifact, everything, state.folder, backend, name
                )
            except ExportError:  # weights that float16 does not hold
                continue
            found.append(candidate)
    if options.tries("bf16"):
        native = computes_bfloat16() and backend in ("auto", "openvino")
        found.append(bf16_candidate(model, artifact, native))
    return tuple(found), unplanned


def _evaluate(
    reader: _Reader,
    candidates: Sequence[Candidate],
    artifact: Artifact,
    options: CalibrationOptions,
    state: State,
    announce: Announce,
    threads: int,
) -> tuple[list[Evaluation], dict[str, tuple[str, ErrorMap]]]:
    done: dict[str, list[Evaluation]] = state.get("evaluations") or {}
    for files, pair in reader:
        if files.name in done:
            continue
        found, maps = evaluate_pair(
            pair,
            candidates,
            artifact.manifest.voxel_size,
            options.labels,
            threads,
            lambda text, name=files.name: announce(f"{name}: {text}"),  # type: ignore[misc]
        )
        for candidate_name, planes in maps.items():
            state.put_arrays(f"map_{len(done)}_{candidate_name}", planes)
        done[files.name] = found
        state.put("evaluations", done)
    everything = [evaluation for found in done.values() for evaluation in found]
    worst: dict[str, tuple[str, ErrorMap]] = {}
    for candidate in candidates:
        own = [e for e in everything if e["candidate"] == candidate.name]
        pair_name = max(own, key=_error)["pair"]
        kept = state.arrays(f"map_{list(done).index(pair_name)}_{candidate.name}")
        if kept is not None:
            worst[candidate.name] = (pair_name, dict(kept))
    return everything, worst


def _error(evaluation: Evaluation) -> float:
    value = evaluation["error"]["p99_mm"]
    return float("inf") if value is None else float(value)


def _time(
    reader: _Reader,
    candidates: Sequence[Candidate],
    options: CalibrationOptions,
    state: State,
    announce: Announce,
    threads: int,
) -> dict[str, Timing]:
    stored: dict[str, Any] = state.get("timings") or {}
    waiting = [c for c in candidates if c.name not in stored and c.timed is not None]
    if waiting:
        _, pair = next(iter(reader))
        for candidate in waiting:
            announce(f"seconds and memory of {candidate.title}")
            timing = time_candidate(candidate, pair, state.folder, threads, options.repeats)
            if timing is not None:
                stored[candidate.name] = asdict(timing)
                state.put("timings", stored)
    return {name: Timing(**values) for name, values in stored.items()}


def _with_file(artifact: Artifact, state: State) -> Artifact:
    """The model in a file that stays: one exported from a checkpoint has none any more."""
    path = state.folder / "model_fp32.onnx"
    path.write_bytes(artifact.model)
    return replace(artifact, path=path)
