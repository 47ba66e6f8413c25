"""``multiworker stop``: what runs is finished, then the parent ends."""

import signal
import time

import click

from multiworker.cli.instances import choose, instance_options
from multiworker.cli.output import say
from multiworker.cli.root import HELP

LOOK = 0.05
"""Seconds between two looks at what is left."""


@click.command(context_settings=HELP)
@click.option("--wait", is_flag=True, help="Until parent and children are gone.")
@instance_options
def stop(*, wait: bool, name: str | None, pid: int | None) -> None:
    """Have the children finish what runs, within --grace, and then the parent end, as SIGTERM does."""
    instance = choose(name, pid)
    instance.send(signal.SIGTERM)
    if not wait:
        say(f"{instance.spoken} has been told to stop")
        return
    while not instance.has_ended(LOOK):
        continue
    while instance.children():  # of a parent that was killed meanwhile
        time.sleep(LOOK)
    say(f"{instance.spoken} has stopped")
