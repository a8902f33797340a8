"""Loaded by Dask into every worker of this machine: Ctrl-C is for the process that started it.

A terminal sends it to all of them. The workers would each die with a traceback, in the middle of a
file; the process that started them stops them in order.
"""

from __future__ import annotations

import signal

__all__ = ["dask_setup"]


def dask_setup(_worker: object) -> None:
    """Ignore Ctrl-C in this process; called by Dask, on its main thread."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
