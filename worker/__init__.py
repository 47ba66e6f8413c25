"""The child process: consume, execute, settle; the Redis protocol; the client.

A task goes down a chain of owners and never back up::

    consumer -> broker.step -> executor -> handler -> outcome.decide -> broker.step
"""
