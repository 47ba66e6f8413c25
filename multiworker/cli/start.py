"""``multiworker start``: settings from command line, environment, file and Django, for a parent in another process."""

from collections.abc import Mapping, Sequence
from typing import Any

import click
from click.core import ParameterSource

from multiworker.cli.options import PRESET, PROJECT, all_settings, layer, settings_of
from multiworker.cli.project import ask
from multiworker.cli.root import HELP, Failure, explain, perform
from multiworker.worker.errors import Exit, SettingsError
from multiworker.worker.settings import Settings


class _Start(click.Command):
    """Reads Django's settings first, if they are named: other options may stand there."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        given, _, _ = self.make_parser(ctx).parse_args(list(args))
        if not (ctx.resilient_parsing or given.get("help")):
            self._ask_project(ctx, given)
        return super().parse_args(ctx, args)

    def _ask_project(self, ctx: click.Context, given: Mapping[str, Any]) -> None:
        """Read Django's settings if they are named, be it in the file: other options may stand there."""
        ctx.meta[PRESET] = dict(text.split("=", 1) for text in given.get("preset") or ())
        try:
            layer(ctx, self._said(ctx, given, "config"))
            if module := self._said(ctx, given, "settings"):
                ctx.meta[PROJECT] = ask(module)
        except SettingsError as error:
            raise Failure(str(error), Exit.CONFIG) from None

    def _said(self, ctx: click.Context, given: Mapping[str, Any], name: str) -> str | None:
        option = next(param for param in self.params if param.name == name)
        value, source = option.consume_value(ctx, given)
        return None if source is ParameterSource.DEFAULT else str(value)


@click.command(cls=_Start, context_settings=HELP)
@all_settings
@click.option("--preset", multiple=True, hidden=True, expose_value=False)
@click.pass_context
def start(ctx: click.Context, /, **_: object) -> Settings:
    """Run the workers: one parent that keeps child processes busy.

    Every option can also be set in the environment, as MULTIWORKER_PROCS and so on (several values with commas), in
    the file given with --config, or in MULTIWORKER of the Django settings given with --settings. The command line
    counts most, then the environment, the file, and Django's settings.
    """
    return settings_of(ctx)


def read(arguments: Sequence[str]) -> Settings:
    """Read the settings, or say what is wrong, or show the help.

    Args:
        arguments: what stands after ``multiworker start``.

    Raises:
        SystemExit: all has been said; with the exit code.
    """
    found = perform(["start", *arguments])
    if not isinstance(found, Settings):
        raise SystemExit(found)
    return found


def read_again(arguments: Sequence[str]) -> Settings:
    """Read the settings anew, with the same arguments.

    Args:
        arguments: what stands after ``multiworker start``.

    Raises:
        SettingsError: one line.
    """
    try:
        with start.make_context("multiworker start", list(arguments)) as ctx:
            return settings_of(ctx)
    except click.ClickException as error:
        raise SettingsError(explain(error, "multiworker start")[0]) from None
