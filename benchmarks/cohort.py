"""How fast vm-batch is, and whether it gives what vm-infer gives.

    .venv/bin/python benchmarks/cohort.py [--rounds 2] [--output benchmarks/results/cohort.json]

24 pairs, real scans and phantoms mixed, through the official brain model at 160x192x224, files in
to files out: by one warm process that uses all cores, pair after pair, and by ``vm-batch`` with
``--workers``, from the command's start to its end. Both take turns, for a shared machine is not the
same a minute later. Then vm-infer registers the pairs one by one, and its files are compared with
the batch's, byte for byte. Needs the scans; $VM_ASSETS names their folder.
"""

from __future__ import annotations

import contextlib
import csv
import filecmp
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from itertools import permutations
from pathlib import Path
from typing import Any

import click
import numpy as np
import psutil
from machine import describe_machine

from vmexport.artifact import ExportOptions, export_artifact
from vmruntime import Artifact, Registrar
from vmruntime.batch.layout import Layout
from vmruntime.batch.pair import Pair
from vmruntime.batch.pairs_file import read_pairs
from vmruntime.batch.settings import Settings
from vmruntime.cli.producing import Files, produce, read_inputs
from vmruntime.io.outputs import Outputs
from vmruntime.plan_records import is_verified
from vmruntime.stages import Stages

ROOT = Path(__file__).resolve().parents[1]
ASSETS = Path(os.environ.get("VM_ASSETS", ROOT.parent / "shared" / "assets"))
SHAPE = (160, 192, 224)
OFFICIAL = "vxm_dense_brain_T1_3D_mse.h5"
REAL = ("subject_n_aligned", "test_scan_aligned", "oasis_a_aligned", "oasis_b_aligned")
LABELLED = ("subject_n_aligned", "test_scan_aligned")
PHANTOMS = 4
SETTINGS = Settings(intensity="minmax", precision="fp32")
"""Of these scans some are scaled to 255 and some to 1; and only float32 is the same everywhere."""


def make_phantoms(folder: Path) -> list[Path]:
    """Phantoms at 1 mm, with labels beside them."""
    sys.path.insert(0, str(ROOT / "examples"))
    from make_phantom_pair import lia_affine, write_nifti
    from phantom import make_pair

    made = []
    for seed in range(PHANTOMS // 2):
        pair = make_pair(SHAPE, seed, spacing=1.0)
        for scan, labels in (
            (pair.moving, pair.moving_labels),
            (pair.fixed, pair.fixed_labels),
        ):
            path = folder / f"phantom_{len(made)}.nii.gz"
            affine = lia_affine(SHAPE, 1.0)
            write_nifti(path, np.clip(scan, 0, 255).round().astype(np.uint8), affine)
            write_nifti(folder / f"phantom_{len(made)}_labels.nii.gz", labels, affine)
            made.append(path)
    return made


def write_table(folder: Path) -> Path:
    """24 pairs: 12 of real scans on the model's grid, 3 of a native one, 9 of phantoms."""
    scans = ASSETS / "scans"
    rows = []
    for moving, fixed in permutations(REAL, 2):
        labels = [
            scans / f"{name}_aseg.nii.gz" if name in LABELLED else "" for name in (moving, fixed)
        ]
        rows.append([scans / f"{moving}.nii.gz", scans / f"{fixed}.nii.gz", *labels])
    for fixed in REAL[1:]:
        rows.append([scans / "subject_n_native.mgz", scans / f"{fixed}.nii.gz", "", ""])
    for moving, fixed in list(permutations(make_phantoms(folder), 2))[:9]:
        labels = [
            path.with_name(path.name.replace(".nii", "_labels.nii")) for path in (moving, fixed)
        ]
        rows.append([moving, fixed, *labels])
    path = folder / "pairs.csv"
    with open(path, "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["moving", "fixed", "moving_seg", "fixed_seg"])
        table.writerows(rows)
    return path


def some_of(table: Path, other: Path, count: int) -> Path:
    """A table with `count` pairs of every kind."""
    with open(table, newline="") as file:
        head, *rows = csv.reader(file)
    absolute = [[table.absolute().parent / name if name else "" for name in row] for row in rows]
    with open(other, "w", newline="") as file:
        csv.writer(file).writerows([head, *absolute[:: max(len(rows) // count, 1)][:count]])
    return other


def one_process(model: Path, pairs: list[Pair], out: Path) -> dict[str, Any]:
    """Seconds of each pair in one warm process, the first one done once more before."""
    artifact = Artifact.read(model)
    seconds = []
    before = cpu_seconds(resource.RUSAGE_SELF)
    with Registrar.load(artifact, precision=SETTINGS.precision) as registrar:
        for number, pair in enumerate([pairs[0], *pairs]):
            request = Layout(out).request(model, pair, SETTINGS)
            Layout(out).folder(pair.subject).mkdir(parents=True, exist_ok=True)
            began = time.perf_counter()
            stages = Stages()
            with Outputs(force=True) as outputs:
                files = Files(request, outputs)
                with stages("read"):
                    inputs = read_inputs(request)
                produce(
                    request, registrar, inputs, files, verified=is_verified(artifact),
                    began=began, stages=stages, local=False,
                )  # fmt: skip
            if number:
                seconds.append(time.perf_counter() - began)
            shutil.rmtree(Layout(out).folder(pair.subject))
    return {
        "wall": sum(seconds),
        "cpu": cpu_seconds(resource.RUSAGE_SELF) - before,
        "seconds": seconds,
    }


def batch(model: Path, table: Path, out: Path, workers: int) -> dict[str, Any]:
    """Seconds of a whole vm-batch, and the most memory of a worker."""
    command = [
        Path(sys.executable).with_name("vm-batch"), model, "--pairs", table, "-o", out,
        "--workers", workers, "--intensity", SETTINGS.intensity, "--precision", SETTINGS.precision,
    ]  # fmt: skip
    before, began = cpu_seconds(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL)
    peaks: dict[int, int] = {}
    watcher = threading.Thread(target=watch, args=(process, peaks))
    watcher.start()
    code = process.wait()
    wall = time.perf_counter() - began
    watcher.join()
    if code:
        sys.exit(f"vm-batch ended with {code}")
    largest = sorted(peaks.values())[-workers:]
    return {
        "wall": wall,
        "cpu": cpu_seconds(resource.RUSAGE_CHILDREN) - before,
        "worker_peak_gib": [round(peak / 2**30, 2) for peak in largest],
    }


def watch(process: subprocess.Popen[bytes], peaks: dict[int, int]) -> None:
    """Note the largest resident size of each child of a process, as the kernel keeps it."""
    while process.poll() is None:
        try:
            children = psutil.Process(process.pid).children()
        except psutil.Error:
            children = []
        for child in children:
            with contextlib.suppress(OSError, StopIteration):
                lines = Path(f"/proc/{child.pid}/status").read_text().splitlines()
                peak = next(line for line in lines if line.startswith("VmHWM:"))
                peaks[child.pid] = int(peak.split()[1]) << 10
        time.sleep(1)


def compare(model: Path, pairs: list[Pair], out: Path, alone: Path) -> tuple[int, int]:
    """Register one by one with vm-infer; files compared with the batch's, and those that differ."""
    count = different = 0
    for pair in pairs:
        names = Layout(alone).request(model, pair, SETTINGS)
        Layout(alone).folder(pair.subject).mkdir(parents=True)
        command = [
            Path(sys.executable).with_name("vm-infer"), model,
            "--moving", pair.moving, "--fixed", pair.fixed, "--moved", names.moved,
            "--warp", names.warp, "--intensity", SETTINGS.intensity,
            "--precision", SETTINGS.precision,
        ]  # fmt: skip
        for labels, moved in zip(names.moving_seg, names.moved_seg, strict=True):
            command += ["--moving-seg", labels, "--moved-seg", moved]
        subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
        for path in Layout(alone).folder(pair.subject).iterdir():
            other = out / path.relative_to(alone)
            count += 1
            if not filecmp.cmp(path, other, shallow=False):
                different += 1
                print(f"differs: {path.name}", file=sys.stderr)
        shutil.rmtree(Layout(alone).folder(pair.subject))
    return count, different


def cpu_seconds(whose: int) -> float:
    """Processor time of this process, or of its children that have ended."""
    used = resource.getrusage(whose)
    return used.ru_utime + used.ru_stime


@click.command()
@click.option("--rounds", default=2, show_default=True)
@click.option("--workers", default=2, show_default=True)
@click.option("--count", default=24, show_default=True, help="How many of the 24 pairs.")
@click.option("--model", type=click.Path(path_type=Path), help="The official model, exported.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where phantoms are kept.")
@click.option("--note", default="", help="What the result is to say about the machine.")
@click.option("--output", type=click.Path(path_type=Path), help="Write JSON here.")
def main(
    rounds: int,
    workers: int,
    count: int,
    model: Path | None,
    folder: Path | None,
    note: str,
    output: Path | None,
) -> None:
    """Measure, compare and print."""
    if not ASSETS.is_dir():
        sys.exit(f"no scans at {ASSETS}; set VM_ASSETS to their folder")
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        if model is None:
            model = place / "official.onnx"
            export_artifact(ASSETS / "models" / OFFICIAL, model, ExportOptions(shape=SHAPE))
        kept = folder or place
        kept.mkdir(parents=True, exist_ok=True)
        table = kept / "pairs.csv"
        if not table.exists():
            write_table(kept)
        if count < 24:
            table = some_of(table, place / "pairs.csv", count)
        pairs = read_pairs(table)
        measured = []
        for number in range(rounds):
            shutil.rmtree(place / "batch", ignore_errors=True)
            # Who begins changes, so that neither always finds the files in the system's cache.
            runs = [
                lambda: one_process(model, pairs, place / "one"),
                lambda: batch(model, table, place / "batch", workers),
            ]
            found = [run() for run in (runs if number % 2 == 0 else runs[::-1])]
            one, many = found if number % 2 == 0 else found[::-1]
            ratio = many["wall"] / (len(pairs) * statistics.mean(one["seconds"]))
            print(
                f"one process {one['wall']:.1f} s, CPU {one['cpu']:.1f} s; {workers} workers "
                f"{many['wall']:.1f} s, CPU {many['cpu']:.1f} s, peak {many['worker_peak_gib']} "
                f"GiB; ratio {ratio:.3f}",
                flush=True,
            )
            measured.append({"one_process": one, "batch": many, "ratio": ratio})
        compared, different = compare(model, pairs, place / "batch", place / "alone")
    print(f"{compared} files compared with vm-infer's, {different} differ")
    result = {
        "machine": describe_machine(["openvino", "distributed", "numpy", "nibabel"]),
        "note": note,
        "load_average": os.getloadavg(),
        "pairs": len(pairs),
        "workers": workers,
        "rounds": measured,
        "median_ratio": statistics.median(found["ratio"] for found in measured),
        "files_compared": compared,
        "files_that_differ": different,
    }
    if output:
        output.write_text(json.dumps(result, indent=2) + "\n")
    if different:
        sys.exit(1)


if __name__ == "__main__":
    main()
