"""The command line, one file a command. Importing this loads neither Redis, nor asyncio, nor Django."""

from multiworker.cli.root import main

__all__ = ["main"]
