"""Where a worker registers its pairs: one loaded model, two pairs in hand.

Two threads may come at the same time. On the processor only one of them is in the registration
itself; the other one meanwhile reads the pair that comes next, or measures and writes the one that
is done. A third one waits before it has read anything, so that memory is bounded by two pairs
however many threads a worker has.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vmruntime.artifact import Artifact
from vmruntime.batch.content import Content, content_of, require_unchanged
from vmruntime.batch.errors import BatchError
from vmruntime.batch.layout import Layout, remove_leftovers
from vmruntime.batch.pair import Pair
from vmruntime.batch.record import NAMING, Record, read_record, require_own, write_record
from vmruntime.batch.settings import Settings
from vmruntime.batch.shelf import Shelf
from vmruntime.cli.producing import Files, Inputs, produce, read_labels_of
from vmruntime.io.images import read_scan
from vmruntime.io.outputs import Outputs
from vmruntime.plan_records import is_verified
from vmruntime.registrar import Registrar
from vmruntime.stages import Stages
from vmruntime.version import __version__

__all__ = ["Assignment", "Desk", "finished_record", "key_of"]

IN_HAND = 2
"""Pairs that a worker works on at the same time."""


@dataclass(frozen=True)
class Assignment:
    """What all pairs of a batch have in common.

    Parameters
    ----------
    model
        The artifact's file, the same for all workers.
    model_digest
        What it holds.
    settings
        How the pairs are registered.
    setting_digests
        What the files that the settings name hold, by role.
    out
        Folder of the results, the same for all workers.
    force
        Replace files that vm-batch did not make.
    threads
        Threads of a worker's engine; None for all cores it may run on.
    atlases
        How many moving scans a worker keeps in memory.
    """

    model: Path
    model_digest: str
    settings: Settings
    setting_digests: Mapping[str, str]
    out: Path
    force: bool
    threads: int | None
    atlases: int


def key_of(assignment: Assignment, contents: Mapping[str, Content]) -> dict[str, Any]:
    """What a pair's result depends on, as JSON values."""
    key = {
        "inputs": {role: content.digest for role, content in sorted(contents.items())},
        "model": assignment.model_digest,
        "settings": assignment.settings.to_key(),
        "setting_files": dict(assignment.setting_digests),
        "version": __version__,
    }
    loaded: dict[str, Any] = json.loads(json.dumps(key))
    return loaded


def finished_record(assignment: Assignment, pair: Pair) -> Record | None:
    """The record of a pair that is finished: by content, with all its outputs; else None.

    Raises
    ------
    ScanError
        An input cannot be read.
    """
    layout = Layout(assignment.out)
    record = read_record(layout.record(pair.id))
    if record is None or record.status != "done":
        return None
    contents = {role: content_of(path) for role, path in pair.inputs().items()}
    return record if record.is_done(key_of(assignment, contents), assignment.out) else None


class Desk:
    """A loaded model that registers pairs of a batch and writes what is wanted of them.

    Parameters
    ----------
    assignment
        What to do.
    registrar
        The model; the desk owns it and closes it.
    verified
        What reports say about the artifact.
    worker
        Name that records and tables give this worker.
    """

    def __init__(
        self, assignment: Assignment, registrar: Registrar, verified: bool | None, worker: str
    ) -> None:
        self.assignment = assignment
        self.worker = worker
        self._registrar = registrar
        self._verified = verified
        self._layout = Layout(assignment.out)
        self._shelf = Shelf(assignment.atlases)
        self._closed = False
        self._in_hand = threading.Semaphore(IN_HAND)
        # On a GPU pairs take turns by themselves, and alignment on the processor goes on meanwhile.
        on_processor = registrar.workplace.device == "cpu"
        self._turn: AbstractContextManager[Any] = (
            threading.Lock() if on_processor else nullcontext()
        )

    @classmethod
    def open(cls, assignment: Assignment, threads: int | None, worker: str) -> Desk:
        """Load the model.

        Raises
        ------
        BatchError
            The file here is another one than where the batch was started.
        VMError
            It cannot be loaded, see `Registrar.load`.
        """
        settings = assignment.settings
        if content_of(assignment.model).digest != assignment.model_digest:
            raise BatchError(
                f"{assignment.model}: is another file on worker {worker}; put the model where "
                "all workers see the same"
            )
        artifact = Artifact.read(assignment.model)
        registrar = Registrar.load(
            artifact,
            backend=settings.backend,
            device=settings.device,
            threads=threads,
            precision=settings.precision,
        )
        return cls(assignment, registrar, is_verified(artifact), worker)

    def close(self) -> None:
        """Release the model, once the pairs in hand are done; others are refused from now on."""
        self._closed = True
        for _ in range(IN_HAND):
            self._in_hand.acquire()
        self._registrar.close()
        for _ in range(IN_HAND):
            self._in_hand.release()

    def register(self, pair: Pair) -> Record:
        """Register a pair and write its files, unless that is done already.

        Raises
        ------
        VMError
            See `Registrar.register` and `Outputs`; nothing of the pair was kept.
        OSError
            A file or folder cannot be made.
        """
        with self.hold():
            began = time.perf_counter()
            done = finished_record(self.assignment, pair)
            return done or self._register(pair, began)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Be one of the pairs in hand; also for other work that takes as much memory."""
        with self._in_hand:
            if self._closed:
                raise BatchError("the batch was stopped; run it again")
            yield

    def _register(self, pair: Pair, began: float) -> Record:
        out, stages = self.assignment.out, Stages()
        request = self._layout.request(self.assignment.model, pair, self.assignment.settings)
        planned = self._layout.outputs(pair, self.assignment.settings)
        place = self._layout.record(pair.id)
        earlier = read_record(place)
        if not self.assignment.force:
            require_own(planned, earlier, out)
        # What a worker left that was killed while it wrote this pair.
        remove_leftovers([*planned, place])
        with stages("read"):
            inputs, contents = self._read(pair)
        names = [path.relative_to(out).as_posix() for path in planned]
        kept = dict.fromkeys(earlier.outputs if earlier else (), 0)
        write_record(place, Record("begun", kept | dict.fromkeys(names, 0)))
        self._layout.folder(pair.subject).mkdir(exist_ok=True)
        with Outputs(force=True) as outputs:
            with NAMING:
                files = Files(request, outputs)
            facts = produce(
                request,
                self._registrar,
                inputs,
                files,
                verified=self._verified,
                began=began,
                stages=stages,
                local=self.assignment.settings.local_correlation,
                turn=self._turn,
            )
        record = Record(
            "done",
            {name: (out / name).stat().st_size for name in names},
            key_of(self.assignment, contents),
            facts,
            self.worker,
            round(sum(stages.seconds.values()), 3),
        )
        write_record(place, record)
        return record

    def _read(self, pair: Pair) -> tuple[Inputs, dict[str, Content]]:
        """A pair, and what its files hold."""
        atlas = self._shelf.get(pair.moving, pair.moving_seg)
        files = {"fixed": pair.fixed} | ({"fixed_seg": pair.fixed_seg} if pair.fixed_seg else {})
        contents = {role: content_of(path) for role, path in files.items()}
        fixed = read_scan(pair.fixed)
        fixed_labels = None
        if pair.fixed_seg and pair.moving_seg:
            fixed_labels = read_labels_of(fixed, pair.fixed_seg, "fixed")
        for role, path in files.items():
            require_unchanged(path, contents[role])
        labels = () if atlas.labels is None else (atlas.labels,)
        return Inputs(atlas.scan, fixed, labels, fixed_labels), {**atlas.contents, **contents}
