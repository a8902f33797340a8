"""Options under headings, so that the help of a command with many of them can be read."""

from __future__ import annotations

from typing import Any

import click

from vmruntime.cli.command import Command

__all__ = ["GroupedCommand", "GroupedOption"]


class GroupedOption(click.Option):
    """An option that the help shows under a heading.

    Parameters
    ----------
    group
        The heading.
    """

    def __init__(self, *args: Any, group: str = "Options", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.group = group


class GroupedCommand(Command):
    """A command whose help has a section for each group of options."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections, in the order in which the groups first come."""
        groups: dict[str, list[tuple[str, str]]] = {}
        options = [p for p in self.get_params(ctx) if isinstance(p, click.Option)]
        # Those that every command has come last.
        for option in sorted(options, key=lambda option: not isinstance(option, GroupedOption)):
            record = option.get_help_record(ctx)
            if record is not None:
                group = option.group if isinstance(option, GroupedOption) else "General"
                groups.setdefault(group, []).append(record)
        for group, records in groups.items():
            with formatter.section(group):
                formatter.write_dl(records)
