"""Several atlases onto one subject: their common labels are better than any single ones."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cohort_files import Cohort, hidden, rows_of
from command_line import outside
from synthetic_scans import write_nifti
from vmruntime.io.images import read_labels, read_scan
from vmruntime.quality import overlap

Run = Callable[..., subprocess.CompletedProcess[str]]

GAIN = 0.01
"""Dice that fusion has to gain over the mean of its atlases."""


@pytest.fixture(scope="module")
def demo_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch", reason="the export extra is not installed")
    from vmexport.artifact import ExportOptions, export_artifact

    path = tmp_path_factory.mktemp("demo") / "model.onnx"
    options = ExportOptions(voxel_size=(2.0, 2.0, 2.0), intensity="percentile:0,99")
    examples = Path(__file__).resolve().parents[3] / "examples"
    export_artifact(examples / "demo_model.pt", path, options)
    return path


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four subjects of one family, a0 to a3, with labels."""
    pytest.importorskip("scipy", reason="the test extra is not installed")
    from make_phantom_pair import lia_affine
    from phantom import make_pair

    folder, shape = tmp_path_factory.mktemp("phantoms"), (80, 96, 112)
    for seed in range(2):
        pair = make_pair(shape, seed, spacing=2.0)
        for number, (scan, labels) in enumerate(
            ((pair.moving, pair.moving_labels), (pair.fixed, pair.fixed_labels))
        ):
            name = f"a{2 * seed + number}"
            write_nifti(folder / f"{name}.nii.gz", scan, lia_affine(shape, 2.0))
            write_nifti(folder / f"{name}_labels.nii.gz", labels, lia_affine(shape, 2.0))
    return folder


@pytest.mark.parametrize("method", ["majority", "local-ncc"])
def test_three_atlases_on_a_phantom(
    demo_model: Path, phantoms: Path, tmp_path: Path, method: str
) -> None:
    atlases = [
        option
        for name in ("a0", "a2", "a3")
        for option in ("--atlas", f"{phantoms}/{name}.nii.gz:{phantoms}/{name}_labels.nii.gz")
    ]
    out = tmp_path / "out"
    done = outside(
        "batch", demo_model, *atlases, "--subjects", phantoms / "a1.nii.gz", "-o", out,
        "--fuse", method, "--write", "moved,labels",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1] == f"1 of 1 subjects fused by {method}"
    known = read_labels(phantoms / "a1_labels.nii.gz")
    single = [
        overlap(read_labels(path).data, known.data, None).mean
        for path in sorted((out / "a1").glob("a1_atlas-*_dseg.nii.gz"))
    ]
    assert len(single) == 3
    fused = read_labels(out / "a1" / "a1_space-fixed_desc-fused_dseg.nii.gz")
    assert overlap(fused.data, known.data, None).mean >= np.mean(single) + GAIN
    assert fused.grid.matches(known.grid)
    shares = read_scan(out / "a1" / "a1_space-fixed_desc-fusedconfidence_map.nii.gz").data
    right = fused.data == known.data
    assert 0 < shares.min() < shares.max() == 1
    assert shares[right].mean() > shares[~right].mean() + 0.1
    (row,) = rows_of(out / "volumes.tsv")
    assert (row.pop("subject"), row.pop("source")) == ("a1", "fused")
    counts = {
        str(k): int(n) for k, n in zip(*np.unique(fused.data, return_counts=True), strict=True)
    }
    assert {k: float(v) for k, v in row.items()} == {
        k: 8.0 * n for k, n in counts.items() if k != "0"
    }


def test_fusion_is_resumed_and_waits_for_all_atlases(
    vm_batch: Run, cohort: Cohort, tmp_path: Path
) -> None:
    missing = tmp_path / "late.nii.gz"
    options = [
        "--atlas", f"{cohort.scans[0]}:{cohort.labels[0]}",
        "--atlas", f"{missing}:{cohort.labels[1]}",
        "--subjects", f"{cohort.folder}/s[23].nii.gz", "--fuse", "majority", "--retries", 0,
    ]  # fmt: skip
    done = vm_batch(*options)
    assert done.returncode == 1
    assert (
        "2 of 4 pairs failed: s2_atlas-late, s3_atlas-late; 2 subjects were not fused: s2, s3"
        in (done.stderr)
    )
    assert "0 of 2 subjects fused" in done.stdout
    missing.write_bytes(cohort.scans[1].read_bytes())
    done = vm_batch(*options)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("4 pairs: 2 registered, 2 done before; ")
    assert "2 of 2 subjects fused by majority" in done.stdout
    out = tmp_path / "out"
    fused = out / "s3" / "s3_space-fixed_desc-fused_dseg.nii.gz"
    before = fused.stat().st_mtime_ns, (out / "s2").stat().st_mtime_ns
    fused.with_name(f".{fused.name[:50]}.abcdefgh.nii.gz").write_text("half")
    fused.unlink()
    done = vm_batch(*options)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("4 pairs: 0 registered, 4 done before")
    assert fused.stat().st_mtime_ns > before[0]
    assert (out / "s2").stat().st_mtime_ns == before[1]
    assert hidden(out) == []
