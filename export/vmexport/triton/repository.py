"""A folder of a Triton model repository, which appears whole or not at all."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from vmruntime.errors import OutputError, one_line

__all__ = ["ModelRepository"]

VERSION = "1"
CONFIG = "config.pbtxt"
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


class ModelRepository:
    """A model's folder within a repository, written aside and then renamed.

    ::

        DIRECTORY/NAME/config.pbtxt
        DIRECTORY/NAME/1/model.onnx

    A context manager: leaving the block without an exception gives the folder its name, leaving it
    with one removes it. What is written lies beside the repository, not in it: a server that polls
    it takes every folder for a model, hidden ones too.

    Parameters
    ----------
    directory
        The repository. Made where it is missing; its parent must exist.
    name
        The model's name.
    force
        Replace the model of this name, all its versions.

    Raises
    ------
    OutputError
        The model exists and `force` was not given, what stands there is no model's folder, the name
        is unsuitable, or (on leaving too) writing failed.
    """

    def __init__(
        self, directory: str | os.PathLike[str], name: str, *, force: bool = False
    ) -> None:
        if not NAME.fullmatch(name):
            raise OutputError(
                f"{name!r} is no name for a model: letters, digits, '_', '-' and '.' are (100 at "
                "most, the first no '-' or '.'); choose another --triton-name"
            )
        self.directory = Path(os.path.realpath(directory))
        self.name = name
        self._force = force
        self._aside: Path | None = None

    @property
    def path(self) -> Path:
        """The model's folder as it will be called."""
        return self.directory / self.name

    def file(self, name: str) -> Path:
        """Where to write a file of the model's version, while the block lasts."""
        return self._written / VERSION / name

    def write_config(self, text: str) -> None:
        """Write the ``config.pbtxt``."""
        (self._written / CONFIG).write_text(text)

    @property
    def _written(self) -> Path:
        if self._aside is None:
            raise OutputError(f"{self.path}: nothing is being written there")
        return self._aside / self.name

    def __enter__(self) -> Self:
        try:
            self._check()
            self._aside = Path(
                tempfile.mkdtemp(prefix=f".{self.directory.name[:50]}.", dir=self._beside())
            )
            # mkdtemp makes a private folder; this is to be as open as any new one.
            mask = os.umask(0)
            os.umask(mask)
            self._aside.chmod(0o777 & ~mask)
            self._written.joinpath(VERSION).mkdir(parents=True)
        except OSError as error:
            self._remove()
            raise self._cannot_write(error) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        aside = str(self._aside)
        try:
            if error is None:
                self._publish()
        except OSError as failure:
            raise self._cannot_write(failure) from failure
        finally:
            self._remove()
        if isinstance(error, OSError):
            raise self._cannot_write(error) from error
        if isinstance(error, OutputError) and aside in str(error):
            # Who wrote there knows the file by the name that it does not keep.
            raise OutputError(str(error).replace(aside, str(self.directory))) from error

    def _check(self) -> None:
        if os.path.lexists(self.directory) and not self.directory.is_dir():
            raise OutputError(f"{self.directory}: exists and is no folder; choose another")
        if not self.directory.parent.is_dir():
            raise OutputError(
                f"{self.directory}: the folder that it is to lie in does not exist; create it first"
            )
        if not os.path.lexists(self.path):
            return
        if not self._force:
            raise OutputError(
                f"{self.path}: exists already; choose another --triton-name or pass --force"
            )
        # --force with a wrong folder must not cost one that is no model.
        if self.path.is_symlink() or not (self.path / CONFIG).is_file():
            raise OutputError(
                f"{self.path}: exists and is no model's folder (no {CONFIG} in it); "
                "choose another name"
            )

    def _beside(self) -> Path:
        """Folder to write in, from where a rename leads into the repository."""
        parent = self.directory.parent
        if not self.directory.exists():
            return parent
        one_disk = parent.stat().st_dev == self.directory.stat().st_dev
        return parent if one_disk and os.access(parent, os.W_OK) else self.directory

    def _publish(self) -> None:
        # On disk before it has its name: a crash must not leave empty files.
        for path in self._written.rglob("*"):
            if path.is_file():
                with open(path, "rb") as written:
                    os.fsync(written.fileno())
        if not self.directory.exists() and self._aside is not None:
            self._aside.rename(self.directory)
        elif os.path.lexists(self.path):
            self._check()
            self._replace()
        else:
            self._written.rename(self.path)

    def _replace(self) -> None:
        old = self._written.with_name(f"{self.name}.old")
        self.path.rename(old)
        try:
            self._written.rename(self.path)
        except OSError:
            old.rename(self.path)
            raise

    def _remove(self) -> None:
        if self._aside is not None:
            shutil.rmtree(self._aside, ignore_errors=True)
            self._aside = None

    def _cannot_write(self, error: OSError) -> OutputError:
        reason = error.strerror or one_line(error)
        return OutputError(f"{self.path}: cannot be written ({reason}); nothing was kept")
