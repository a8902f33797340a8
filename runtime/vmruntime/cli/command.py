"""What all commands share: exit codes, one-line errors, progress."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import Any

import click

from vmruntime.errors import VMError, one_line

__all__ = ["Command", "progress"]

FAILED = 1


class Command(click.Command):
    """A click command that turns errors into one line on stderr and exit code 1.

    Wrong usage stays exit code 2. A request to terminate unwinds the stack like Ctrl-C does, so
    that half-written files are removed.
    """

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        signal.signal(signal.SIGTERM, _terminate)
        verbose = bool(ctx.params.get("verbose"))
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except VMError as error:
            message = one_line(error, limit=2000)
        except MemoryError:
            message = "out of memory; use a smaller grid, or a machine with more memory"
        except OSError as error:
            message = f"{error.filename or ctx.info_name}: {error.strerror or one_line(error)}"
        except Exception as error:
            if verbose:
                raise
            message = (
                f"unexpected {type(error).__name__}: {one_line(error)}; "
                "run again with -v for the traceback, and report it"
            )
        click.echo(f"Error: {message}", err=True)
        ctx.exit(FAILED)


def progress(verbose: bool) -> Callable[[str], None]:
    """A function that says on stderr what begins, where that is a terminal or `verbose` is set."""
    if not verbose and not sys.stderr.isatty():
        return lambda _: None
    return lambda stage: click.echo(f"{stage} ...", err=True)


def _terminate(signum: int, _frame: object) -> None:
    raise SystemExit(128 + signum)
