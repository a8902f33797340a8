"""What only a batch can get wrong."""

from __future__ import annotations

from vmruntime.errors import VMError

__all__ = ["BatchError", "text_of"]


class BatchError(VMError):
    """A list of pairs, a cohort, a set of workers or a folder of results that cannot be used."""


def text_of(error: BaseException) -> str:
    """One line about what went wrong with a pair, for people."""
    from vmruntime.errors import one_line

    if isinstance(error, VMError):
        return one_line(error, 2000)
    if isinstance(error, MemoryError):
        return "out of memory; use fewer workers, or a machine with more memory"
    if isinstance(error, OSError):
        return f"{error.filename or 'a file'}: {error.strerror or one_line(error)}"
    if type(error).__name__ == "KilledWorker":
        return (
            "every worker that registered it was killed, perhaps for memory; "
            "use fewer workers, or a machine with more memory"
        )
    return f"unexpected {type(error).__name__}: {one_line(error)}; report it"
