"""What importing the batch costs, and that the environment stays as it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import vmruntime
from vmruntime import batch

FOLDER = Path(batch.__file__).parent
NEEDS_DASK = {"plugin"}
"""A worker plugin derives from Dask's class."""


def test_dask_and_engines_are_not_imported() -> None:
    names = [
        f"vmruntime.batch.{path.stem}"
        for path in sorted(FOLDER.glob("*.py"))
        if path.stem not in NEEDS_DASK | {"__init__"}
    ]
    names += ["vmruntime.cli.batch", "vmruntime.cli.batching"]
    code = f"""
import importlib, os, sys
before = dict(os.environ)
for name in {names!r}:
    importlib.import_module(name)
heavy = ["dask", "distributed", "dask_jobqueue", "yaml", "openvino", "onnxruntime", "matplotlib"]
assert dict(os.environ) == before
print([name for name in heavy if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120,
        env={"PYTHONPATH": str(Path(vmruntime.__file__).parents[1]), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "[]", "")


def test_dasks_settings_are_put_back() -> None:
    """Also when the block ends with an error."""
    code = """
import logging, dask, distributed
from vmruntime.batch.cluster import Workers, open_workers
before, level = dask.config.config.copy(), logging.getLogger("distributed").level
try:
    with open_workers(Workers(scheduler="tcp://127.0.0.1:9"), 7) as client:
        raise SystemExit("connected to nobody")
except Exception as error:
    print(type(error).__name__)
assert dask.config.get("distributed.scheduler.allowed-failures") == 3
assert logging.getLogger("distributed").level == level
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (0, "BatchError"), done.stderr
