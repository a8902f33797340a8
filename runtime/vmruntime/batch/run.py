"""Running a batch: what is left to do, submitted to Dask, counted, and stopped in order."""

from __future__ import annotations

import queue
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vmruntime.batch.cluster import open_workers
from vmruntime.batch.errors import BatchError, text_of
from vmruntime.batch.fuse import Fused, finished_fusion
from vmruntime.batch.layout import Layout, remove_leftovers
from vmruntime.batch.lock import only_one
from vmruntime.batch.pair import Pair
from vmruntime.batch.plan import Batch, Outcome, split
from vmruntime.batch.progress import Progress
from vmruntime.batch.results import Result
from vmruntime.batch.stopping import stops_between

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["run_batch"]

ALONE = 60
"""Seconds without any worker after which a batch of own workers is given up."""


def run_batch(batch: Batch, outcome: Outcome, announce: Callable[[str], None]) -> None:
    """Register what is not finished yet.

    Parameters
    ----------
    batch
        What to do.
    outcome
        Filled; it is right at any time, also when this is interrupted.
    announce
        Called with what people want to know while it runs.

    Raises
    ------
    BatchError
        Another batch is at work in the folder, or there are no workers.
    VMError
        The model cannot be loaded.
    OSError
        The folder cannot be made.
    """
    layout = Layout(batch.assignment.out)
    layout.begin()
    with only_one(layout.records):
        done, todo = split(batch)
        for pair in batch.pairs:
            record = done.get(pair.id)
            outcome.results[pair.id] = Result.of(pair, record) if record else Result.pending(pair)
        outcome.before = len(done)
        if done:
            announce(f"{len(done)} of {len(batch.pairs)} pairs are done already")
        run = _Run(batch, outcome, announce, todo)
        if not run.total:
            return
        try:
            with open_workers(run.workers, batch.retries) as client:
                run.work(client)
        except BaseException:
            if batch.workers.scheduler is None:
                # The workers are gone, and with them who would have removed these.
                for pair in todo:
                    planned = layout.outputs(pair, batch.assignment.settings)
                    remove_leftovers([*planned, layout.record(pair.id)])
                for subject in outcome.fused:
                    remove_leftovers(layout.fused(subject).values())
            raise


class _Run:
    """One batch on some workers."""

    def __init__(
        self,
        batch: Batch,
        outcome: Outcome,
        announce: Callable[[str], None],
        todo: Sequence[Pair],
    ) -> None:
        self.batch, self.outcome, self.announce, self.todo = batch, outcome, announce, todo
        self.name = f"vm-batch-{uuid.uuid4().hex[:8]}"
        self.subjects: dict[str, list[Pair]] = {}
        for pair in batch.pairs:
            self.subjects.setdefault(pair.subject, []).append(pair)
        self.fusions = self._unfused() if batch.fuse else []
        self.total = len(todo) + len(self.fusions)
        count = min(batch.workers.count, max(len(todo), 1))
        self.workers = replace(batch.workers, count=count)
        self.events: queue.SimpleQueue[Future[Any] | None] = queue.SimpleQueue()
        self.waiting: dict[Any, Pair | str] = {}

    def _unfused(self) -> list[str]:
        """Subjects whose fused labels are not there; those that are go into the outcome."""
        left = []
        unready = {pair.subject for pair in self.todo}
        assert self.batch.fuse
        for subject, pairs in self.subjects.items():
            record = None
            if subject not in unready:
                record = finished_fusion(
                    self.batch.assignment.out, subject, tuple(pairs), self.batch.fuse
                )
            if record:
                self.outcome.fused[subject] = Fused.of(subject, record)
            else:
                self.outcome.fused[subject] = Fused.pending(subject)
                left.append(subject)
        return left

    def work(self, client: Client) -> None:
        """Do it all."""
        from vmruntime.batch.plugin import DeskPlugin, register_pair, workers_by_host

        progress = Progress(self.total)
        if self.workers.dashboard:
            self.announce(f"dashboard: {client.dashboard_link}")
        own = self.workers.scheduler is None and self.workers.slurm is None
        shared = {} if own else workers_by_host(client.nthreads())
        plugin = DeskPlugin(self.name, self.batch.assignment, self.workers.gpus, shared)
        began = time.monotonic()
        with self._plugged(client, plugin):
            progress.start()
            try:
                futures = client.map(
                    register_pair,
                    [self.name] * len(self.todo),
                    self.todo,
                    key=[(f"{self.name}-pair", number) for number in range(len(self.todo))],
                    retries=self.batch.retries,
                    pure=False,
                )
                for pair, future in zip(self.todo, futures, strict=True):
                    self._watch(future, pair)
                del futures
                for subject in self.fusions:
                    self._fuse_when_ready(client, subject)
                with stops_between(lambda: self.events.put(None)) as check:
                    self._collect(client, progress, own, check)
            except BaseException:
                client.cancel(list(self.waiting), force=True)
                raise
            finally:
                progress.close()
                self.outcome.seconds = time.monotonic() - began

    @contextmanager
    def _plugged(self, client: Client, plugin: Any) -> Iterator[None]:
        """The plugin in every worker; out of workers that are not ours, when all is done."""
        client.register_plugin(plugin, name=self.name)
        try:
            yield
        finally:
            if self.workers.scheduler is not None:
                client.unregister_worker_plugin(self.name)

    def _watch(self, future: Future[Any], what: Pair | str) -> None:
        self.waiting[future] = what
        future.add_done_callback(self.events.put)

    def _collect(
        self, client: Client, progress: Progress, own: bool, check: Callable[[], None]
    ) -> None:
        """Take in what is finished, until all is; `check` raises when this is to stop."""
        alone = 0.0
        told = False
        while self.waiting:
            check()
            try:
                future = self.events.get(timeout=1)
            except queue.Empty:
                alone = 0.0 if client.nthreads() else alone + 1
                if own and alone > ALONE:
                    raise BatchError(
                        "all workers are gone and do not come back; -v shows Dask's log"
                    ) from None
                if not own and alone > 5 and not told:
                    told = True
                    progress.say("waiting for workers ...")
                continue
            if future is None:
                continue
            what = self.waiting.pop(future)
            error = _error_of(future)
            if isinstance(what, Pair):
                self._took(client, what, future, error)
            else:
                self._fused(what, future, error)
            name = what.id if isinstance(what, Pair) else f"{what} fused"
            progress.step(name, failed=error is not None)
            if error is not None:
                progress.say(f"Failed: {name}: {text_of(error)}")

    def _took(
        self, client: Client, pair: Pair, future: Future[Any], error: BaseException | None
    ) -> None:
        if error is None:
            self.outcome.results[pair.id] = Result.of(pair, future.result())
        else:
            self.outcome.results[pair.id] = Result.failed(pair, text_of(error))
        if pair.subject in self.fusions:
            self._fuse_when_ready(client, pair.subject)

    def _fused(self, subject: str, future: Future[Any], error: BaseException | None) -> None:
        if error is None:
            self.outcome.fused[subject] = Fused.of(subject, future.result())
        else:
            self.outcome.fused[subject] = Fused.failed(subject, text_of(error))

    def _fuse_when_ready(self, client: Client, subject: str) -> None:
        """Submit a subject's fusion once all its atlases are carried over."""
        from vmruntime.batch.plugin import fuse_subject

        pairs = tuple(self.subjects[subject])
        states = [self.outcome.results[pair.id].status for pair in pairs]
        if "pending" in states:
            return
        if "failed" in states:
            failed = [pair.id for pair, state in zip(pairs, states, strict=True) if state != "done"]
            text = f"not fused, {', '.join(failed)} failed"
            self.outcome.fused[subject] = Fused.failed(subject, text)
            return
        number = self.fusions.index(subject)
        future = client.submit(
            fuse_subject,
            self.name,
            subject,
            pairs,
            self.batch.fuse,
            key=(f"{self.name}-fuse", number),
            retries=self.batch.retries,
            # Before further pairs: what was just written is still in the system's cache.
            priority=1,
            pure=False,
        )
        self._watch(future, subject)


def _error_of(future: Future[Any]) -> BaseException | None:
    """What a future failed with, or None; also where it was cancelled behind our back.

    A result that was lost with its worker between the news and now is waited for.
    """
    from distributed import CancelledError

    try:
        found = future.exception()
    except CancelledError:
        return BatchError("its task was cancelled by the scheduler; run again")
    assert found is None or isinstance(found, BaseException)
    return found
