"""Run a command and measure it from outside: the time until it ended, and when it said what.

    python -S launch.py COMMAND...

A small process in between, which imports nothing else: the peak memory that the kernel reports for
a command begins with what the process had that started it. Prints JSON; the command's own output
is in it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

__all__ = ["main"]


def main() -> None:
    """Run and report."""
    start = time.perf_counter()
    process = subprocess.Popen(sys.argv[1:], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert process.stderr
    lines = [
        (time.perf_counter() - start, line.decode(errors="replace").rstrip())
        for line in process.stderr
    ]
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    report = {
        "wall": wall,
        "cpu": used.ru_utime + used.ru_stime,
        "peak_gb": used.ru_maxrss * 1024 / 1e9,
        "code": os.waitstatus_to_exitcode(status),
        "lines": lines,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
