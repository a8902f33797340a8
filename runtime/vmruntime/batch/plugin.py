"""What Dask's workers run: a desk as a worker plugin, and the tasks that use it.

The only module that needs `distributed` to be imported: a plugin has to derive from its class.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping
from typing import Any

from distributed import Worker, WorkerPlugin, get_worker

from vmruntime.batch.desk import Assignment, Desk
from vmruntime.batch.errors import BatchError
from vmruntime.batch.fuse import Method, fuse
from vmruntime.batch.pair import Pair
from vmruntime.batch.record import Record
from vmruntime.errors import DeviceLostError

__all__ = ["DeskPlugin", "fuse_subject", "register_pair", "see_only", "workers_by_host"]


class DeskPlugin(WorkerPlugin):
    """Opens a `Desk` in every worker process, once, also in those that come later.

    Parameters
    ----------
    name
        What tasks find it by; unique to the run.
    assignment
        What to do.
    gpus
        Numbers of the GPUs that the workers named 0, 1, ... take in turn; empty for the device of
        the settings.
    shared
        How many workers a host had when the batch began, by host: they share its cores.
    """

    def __init__(
        self,
        name: str,
        assignment: Assignment,
        gpus: tuple[int, ...] = (),
        shared: Mapping[str, int] | None = None,
    ) -> None:
        self.name = name
        self.assignment = assignment
        self.gpus = gpus
        self.shared = dict(shared or {})
        self.desk: Desk | None = None

    async def setup(self, worker: Worker) -> None:
        """Load the model, beside the worker's event loop."""
        if self.gpus:
            see_only(self.gpus[int(str(worker.name)) % len(self.gpus)])
        threads = self.assignment.threads
        if threads is None:
            beside = self.shared.get(_host(worker.address), 1)
            threads = max(1, len(os.sched_getaffinity(0)) // beside)
        # A worker without a name is called by its address, protocol and all.
        named = f"{socket.gethostname()}/{str(worker.name).rpartition('://')[2]}"
        self.desk = await asyncio.to_thread(Desk.open, self.assignment, threads, named)

    async def teardown(self, worker: Worker) -> None:
        """Release the model."""
        if self.desk is not None:
            await asyncio.to_thread(self.desk.close)
            self.desk = None

    def at_work(self) -> Desk:
        """The desk."""
        assert self.desk is not None  # a worker whose plugin could not be set up runs no task
        return self.desk


def register_pair(plugin: str, pair: Pair) -> Record:
    """Task: register a pair at this worker's desk; see `Desk.register`."""
    try:
        return _plugin(plugin).at_work().register(pair)
    except DeviceLostError:
        # Nothing in this process can use the GPU any more. Without it the worker would fail all
        # that is left, and faster than the others work: its nanny starts a new one.
        os._exit(1)


def fuse_subject(plugin: str, subject: str, pairs: tuple[Pair, ...], method: Method) -> Record:
    """Task: fuse the carried labels of a subject; see `vmruntime.batch.fuse.fuse`."""
    desk = _plugin(plugin).at_work()
    with desk.hold():
        return fuse(desk.assignment.out, subject, pairs, method, desk.assignment.force, desk.worker)


def workers_by_host(workers: Mapping[str, Any]) -> dict[str, int]:
    """How many of a scheduler's workers run on each host."""
    hosts = [_host(address) for address in workers]
    return {host: hosts.count(host) for host in hosts}


def see_only(gpu: int) -> None:
    """Leave this process one of the GPUs that it sees, before it has used any.

    So ``--device auto`` means here what it means everywhere: that GPU, or else the processor.
    """
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = seen.split(",") if seen else []
    if names and gpu >= len(names):
        raise BatchError(f"there is no GPU {gpu}: CUDA_VISIBLE_DEVICES leaves {seen}")
    os.environ["CUDA_VISIBLE_DEVICES"] = names[gpu] if names else str(gpu)


def _host(address: str) -> str:
    return address.rpartition("://")[2].rpartition(":")[0]


def _plugin(name: str) -> DeskPlugin:
    plugin = get_worker().plugins[name]
    assert isinstance(plugin, DeskPlugin)
    return plugin
