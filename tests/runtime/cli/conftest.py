"""Running vm-infer inside the test process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from command_line import one_error_line, snapshot
from vmruntime.cli.infer import main as vm_infer

Run = Callable[..., Result]


@pytest.fixture
def infer(tiny_artifact: Path, pair: dict[str, Path]) -> Run:
    """vm-infer on the tiny artifact and the pair, whose files options may replace."""

    def run(*options: object, model: Path = tiny_artifact, **files: object) -> Result:
        chosen = {"moving": pair["moving"], "fixed": pair["fixed"]} | files
        arguments = [str(model), "--threads", "2"]
        for name, path in chosen.items():
            arguments += [f"--{name.replace('_', '-')}", str(path)]
        return CliRunner().invoke(vm_infer, arguments + [str(option) for option in options])

    return run


@pytest.fixture
def refused(infer: Run, tmp_path: Path) -> Callable[..., str]:
    """Runs vm-infer, expects one line on stderr and exit code 1, and nothing changed on disk.

    Writes to ``out/moved.nii.gz`` below the test's folder where no output is given; what stands
    there already must stay as it is.
    """

    def run(*options: object, **files: object) -> str:
        out = tmp_path / "out"
        out.mkdir(exist_ok=True)
        given = {"moved", "warp", "report", "inverse_warp", "moved_seg"} & files.keys()
        if not given:
            files["moved"] = out / "moved.nii.gz"
        before = snapshot(tmp_path)
        result = infer(*options, **files)
        assert snapshot(tmp_path) == before
        assert result.stdout == ""
        return one_error_line(result.exit_code, result.stderr)

    return run
