"""``multiworker start``: settings from command line, environment and file, and then the parent."""

from collections.abc import Sequence
from functools import partial

import click

from multiworker.cli.options import all_settings, settings_of
from multiworker.cli.root import HELP, explain
from multiworker.supervisor import main
from multiworker.worker import logs
from multiworker.worker.errors import SettingsError
from multiworker.worker.settings import Settings


class _Start(click.Command):
    """Keeps its arguments, to read them again with the file and the environment on SIGHUP."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta["multiworker.arguments"] = tuple(args)
        return super().parse_args(ctx, args)


@click.command(cls=_Start, context_settings=HELP)
@all_settings
@click.pass_context
def start(ctx: click.Context, /, **_: object) -> int:
    """Run the workers: one parent that keeps child processes busy.

    Every option can also be set in the environment, as MULTIWORKER_PROCS and so on (several values with commas), or in
    the file given with --config. The command line counts most, then the environment, then the file.
    """
    settings = settings_of(ctx)
    logs.configure(settings.log_format, settings.log_level)
    return main.run(settings, partial(read_again, ctx.meta["multiworker.arguments"]))


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
