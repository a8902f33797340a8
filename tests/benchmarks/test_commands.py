"""Commands measured from outside."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import pytest


def python(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", code]


def test_time_memory_and_stages(module: Any) -> None:
    code = (
        "import sys, time; say = lambda t: print(t, file=sys.stderr, flush=True)\n"
        "say('load ...'); block = b'1' * 200_000_000\n"
        "say('work ...'); time.sleep(1); say('a remark'); say('work ...'); say('write ...')"
    )
    ran = module("commands").run(python(code), os.environ)
    assert list(ran.stages) == ["start", "load", "work", "write"]
    assert sum(ran.stages.values()) == pytest.approx(ran.wall)
    # Less than was slept: a busy machine reads a line later than it was said.
    assert ran.stages["work"] >= 0.5
    assert ran.cpu > 0
    assert 0.2 < ran.peak_gb < 0.3


def test_the_memory_of_the_caller_does_not_count(module: Any) -> None:
    block = bytearray(400_000_000)
    ran = module("commands").run(python("pass"), os.environ)
    assert len(block) > 0
    assert ran.peak_gb < 0.1


def test_a_command_that_fails_says_why(module: Any) -> None:
    with pytest.raises(RuntimeError, match="exit code 3: out of tea"):
        module("commands").run(
            python("import sys; print('out of tea', file=sys.stderr); sys.exit(3)"), os.environ
        )


def test_a_command_that_is_too_slow_is_ended(module: Any, tmp_path: Any) -> None:
    told = tmp_path / "told"
    code = f"import time; time.sleep(3); open({str(told)!r}, 'w')"
    start = time.perf_counter()
    with pytest.raises(TimeoutError, match="after the limit of 1 s"):
        module("commands").run(python(code), os.environ, limit=1)
    assert time.perf_counter() - start < 60
    time.sleep(3)
    assert not told.exists(), "the command itself was ended, not only what started it"
