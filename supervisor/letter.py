"""What one process leaves for another in memory, settings above all: of any length, and nobody waits for a reader."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from multiworker.worker.settings import Settings


class Letter:
    """A file without a name that forked processes share; what is in it may be secret, and is never on a disk.

    Raises:
        OSError: the system refuses.
    """

    def __init__(self) -> None:
        self.fd = os.memfd_create("multiworker", os.MFD_CLOEXEC)

    def write(self, content: Mapping[str, Any]) -> None:
        """Write it, once."""
        data = json.dumps(content).encode()
        while data:
            data = data[os.write(self.fd, data) :]

    def read(self) -> dict[str, Any]:
        """Return what was written; nothing if the writer has died before it was done."""
        data = os.pread(self.fd, os.fstat(self.fd).st_size, 0)
        try:
            content: dict[str, Any] = json.loads(data)
        except ValueError:
            return {}
        return content

    def close(self) -> None:
        """Let go of it."""
        os.close(self.fd)


def as_plain(settings: Settings) -> dict[str, Any]:
    """Return settings as JSON can hold them; see from_plain()."""
    return asdict(settings)


def from_plain(fields: Mapping[str, Any]) -> Settings:
    """Make settings of what another process has written; JSON has no tuples."""
    values: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in fields.items()}
    return Settings(**values)
