"""``python -m multiworker.django.resolve``: what a project's settings say of the engine, as JSON.

A process of its own, which ends at once: the parent loads neither Django nor the project. DJANGO_SETTINGS_MODULE names
the settings. Whatever these print goes to standard error.
"""

import json
import os
import signal
from typing import Any

from multiworker.worker.errors import SettingsError
from multiworker.worker.imports import take_over_path
from multiworker.worker.logs import describe, without_secrets


def main() -> None:
    """Answer, and exit."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # the parent blocks the signals by which this could be ended
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    take_over_path()
    with pipe:
        json.dump(_answer(), pipe)


def _answer() -> dict[str, Any]:
    try:
        from multiworker.django import queues  # noqa: PLC0415 - this imports the settings, which may raise anything

        return {"options": queues.given()}
    except SettingsError as error:
        return {"error": without_secrets(error)}
    except (Exception, SystemExit) as error:  # noqa: BLE001 - see above
        return {"error": without_secrets(describe(error))}


if __name__ == "__main__":
    main()
