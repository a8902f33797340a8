"""Which candidate is recommended, from figures alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vmcalibration.candidates import Candidate, Run
from vmcalibration.decision import Decision, decide
from vmcalibration.options import CalibrationOptions
from vmcalibration.timing import Timing
from vmruntime import Artifact, Manifest


@pytest.fixture
def candidate(manifest: Manifest) -> Any:
    def make(name: str, size: int) -> Candidate:
        artifact = Artifact(Path(f"{name}.onnx"), b"0" * size, manifest)
        run = Run("as it is", artifact, "auto")
        return Candidate(name, name.upper(), (run,), run)

    return make


def row(name: str, p99: float | None, dice: float | None = None, pair: str = "a") -> dict[str, Any]:
    error = {"p99_mm": p99, "max_mm": None if p99 is None else 3 * p99}
    return {"candidate": name, "pair": pair, "error": error, "dice": dice}


def timing(seconds: float) -> Timing:
    return Timing(seconds, seconds, seconds, 2 * seconds, 0.1, 900.0, "engine 1 fp32")


@pytest.fixture
def choose(candidate: Any) -> Any:
    """Decide among fp32, fp16 and int8 of 4, 2 and 1 bytes."""

    def run(
        rows: list[dict[str, Any]],
        seconds: tuple[float, float, float] = (2.0, 2.0, 1.0),
        **options: Any,
    ) -> Decision:
        names = {"fp32": 4, "fp16": 2, "int8": 1}
        candidates = [candidate(name, size) for name, size in names.items()]
        timings = {n: timing(s) for n, s in zip(names, seconds, strict=True)}
        return decide(candidates, rows, timings, CalibrationOptions(**options), {})

    return run


def test_the_fastest_that_meets_the_budget(choose: Any) -> None:
    found = choose([row("fp32", 0), row("fp16", 0.01), row("int8", 0.05)])
    assert found.recommended == "int8"
    assert "0.05 mm" in found.sentence
    assert "not judged" in found.sentence


def test_of_equally_fast_ones_the_smallest(choose: Any) -> None:
    found = choose([row("fp32", 0), row("fp16", 0.01), row("int8", 0.5)], (2.0, 2.1, 1.0))
    assert found.recommended == "fp16"
    assert "INT8 does not meet the budget" in found.declined[0]
    assert "0.5 mm" in found.declined[0]


def test_what_meets_the_budget_and_does_not_pay_is_declined_with_figures(choose: Any) -> None:
    found = choose([row("fp32", 0), row("fp16", 0.01), row("int8", 0.05)], (2.0, 2.0, 3.0))
    assert found.recommended == "fp16"
    assert found.declined == ("INT8 meets the budget and is slower here: 3.00 s against 2.00 s",)


def test_the_worst_pair_counts(choose: Any) -> None:
    rows = [row("fp32", 0), row("fp32", 0, pair="b"), row("fp16", 0.01), row("int8", 0.01)]
    rows += [row("fp16", 0.01, pair="b"), row("int8", 0.09, pair="b")]
    assert choose(rows).recommended == "fp16"


def test_seen_pairs_leave_something_of_the_budget(choose: Any) -> None:
    rows = [row("fp32", 0), row("fp16", 0.09), row("int8", 0.09)]
    assert choose(rows).recommended == "fp32"
    assert choose(rows, budget_mm=0.2).recommended == "int8"


def test_dice(choose: Any) -> None:
    rows = [row("fp32", 0, 0.75), row("fp16", 0.01, 0.7495), row("int8", 0.01, 0.746)]
    found = choose(rows)
    assert found.recommended == "fp16"
    assert "mean Dice falls by 0.0040, the budget is 0.002" in found.declined[0]
    assert "mean Dice changes by -0.0005" in found.sentence
    assert choose(rows, budget_dice=0.005).recommended == "int8"


def test_what_overflowed_never_meets_a_budget(choose: Any) -> None:
    rows = [row("fp32", 0), row("fp16", 0.001), row("fp16", None, pair="b"), row("int8", 1.0)]
    found = choose([*rows, row("fp32", 0, pair="b")])
    assert found.recommended == "fp32"
    assert "not finite" in found.sentence


def test_a_budget_that_nothing_meets_says_why(choose: Any) -> None:
    found = choose([row("fp32", 0), row("fp16", 0.01), row("int8", 0.3)], budget_mm=1e-4)
    assert found.recommended == "fp32"
    assert "FP16 does not meet the budget" in found.sentence
    assert "INT8 does not meet the budget" in found.sentence
    assert "\n" not in found.sentence


def test_what_was_asked_for_is_taken_whatever_its_seconds(choose: Any) -> None:
    rows = [row("fp32", 0), row("fp16", 0.01), row("int8", 0.01)]
    assert choose(rows, (1.0, 9.0, 9.0), precision="int8").recommended == "int8"
    assert choose(rows, (1.0, 9.0, 9.0)).recommended == "fp32"
