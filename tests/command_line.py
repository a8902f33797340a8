"""Running the commands in a process of their own, and judging how they failed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import vmruntime


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file below a folder, hidden ones too, with its size and time of change."""
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def one_error_line(code: int, stderr: str) -> str:
    """Check that a command failed as a command should; its message."""
    assert code == 1, stderr
    lines = stderr.splitlines()
    assert len(lines) == 1, stderr
    assert lines[0].startswith("Error: ")
    assert "unexpected" not in lines[0], lines[0]
    assert "Traceback" not in stderr
    return lines[0]


def command(name: str, *arguments: object) -> list[str]:
    """A command line that runs vm-NAME in a process of its own."""
    code = f"from vmruntime.cli.{name} import main; main(prog_name='vm-{name}')"
    return [sys.executable, "-c", code, *map(str, arguments)]


def environment() -> dict[str, str]:
    """Environment of such a process."""
    return os.environ | {"PYTHONPATH": str(Path(vmruntime.__file__).parents[1])}


def outside(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run vm-NAME in a process of its own, as a user does."""
    return subprocess.run(
        command(name, *arguments),
        capture_output=True,
        text=True,
        env=environment(),
        timeout=120,
        check=False,
    )
