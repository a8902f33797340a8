"""Signals that come while Python would forget what they raise."""

from __future__ import annotations

import subprocess
import sys

import pytest

COMMAND = """
import os, queue, signal, sys
from vmruntime.batch.stopping import stops_between

signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))

class Finalized:
    def __del__(self):
        os.kill(os.getpid(), signal.{name})
        for _ in range(1000):  # the handler runs in here
            pass

events = queue.SimpleQueue()
with stops_between(lambda: events.put(None)) as check:
    check()
    one = Finalized()
    del one
    assert events.get(timeout=10) is None
    print("between")
    {check}
    print("behind")
print("outside")
"""


@pytest.mark.parametrize(("name", "status"), [("SIGINT", -2), ("SIGTERM", 143)])
@pytest.mark.parametrize(("check", "said"), [("check()", "between\n"), ("", "between\nbehind\n")])
def test_a_signal_is_not_lost(name: str, status: int, check: str, said: str) -> None:
    command = COMMAND.format(name=name, check=check)
    done = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == status, done.stderr
    assert done.stdout == said
    assert "ignored" not in done.stderr


def test_the_second_signal_acts_at_once() -> None:
    command = COMMAND.format(name="SIGTERM", check="os.kill(os.getpid(), signal.SIGTERM)")
    done = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (143, "between\n")


def test_what_is_ignored_stays_so() -> None:
    command = COMMAND.format(name="SIGINT", check="").replace(
        "signal.default_int_handler", "signal.SIG_IGN"
    ).replace("    assert events.get(timeout=10) is None\n", "")  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "between\nbehind\noutside\n"), done.stderr
