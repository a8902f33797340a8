"""The carried labels of several atlases made into one segmentation of their subject.

All atlases are read side by side, a block of planes at a time: what is held is the subject's scan,
the result, and one block of each atlas, however many there are.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vmruntime.batch.content import content_of
from vmruntime.batch.layout import Layout, remove_leftovers
from vmruntime.batch.pair import Pair
from vmruntime.batch.planes import PlaneReader, RollingPlanes
from vmruntime.batch.record import NAMING, Record, read_record, require_own, write_record
from vmruntime.batch.vote import RADIUS, LocalWeights, vote
from vmruntime.errors import GridMismatchError
from vmruntime.io.images import read_scan
from vmruntime.io.nifti import write_volume
from vmruntime.io.outputs import Outputs
from vmruntime.quality import count_labels
from vmruntime.version import __version__
from vmruntime.volume import Volume

__all__ = ["Fused", "Method", "finished_fusion", "fuse", "fuse_files", "fused_id"]

Method = Literal["majority", "local-ncc"]

BLOCK = 16
"""Planes that are fused at a time."""


@dataclass(frozen=True)
class Fused:
    """How the fusion of a subject came out.

    Parameters
    ----------
    subject
        Which one.
    status
        ``"done"``, ``"failed"`` or ``"pending"``.
    volumes
        Label: cubic millimetres.
    confidence
        Mean share of the winning label over the voxels that are labelled, 0 to 1.
    error
        What went wrong.
    """

    subject: str
    status: str
    volumes: Mapping[int, float]
    confidence: float | None = None
    error: str = ""

    @classmethod
    def of(cls, subject: str, record: Record) -> Fused:
        """A finished fusion."""
        volumes = {int(label): float(v) for label, v in record.facts["volumes_mm3"].items()}
        return cls(subject, "done", volumes, record.facts["mean_confidence"])

    @classmethod
    def pending(cls, subject: str) -> Fused:
        """A subject that was not come to."""
        return cls(subject, "pending", {})

    @classmethod
    def failed(cls, subject: str, error: str) -> Fused:
        """A subject that was given up."""
        return cls(subject, "failed", {}, error=error)


def fused_id(subject: str) -> str:
    """What the record of a fusion is called; no pair's id ends so."""
    return f"{subject}_fused"


def finished_fusion(
    out: Path, subject: str, pairs: Sequence[Pair], method: Method
) -> Record | None:
    """The record of a fusion that is finished, by content; else None.

    Raises
    ------
    ScanError
        An input cannot be read.
    """
    record = read_record(Layout(out).record(fused_id(subject)))
    if record is None or record.status != "done":
        return None
    return record if record.is_done(_key(out, pairs, method), out) else None


def fuse(
    out: Path, subject: str, pairs: Sequence[Pair], method: Method, force: bool, worker: str
) -> Record:
    """Fuse what `pairs` carried onto their subject, unless that is done already.

    Parameters
    ----------
    out
        Folder of the batch.
    subject, pairs
        Whose labels, and the pairs that carried them; all are done.
    method
        ``"majority"``, or ``"local-ncc"``, which needs the carried scans as well.
    force
        Replace files that vm-batch did not make.
    worker
        Who does it, for the record.

    Raises
    ------
    VMError
        A file cannot be read or written; nothing was kept.
    """
    began = time.perf_counter()
    if done := finished_fusion(out, subject, pairs, method):
        return done
    layout = Layout(out)
    place, files = layout.record(fused_id(subject)), layout.fused(subject)
    earlier = read_record(place)
    if not force:
        require_own(files.values(), earlier, out)
    remove_leftovers([*files.values(), place])
    names = {path.relative_to(out).as_posix() for path in files.values()}
    kept = names | set(earlier.outputs if earlier else ())
    write_record(place, Record("begun", dict.fromkeys(sorted(kept), 0)))
    key = _key(out, pairs, method)
    labels, shares = fuse_files(
        pairs[0].fixed,
        [_labels(out, pair) for pair in pairs],
        [_moved(out, pair) for pair in pairs] if method == "local-ncc" else None,
    )
    with Outputs(force=True) as outputs:
        with NAMING:
            temporary = {kind: outputs.image(path) for kind, path in files.items()}
        write_volume(temporary["labels"], labels)
        write_volume(temporary["confidence"], shares)
    voxel = abs(float(np.linalg.det(labels.grid.affine[:3, :3])))
    counts = count_labels(labels.data)
    inside = labels.data != 0
    facts = {
        "method": method,
        "pairs": [pair.id for pair in pairs],
        "volumes_mm3": {str(label): n * voxel for label, n in counts.items() if label},
        "mean_confidence": float(shares.data[inside].mean(dtype=np.float64))
        if inside.any()
        else None,
    }
    sizes = {name: (out / name).stat().st_size for name in sorted(names)}
    record = Record("done", sizes, key, facts, worker, round(time.perf_counter() - began, 3))
    write_record(place, record)
    return record


def fuse_files(
    fixed: Path, labels: Sequence[Path], moved: Sequence[Path] | None = None
) -> tuple[Volume, Volume]:
    """Fuse segmentations of one scan.

    Parameters
    ----------
    fixed
        The scan.
    labels
        Segmentations on its grid, NIfTI as this project writes it.
    moved
        The scans that they were made for, carried likewise; None for one segmentation, one vote.

    Returns
    -------
    tuple of Volume
        The label with the most weight, and its share of all weight, float32, 0 to 1.

    Raises
    ------
    ScanError, GridMismatchError
        A file cannot be read, or does not lie on the scan's grid.
    """
    scan = read_scan(fixed)
    with ExitStack() as stack:
        opinions = [stack.enter_context(PlaneReader(path)) for path in labels]
        images = [stack.enter_context(PlaneReader(path)) for path in moved or ()]
        for reader in (*opinions, *images):
            if not reader.grid.matches(scan.grid):
                raise GridMismatchError(
                    f"{reader.path}: does not lie on the grid of {fixed}; register the pair again"
                )
        rolling = [RollingPlanes(reader, RADIUS) for reader in images]
        kind = np.result_type(*(reader.dtype for reader in opinions)).newbyteorder("=")
        winners = np.zeros(scan.data.shape, kind)
        shares = np.ones(scan.data.shape, np.float32)
        for start, stop in _blocks(scan.data.shape[2]):
            said = np.stack([reader.read(stop - start).astype(kind) for reader in opinions])
            winners[..., start:stop] = said[0]
            # Mostly all are of one opinion: only the other voxels are put to the vote.
            where = (said != said[0]).any(axis=0)
            weights = None
            if moved is not None:
                weights = _weights(rolling, scan.data, start, stop, where)
            if where.any():
                found = vote(said[:, where], weights)
                winners[..., start:stop][where], shares[..., start:stop][where] = found
    return (
        Volume(winners, scan.grid, scan.header, "fused labels"),
        Volume(shares, scan.grid, scan.header, "confidence"),
    )


def _blocks(planes: int) -> Iterator[tuple[int, int]]:
    for start in range(0, planes, BLOCK):
        yield start, min(start + BLOCK, planes)


def _weights(
    images: Sequence[RollingPlanes],
    fixed: NDArray[np.float32],
    start: int,
    stop: int,
    where: NDArray[np.bool_],
) -> NDArray[np.float32] | None:
    """Weights of each atlas at the voxels `where` of planes `start` to `stop`, ``(K, N)``."""
    # Also where nothing is asked, so that all go on by the same planes.
    blocks = [image.around(start, stop) for image in images]
    if not where.any():
        return None
    rows, columns = (_span(where.any(axis=axes)) for axes in ((1, 2), (0, 2)))
    first = max(start - RADIUS, 0)
    planes = blocks[0].shape[2]
    local = LocalWeights(fixed[rows, columns, first : first + planes])
    asked = np.zeros(local.shape, bool)
    asked[..., start - first : stop - first] = where[rows, columns]
    return np.stack([local.of(block[rows, columns].astype(np.float32))[asked] for block in blocks])


def _span(line: Any) -> slice:
    """From the first to the last true value, with the window's radius around."""
    inside = np.flatnonzero(line)
    return slice(max(int(inside[0]) - RADIUS, 0), int(inside[-1]) + RADIUS + 1)


def _key(out: Path, pairs: Sequence[Pair], method: Method) -> dict[str, Any]:
    """What a fusion depends on, as JSON values."""
    files = [_labels(out, pair) for pair in pairs]
    if method == "local-ncc":
        files += [_moved(out, pair) for pair in pairs]
    key = {
        "inputs": [content_of(path).digest for path in (pairs[0].fixed, *files)],
        "method": method,
        "version": __version__,
    }
    loaded: dict[str, Any] = json.loads(json.dumps(key))
    return loaded


def _labels(out: Path, pair: Pair) -> Path:
    return Layout(out).image(pair, "labels")


def _moved(out: Path, pair: Pair) -> Path:
    return Layout(out).image(pair, "moved")
