"""Which candidate to recommend, and why, in a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vmcalibration.candidates import Candidate
from vmcalibration.evaluation import Evaluation
from vmcalibration.options import CalibrationOptions
from vmcalibration.timing import Timing

__all__ = ["SPARE", "Decision", "Verdict", "decide"]

SPARE = 0.8
"""Of the budget in mm that a candidate may use up: pairs that were not seen may be worse."""

PAYS = 0.9
"""Of another's seconds: faster by less than this is no reason to prefer it."""


@dataclass(frozen=True)
class Verdict:
    """Whether a candidate meets the budgets.

    Parameters
    ----------
    candidate
        Its name.
    meets
        Whether it does.
    p99_mm, max_mm
        Largest of all pairs and ways of running it; infinite where a value overflowed.
    dice_loss
        Largest loss of mean Dice in a pair; None where no pair has labels.
    reason
        Why not, in a phrase; empty where it does.
    """

    candidate: str
    meets: bool
    p99_mm: float
    max_mm: float
    dice_loss: float | None
    reason: str


@dataclass(frozen=True)
class Decision:
    """The recommendation.

    Parameters
    ----------
    recommended
        The candidate.
    verdicts
        Of all candidates.
    sentence
        For people.
    declined
        Why each of the others was not taken, a sentence each.
    """

    recommended: str
    verdicts: tuple[Verdict, ...]
    sentence: str
    declined: tuple[str, ...]


def decide(
    candidates: Sequence[Candidate],
    evaluations: Sequence[Evaluation],
    timings: Mapping[str, Timing],
    options: CalibrationOptions,
    unplanned: Mapping[str, str],
) -> Decision:
    """Recommend the fastest candidate that meets the budgets; of equally fast ones the smallest.

    Where one number format was asked for, it is recommended if it meets the budgets, whatever its
    seconds: it may be for another machine. The sentence says what it costs on this one.

    Parameters
    ----------
    candidates
        The first one is float32.
    evaluations
        Of every pair.
    timings
        Of the candidates that this machine can run.
    options
        The budgets.
    unplanned
        Number formats that no candidate was made of, and why.
    """
    verdicts = [_judge(candidate, evaluations, options) for candidate in candidates]
    usable = [
        candidate
        for candidate, verdict in zip(candidates, verdicts, strict=True)
        if verdict.meets and candidate.name in timings
    ]
    asked = [c for c in usable[1:] if options.precision != "auto"]
    usable = asked or usable
    fastest = min(timings[candidate.name].seconds for candidate in usable)
    close = [c for c in usable if timings[c.name].seconds * PAYS <= fastest]
    best = min(close, key=lambda candidate: candidate.bytes)
    by_name = {verdict.candidate: verdict for verdict in verdicts}
    declined = [f"{reason}" for reason in unplanned.values()]
    for candidate in candidates[1:]:
        if candidate is not best:
            declined.append(_why_not(candidate, best, by_name[candidate.name], timings, options))
    sentence = _sentence(best, by_name[best.name], candidates[0], timings, options)
    if best is candidates[0] and len(candidates) + len(unplanned) > 1:
        sentence += ", because nothing lower meets the budget and pays: " + "; ".join(declined)
    elif best is candidates[0]:
        sentence += ", because nothing else was tried"
    return Decision(best.name, tuple(verdicts), sentence + ".", tuple(declined))


def _judge(
    candidate: Candidate, evaluations: Sequence[Evaluation], options: CalibrationOptions
) -> Verdict:
    base = {e["pair"]: e for e in evaluations if e["candidate"] == "fp32"}
    own = [e for e in evaluations if e["candidate"] == candidate.name]
    p99 = max((_or_infinite(e["error"]["p99_mm"]) for e in own), default=float("inf"))
    largest = max((_or_infinite(e["error"]["max_mm"]) for e in own), default=float("inf"))
    losses = [base[e["pair"]]["dice"] - e["dice"] for e in own if e["dice"] is not None]
    loss = max(losses) if losses else None
    reasons = []
    if candidate.name != "fp32":
        if p99 == float("inf"):
            reasons.append("its displacement is not finite")
        elif p99 > SPARE * options.budget_mm:
            reasons.append(
                f"99 % of the voxels are within {p99:.3g} mm of float32, "
                f"{SPARE * options.budget_mm:.3g} mm is what the budget of {options.budget_mm:g} "
                "mm allows for pairs that were seen"
            )
        if loss is not None and loss > options.budget_dice:
            reasons.append(f"mean Dice falls by {loss:.4f}, the budget is {options.budget_dice:g}")
    return Verdict(candidate.name, not reasons, p99, largest, loss, " and ".join(reasons))


def _why_not(
    candidate: Candidate,
    best: Candidate,
    verdict: Verdict,
    timings: Mapping[str, Timing],
    options: CalibrationOptions,
) -> str:
    if not verdict.meets:
        return f"{candidate.title} does not meet the budget ({verdict.reason})"
    if candidate.name not in timings:
        return f"{candidate.title} meets the budget, but {candidate.note or 'does not run here'}"
    own, other = timings[candidate.name], timings[best.name]
    if own.seconds * PAYS > other.seconds:
        return (
            f"{candidate.title} meets the budget and is slower here: {own.seconds:.2f} s against "
            f"{other.seconds:.2f} s"
        )
    return (
        f"{candidate.title} meets the budget and does not pay here: {own.seconds:.2f} s and "
        f"{candidate.bytes / 1e6:.2f} MB against {other.seconds:.2f} s and "
        f"{best.bytes / 1e6:.2f} MB"
    )


def _sentence(
    best: Candidate,
    verdict: Verdict,
    base: Candidate,
    timings: Mapping[str, Timing],
    options: CalibrationOptions,
) -> str:
    own, reference = timings[best.name], timings[base.name]
    cost = f"{own.seconds:.2f} s and {own.peak_mb / 1000:.2f} GB with {own.engine}"
    if best is base:
        return f"Use FP32 ({cost})"
    if verdict.dice_loss is None:
        dice = "no pair has labels, so that the Dice budget was not judged"
    else:
        dice = (
            f"mean Dice changes by {-verdict.dice_loss or 0.0:+.4f} at worst "
            f"(budget {-options.budget_dice:g})"
        )
    how = f"; {best.note}" if best.note else ""
    return (
        f"Use {best.title}: 99 % of the voxels are within {verdict.p99_mm:.2g} mm of FP32 "
        f"(budget {options.budget_mm:g} mm), {dice}, and a displacement takes {cost}, "
        f"against {reference.seconds:.2f} s and {reference.peak_mb / 1000:.2f} GB in FP32{how}"
    )


def _or_infinite(value: Any) -> float:
    return float("inf") if value is None else float(value)
