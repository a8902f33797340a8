"""Commands measured from outside, each in a fresh process."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Ran", "run"]


@dataclass(frozen=True)
class Ran:
    """What a command took.

    Parameters
    ----------
    wall, cpu
        Seconds from its start to its end.
    peak_gb
        Its highest resident memory.
    stages
        Seconds from each line ``name ...`` on stderr to the next, under these names; ``start``
        is what came before the first.
    """

    wall: float
    cpu: float
    peak_gb: float
    stages: dict[str, float]


def run(
    command: Sequence[object], environment: Mapping[str, str], limit: float | None = None
) -> Ran:
    """Run a command to its end.

    Parameters
    ----------
    command
        Program and arguments; anything with a fitting `str`.
    environment
        Its environment variables.
    limit
        Seconds after which it is ended.

    Raises
    ------
    RuntimeError
        It failed, with the last line of what it said.
    TimeoutError
        It took longer than the limit.
    """
    launcher = Path(__file__).with_name("launch.py")
    with subprocess.Popen(
        [sys.executable, "-S", str(launcher), *map(str, command)],
        stdout=subprocess.PIPE, text=True, env=dict(environment), start_new_session=True,
    ) as process:  # fmt: skip
        try:
            out, _ = process.communicate(timeout=limit)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)  # the command with what started it
            if isinstance(error, subprocess.TimeoutExpired):
                raise TimeoutError(f"ended after the limit of {limit:.0f} s") from None
            raise
    found = json.loads(out)
    if found["code"]:
        said = found["lines"][-1][1] if found["lines"] else "nothing was said"
        raise RuntimeError(f"exit code {found['code']}: {said}")
    return Ran(found["wall"], found["cpu"], found["peak_gb"], stages_of(found))


def stages_of(found: Mapping[str, object]) -> dict[str, float]:
    """Seconds of each stage that a command announced."""
    lines: list[tuple[float, str]] = found["lines"]  # type: ignore[assignment]
    said = [(at, line[:-4]) for at, line in lines if line.endswith(" ...")]
    moments = [(0.0, "start"), *said, (float(found["wall"]), "")]  # type: ignore[arg-type]
    seconds: dict[str, float] = {}
    for (at, name), (after, _) in itertools.pairwise(moments):
        seconds[name] = seconds.get(name, 0.0) + after - at
    return seconds
