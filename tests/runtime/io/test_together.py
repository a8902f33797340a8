"""Reading several files at once."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from vmruntime.errors import ScanError
from vmruntime.io.images import read_labels, read_scan
from vmruntime.io.together import read_together


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_volumes_come_in_the_order_of_their_readers(pair: dict[str, Path], threads: int) -> None:
    readers = [partial(read_scan, pair["moving"]), partial(read_labels, pair["moving_seg"])]
    readers.append(partial(read_scan, pair["fixed"]))
    found = read_together(readers, threads)
    for volume, read in zip(found, readers, strict=True):
        alone = read()
        assert volume.name == alone.name
        assert volume.data.dtype == alone.data.dtype
        np.testing.assert_array_equal(volume.data, alone.data)


@pytest.mark.parametrize("threads", [1, 4])
def test_the_first_error_is_told(pair: dict[str, Path], tmp_path: Path, threads: int) -> None:
    one, other = tmp_path / "one.nii", tmp_path / "other.nii"
    readers = [partial(read_scan, path) for path in (pair["moving"], one, other)]
    with pytest.raises(ScanError, match=r"one\.nii: no such file"):
        read_together(readers, threads)
