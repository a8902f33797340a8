"""A small cohort, and running vm-batch on it as users do."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cohort_files import Cohort
from command_line import outside
from synthetic_scans import MODEL_SHAPE, parcellation, textured, write_nifti
from vmruntime.batch.content import content_of
from vmruntime.batch.desk import Assignment
from vmruntime.batch.settings import Settings

Run = Callable[..., subprocess.CompletedProcess[str]]

LABELS = (0, 2, 41, 77)


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    folder = tmp_path_factory.mktemp("cohort")
    scans = [
        write_nifti(folder / f"s{number}.nii.gz", textured(MODEL_SHAPE, number))
        for number in range(6)
    ]
    labels = [
        write_nifti(folder / f"s{number}_labels.nii.gz", parcellation(MODEL_SHAPE, LABELS, number))
        for number in range(6)
    ]
    return Cohort(folder, tuple(scans), tuple(labels))


@pytest.fixture
def vm_batch(tiny_artifact: Path, tmp_path: Path) -> Run:
    """vm-batch on the tiny artifact, into ``out`` below the test's folder, in its own process."""

    def run(*options: object, out: Path | None = None) -> subprocess.CompletedProcess[str]:
        return outside("batch", tiny_artifact, "-o", out or tmp_path / "out", *options)

    return run


@pytest.fixture
def assignment(tiny_artifact: Path, tmp_path: Path) -> Callable[..., Assignment]:
    """What all pairs have in common; results go to ``out`` below the test's folder."""

    def build(**settings: object) -> Assignment:
        return Assignment(
            model=tiny_artifact,
            model_digest=content_of(tiny_artifact).digest,
            settings=Settings(**settings),  # type: ignore[arg-type]
            setting_digests={},
            out=tmp_path / "out",
            force=False,
            threads=1,
            atlases=0,
        )

    return build
