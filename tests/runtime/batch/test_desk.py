"""What a worker does with a pair: reading ahead, skipping, refusing, cleaning up."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import vmruntime.batch.desk as desk_module
from cohort_files import Cohort, hidden
from fake_backend import FakeBackend, translation
from synthetic_scans import MODEL_SHAPE, textured, write_nifti
from vmruntime import Manifest, Registrar
from vmruntime.batch.desk import IN_HAND, Assignment, Desk, finished_record
from vmruntime.batch.errors import BatchError
from vmruntime.batch.layout import Layout
from vmruntime.batch.pair import Pair
from vmruntime.batch.record import read_record
from vmruntime.errors import BackendError, OutputError, ScanError

Build = Callable[..., Assignment]


class Backend(FakeBackend):
    """Runs what a test gives before it answers."""

    def __init__(self, before: Callable[[], None] = lambda: None) -> None:
        super().__init__(translation(1, 0, 0))
        self.before = before
        self.runs = 0

    def run(self, *given: Any) -> Any:
        self.runs += 1
        self.before()
        return super().run(*given)


def pair_of(cohort: Cohort, number: int = 0) -> Pair:
    name = f"p{number}"
    return Pair(name, name, cohort.scans[0], cohort.scans[1 + number], cohort.labels[0])


@contextmanager
def desk_of(
    assignment: Assignment, manifest: Manifest, backend: FakeBackend | None = None
) -> Iterator[Desk]:
    Layout(assignment.out).begin()
    desk = Desk(assignment, Registrar(manifest, backend or Backend(), 1), True, "here/0")
    try:
        yield desk
    finally:
        desk.close()


def test_a_pair_is_registered_once(cohort: Cohort, assignment: Build, manifest: Manifest) -> None:
    backend, given = Backend(), assignment()
    with desk_of(given, manifest, backend) as desk:
        record = desk.register(pair_of(cohort))
        assert record.status == "done"
        assert record.worker == "here/0"
        assert set(record.outputs) == {
            "p0/p0_desc-registration_qc.json",
            "p0/p0_from-moving_to-fixed_mode-image_xfm.nii.gz",
            "p0/p0_space-fixed_desc-moved_T1w.nii.gz",
            "p0/p0_space-fixed_dseg.nii.gz",
        }
        assert all((given.out / name).stat().st_size == n for name, n in record.outputs.items())
        again, looked_up = desk.register(pair_of(cohort)), finished_record(given, pair_of(cohort))
        assert again == looked_up
        assert again.outputs == record.outputs
        assert (again.key, again.seconds) == (record.key, record.seconds)
    assert backend.runs == 1
    assert backend.closed == 1
    assert hidden(given.out) == []


@pytest.mark.parametrize("change", ["content", "settings", "model", "lost", "cut", "version"])
def test_what_a_result_depends_on(
    cohort: Cohort, assignment: Build, manifest: Manifest, change: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    fixed = write_nifti(tmp_path / "fixed.nii.gz", textured(MODEL_SHAPE, 1))
    pair = Pair("p", "p", cohort.scans[0], fixed)
    given, second = assignment(), Backend()
    with desk_of(given, manifest) as desk:
        desk.register(pair)
    moved = given.out / "p" / "p_space-fixed_desc-moved_T1w.nii.gz"
    if change == "content":
        write_nifti(fixed, textured(MODEL_SHAPE, 2))
    elif change == "settings":
        given = assignment(intensity="none")
    elif change == "model":
        given = replace(given, model_digest="another")
    elif change == "lost":
        moved.unlink()
    elif change == "cut":
        moved.write_bytes(moved.read_bytes()[:-1])
    else:
        monkeypatch.setattr(desk_module, "__version__", "0.0")
    assert finished_record(given, pair) is None
    with desk_of(given, manifest, second) as desk:
        desk.register(pair)
    assert second.runs == 1
    assert finished_record(given, pair) is not None


def test_what_a_result_does_not_depend_on(
    cohort: Cohort, assignment: Build, manifest: Manifest, tmp_path: Path
) -> None:
    """Where a file lies and when it was written, threads, and which GPU it was."""
    pair = pair_of(cohort)
    given = assignment(device="cuda:0")
    with desk_of(given, manifest) as desk:
        desk.register(pair)
    copy = tmp_path / "copy.nii.gz"
    shutil.copyfile(pair.fixed, copy)
    other = replace(assignment(device="cuda:1"), threads=7, atlases=3)
    assert finished_record(other, replace(pair, fixed=copy)) is not None
    assert finished_record(assignment(device="cpu"), pair) is None


def test_the_next_pair_is_read_while_one_is_in_the_network(
    cohort: Cohort, assignment: Build, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network waits for the other pair's scan: it would for ever if that waited for it."""
    read: list[Path] = []
    both = threading.Event()
    original = desk_module.read_scan

    def reading(path: Path) -> Any:
        scan = original(path)
        read.append(path)
        if len(read) == 2:
            both.set()
        return scan

    monkeypatch.setattr(desk_module, "read_scan", reading)
    backend = Backend(lambda: None if both.wait(20) else pytest.fail("not read ahead"))
    with (
        desk_of(assignment(), manifest, backend) as desk,
        ThreadPoolExecutor(2) as pool,
    ):
        records = list(pool.map(desk.register, [pair_of(cohort, n) for n in range(2)]))
    assert [record.status for record in records] == ["done", "done"]


def test_no_more_pairs_are_in_hand_than_promised(
    cohort: Cohort, assignment: Build, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many threads a worker has; and one at a time in the network."""
    lock = threading.Lock()
    counts = {"hand": 0, "network": 0}
    most = dict(counts)

    @contextmanager
    def counted(name: str) -> Iterator[None]:
        with lock:
            counts[name] += 1
            most[name] = max(most[name], counts[name])
        try:
            time.sleep(0.02)
            yield
        finally:
            with lock:
                counts[name] -= 1

    def network() -> None:
        with counted("network"):
            pass

    original = Desk._register

    def register(self: Desk, *given: Any) -> Any:
        with counted("hand"):
            return original(self, *given)

    monkeypatch.setattr(Desk, "_register", register)
    with (
        desk_of(assignment(write=("moved",)), manifest, Backend(network)) as desk,
        ThreadPoolExecutor(5) as pool,
    ):
        pairs = [replace(pair_of(cohort, n % 5), id=f"p{n}", subject=f"p{n}") for n in range(8)]
        assert len(list(pool.map(desk.register, pairs))) == 8
    assert most == {"hand": IN_HAND, "network": 1}


def test_an_atlas_is_read_once(
    cohort: Cohort, assignment: Build, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    import vmruntime.batch.shelf as shelf

    read: list[Path] = []
    original = shelf.read_scan
    monkeypatch.setattr(shelf, "read_scan", lambda path: (read.append(path), original(path))[1])
    with desk_of(replace(assignment(), atlases=1), manifest) as desk:
        for number in range(3):
            desk.register(pair_of(cohort, number))
    assert read == [cohort.scans[0]]
    read.clear()
    with desk_of(assignment(intensity="none"), manifest) as desk:
        for number in range(3):
            desk.register(pair_of(cohort, number))
    assert len(read) == 3


def test_an_atlas_that_is_changed_is_read_again(
    cohort: Cohort, assignment: Build, manifest: Manifest, tmp_path: Path
) -> None:
    atlas = write_nifti(tmp_path / "atlas.nii.gz", textured(MODEL_SHAPE, 0))
    first, second = (Pair(n, n, atlas, cohort.scans[1]) for n in ("a", "b"))
    given = replace(assignment(), atlases=1)
    with desk_of(given, manifest) as desk:
        desk.register(first)
        write_nifti(atlas, textured(MODEL_SHAPE, 9))
        desk.register(second)
    assert finished_record(given, first) is None
    assert finished_record(given, second) is not None


def test_files_of_others_are_not_replaced(
    cohort: Cohort, assignment: Build, manifest: Manifest
) -> None:
    given = assignment()
    moved = given.out / "p0" / "p0_space-fixed_desc-moved_T1w.nii.gz"
    moved.parent.mkdir(parents=True)
    moved.write_text("mine")
    with (
        desk_of(given, manifest) as desk,
        pytest.raises(OutputError, match="exists already and is not from vm-batch"),
    ):
        desk.register(pair_of(cohort))
    assert moved.read_text() == "mine"
    with desk_of(replace(given, force=True), manifest) as desk:
        desk.register(pair_of(cohort))
    assert moved.read_bytes()[:2] == b"\x1f\x8b"


def test_what_a_killed_worker_left_is_removed(
    cohort: Cohort, assignment: Build, manifest: Manifest
) -> None:
    given, pair = assignment(), pair_of(cohort)
    Layout(given.out).begin()
    (given.out / "p0").mkdir()
    for path in Layout(given.out).outputs(pair, given.settings):
        path.with_name(f".{path.name[:50]}.abcd_123.nii.gz").write_text("half")
    mine = given.out / "p0" / ".mine"
    mine.touch()
    with desk_of(given, manifest) as desk:
        desk.register(pair)
    assert hidden(given.out) == [".mine"]


def test_a_pair_that_fails_keeps_nothing_and_can_be_tried_again(
    cohort: Cohort, assignment: Build, manifest: Manifest
) -> None:
    backend, given = Backend(), assignment()

    def fail() -> None:
        raise BackendError("no")

    with desk_of(given, manifest, backend) as desk:
        backend.before = fail
        with pytest.raises(BackendError):
            desk.register(pair_of(cohort))
        assert list((given.out / "p0").iterdir()) == []
        begun = read_record(Layout(given.out).record("p0"))
        assert begun is not None
        assert begun.status == "begun"
        backend.before = lambda: None
        assert desk.register(pair_of(cohort)).status == "done"


def test_bad_scans(cohort: Cohort, assignment: Build, manifest: Manifest, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.nii.gz"
    damaged.write_bytes(cohort.scans[1].read_bytes()[:3000])
    with desk_of(assignment(), manifest) as desk:
        with pytest.raises(ScanError, match=r"none\.nii: no such file"):
            desk.register(replace(pair_of(cohort), fixed=tmp_path / "none.nii"))
        with pytest.raises(ScanError, match=r"damaged\.nii\.gz"):
            desk.register(replace(pair_of(cohort), moving=damaged))
    assert not (assignment().out / "p0").exists()


def test_a_closed_desk_refuses(cohort: Cohort, assignment: Build, manifest: Manifest) -> None:
    with desk_of(assignment(), manifest) as desk:
        pass
    with pytest.raises(BatchError, match="was stopped"):
        desk.register(pair_of(cohort))


def test_another_model_than_where_the_batch_began(assignment: Build) -> None:
    with pytest.raises(BatchError, match="is another file on worker w"):
        Desk.open(replace(assignment(), model_digest="another"), 1, "w")
