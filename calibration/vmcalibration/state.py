"""What a calibration has found so far, so that one that was stopped goes on where it was."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmcalibration.errors import CalibrationError

__all__ = ["State", "key_of"]


def key_of(*parts: bytes | str) -> str:
    """A hash of all that the results depend on."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


class State:
    """Results by name, in a folder; those of another model, other pairs or options are dropped.

    Parameters
    ----------
    folder
        Where they are kept; made if need be.
    key
        Of what they belong to.

    Raises
    ------
    CalibrationError
        The folder cannot be written.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder = folder
        self.resumed = False
        try:
            mark = folder / "key"
            if mark.is_file() and mark.read_text() == key:
                self.resumed = True
            else:
                if mark.is_file():  # one of ours, of something else
                    shutil.rmtree(folder)
                elif folder.exists() and any(folder.iterdir()):
                    raise CalibrationError(
                        f"{folder}: exists and is no state of vm-calibrate; remove it or choose "
                        "another -o"
                    )
                folder.mkdir(parents=True, exist_ok=True)
                self._write("key", key.encode())
        except OSError as error:
            raise _unwritable(folder, error) from error

    def get(self, name: str) -> Any:
        """A result, or None."""
        path = self.folder / f"{name}.json"
        try:
            return json.loads(path.read_bytes())
        except (FileNotFoundError, ValueError):
            return None

    def put(self, name: str, value: Any) -> None:
        """Keep a result of plain values."""
        self._write(f"{name}.json", json.dumps(value, allow_nan=False).encode())

    def arrays(self, name: str) -> Mapping[str, NDArray[Any]] | None:
        """Arrays that were kept, or None."""
        try:
            with np.load(self.folder / f"{name}.npz", allow_pickle=False) as stored:
                return {key: stored[key] for key in stored.files}
        except (FileNotFoundError, ValueError, OSError, EOFError):
            return None

    def put_arrays(self, name: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Keep arrays."""
        temporary = self.folder / f".{name}.part.npz"
        try:
            np.savez(temporary, **arrays)  # type: ignore[arg-type]
            temporary.replace(self.folder / f"{name}.npz")
        except OSError as error:
            raise _unwritable(self.folder, error) from error

    def remove(self) -> None:
        """All is done; nothing is to be gone on with."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, name: str, data: bytes) -> None:
        try:
            handle, temporary = tempfile.mkstemp(dir=self.folder, prefix=f".{name}.")
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            Path(temporary).replace(self.folder / name)
        except OSError as error:
            raise _unwritable(self.folder, error) from error


def _unwritable(folder: Path, error: OSError) -> CalibrationError:
    return CalibrationError(f"{folder}: cannot be written ({error.strerror})")
