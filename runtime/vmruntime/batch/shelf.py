"""Moving scans that many pairs share, read once a worker."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vmruntime.batch.content import Content, content_of, require_unchanged
from vmruntime.io.images import read_labels, read_scan
from vmruntime.volume import Volume

__all__ = ["Atlas", "Shelf", "read_atlas"]


@dataclass(frozen=True, eq=False)
class Atlas:
    """A moving scan with its labels.

    Parameters
    ----------
    scan, labels
        As they were read; labels are None where there are none.
    contents
        What the files held, by role.
    """

    scan: Volume
    labels: Volume | None
    contents: Mapping[str, Content]


def read_atlas(scan: Path, labels: Path | None) -> Atlas:
    """Read a moving scan and its labels.

    Raises
    ------
    ScanError
        A file cannot be used, or was changed while it was read.
    GridMismatchError
        The labels do not lie on the scan's grid.
    """
    files = {"moving": scan} | ({} if labels is None else {"moving_seg": labels})
    contents = {role: content_of(path) for role, path in files.items()}
    image = read_scan(scan)
    segmentation = None if labels is None else read_labels(labels)
    if segmentation is not None:
        segmentation.require_grid(image.grid, "moving")
    for role, path in files.items():
        require_unchanged(path, contents[role])
    return Atlas(image, segmentation, contents)


class Shelf:
    """The atlases used last; may be used by several threads at once.

    Parameters
    ----------
    capacity
        How many are kept.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._kept: OrderedDict[tuple[Path, Path | None], Atlas] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, scan: Path, labels: Path | None) -> Atlas:
        """An atlas, read where it is not on the shelf or its files were changed; see `read_atlas`.

        While one thread reads, others wait: they mostly want the same one.
        """
        key = (scan, labels)
        with self._lock:
            atlas = self._kept.pop(key, None)
            if atlas is None or not _is_fresh(atlas, scan, labels):
                atlas = read_atlas(scan, labels)
            self._kept[key] = atlas
            while len(self._kept) > self.capacity:
                self._kept.popitem(last=False)
        return atlas


def _is_fresh(atlas: Atlas, scan: Path, labels: Path | None) -> bool:
    from vmruntime.errors import ScanError

    try:
        require_unchanged(scan, atlas.contents["moving"])
        if labels is not None:
            require_unchanged(labels, atlas.contents["moving_seg"])
    except ScanError:
        return False
    return True
