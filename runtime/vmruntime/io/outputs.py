"""Output files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from vmruntime.errors import OutputError, one_line

__all__ = ["Outputs"]

IMAGE_SUFFIXES = (".nii.gz", ".nii")


class Outputs:
    """A set of output files that get their names together, after all were written.

    A context manager. Each file is written to a temporary name in its own directory; leaving the
    block without an exception renames them all, leaving it with one removes them. Asking for the
    paths first, before long work, finds out early what cannot be written.

    Parameters
    ----------
    force
        Replace existing files.

    Raises
    ------
    OutputError
        A file exists and `force` was not given, has an unsuitable name, two outputs share one, its
        directory is missing or not writable, or (on leaving the block) writing failed.
    """

    def __init__(self, *, force: bool = False) -> None:
        self._force = force
        self._temporary: dict[Path, Path] = {}

    def image(self, path: str | os.PathLike[str]) -> Path:
        """A temporary path for a NIfTI image that will be called `path`."""
        return self.file(path, IMAGE_SUFFIXES)

    def file(self, path: str | os.PathLike[str], suffixes: tuple[str, ...] = ()) -> Path:
        """A temporary path for a file that will be called `path`.

        Parameters
        ----------
        path
            Final path. A symbolic link is followed, not replaced.
        suffixes
            The endings that are allowed; any where empty.
        """
        name = os.fspath(path)
        suffix = next((s for s in suffixes if name.lower().endswith(s)), None)
        if suffixes and suffix is None:
            raise OutputError(f"{name}: the output's name must end in {' or '.join(suffixes)}")
        final = Path(os.path.realpath(name))
        if final in self._temporary:
            raise OutputError(f"{name}: two outputs have this name; give each its own")
        self._check_target(name, final)
        try:
            handle, temporary = tempfile.mkstemp(
                # Cut, so that it fits where the longest name that is allowed does.
                prefix=f".{final.name[:50]}.",
                suffix=suffix or ".part",
                dir=final.parent,
            )
        except OSError as error:
            raise OutputError(_cannot_write(name, error)) from error
        self._temporary[final] = Path(temporary)
        # mkstemp makes a private file; an output should have the permissions of any new file.
        mask = os.umask(0)
        os.umask(mask)
        os.fchmod(handle, 0o666 & ~mask)
        os.close(handle)
        return Path(temporary)

    def _check_target(self, name: str, final: Path) -> None:
        try:
            mode = final.stat().st_mode
        except FileNotFoundError:
            if not final.parent.is_dir():
                raise OutputError(
                    f"{name}: its directory does not exist; create it first"
                ) from None
            return
        except OSError as error:
            raise OutputError(_cannot_write(name, error)) from error
        if not stat.S_ISREG(mode):
            raise OutputError(f"{name}: exists and is not a regular file; choose another name")
        if not self._force:
            raise OutputError(f"{name}: exists already; choose another name or pass --force")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._publish()
        finally:
            for temporary in self._temporary.values():
                with contextlib.suppress(OSError):
                    temporary.unlink(missing_ok=True)
            names = ", ".join(str(final) for final in self._temporary)
            self._temporary = {}
        if isinstance(error, OSError):
            raise OutputError(_cannot_write(names, error)) from error

    def _publish(self) -> None:
        # Data must be on disk before the name is: a crash must not leave an empty file. All of
        # them before the first name, for this is where a full disk may show.
        for final, temporary in self._temporary.items():
            with _naming(final), open(temporary, "rb") as written:
                os.fsync(written.fileno())
        for final, temporary in self._temporary.items():
            with _naming(final):
                temporary.replace(final)


@contextlib.contextmanager
def _naming(final: Path) -> Iterator[None]:
    """Say which output it was that an error came from."""
    try:
        yield
    except OSError as error:
        raise OutputError(_cannot_write(str(final), error)) from error


def _cannot_write(name: str, error: OSError) -> str:
    reason = error.strerror or one_line(error)
    return f"{name}: cannot be written ({reason}); nothing was kept"
