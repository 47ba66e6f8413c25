"""``python -m multiworker`` is the ``multiworker`` command."""

from multiworker.cli import main

if __name__ == "__main__":
    main()
