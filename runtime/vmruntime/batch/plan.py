"""What a batch is to do, what is done of it, and what is left."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from vmruntime.batch.cluster import Workers
from vmruntime.batch.desk import Assignment, finished_record
from vmruntime.batch.fuse import Fused, Method
from vmruntime.batch.pair import Pair
from vmruntime.batch.record import Record
from vmruntime.batch.results import Result
from vmruntime.errors import VMError

__all__ = ["Batch", "Outcome", "split"]

CHECKERS = 8
"""Threads that look what is finished: mostly they wait for the disk."""


@dataclass(frozen=True)
class Batch:
    """What is to be done.

    Parameters
    ----------
    pairs
        Which pairs; those of one subject follow each other.
    assignment
        How each of them is registered.
    workers
        Who does it.
    retries
        How many times more a pair is tried that failed.
    fuse
        How the atlases of a subject vote, or None.
    """

    pairs: Sequence[Pair]
    assignment: Assignment
    workers: Workers
    retries: int = 2
    fuse: Method | None = None


@dataclass
class Outcome:
    """What came of a batch; filled while it runs.

    Parameters
    ----------
    results
        By pair's id.
    fused
        By subject.
    before
        How many pairs were done by an earlier run.
    seconds
        From the first pair's submission to the last one's end.
    """

    results: dict[str, Result] = field(default_factory=dict)
    fused: dict[str, Fused] = field(default_factory=dict)
    before: int = 0
    seconds: float = 0.0


def split(batch: Batch) -> tuple[dict[str, Record], list[Pair]]:
    """Records of the pairs that are finished, and the pairs that are not."""

    def check(pair: Pair) -> Record | None:
        try:
            return finished_record(batch.assignment, pair)
        except VMError:  # an input that cannot be read: its worker will say so
            return None

    with ThreadPoolExecutor(CHECKERS) as pool:
        found = list(pool.map(check, batch.pairs))
    done = {pair.id: record for pair, record in zip(batch.pairs, found, strict=True) if record}
    return done, [pair for pair in batch.pairs if pair.id not in done]
