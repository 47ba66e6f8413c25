"""What the admin shows of multiworker, all of which lies in Redis: these models have no table, but names and rights."""

from django.db import models


class Page(models.Model):
    """A page of the admin; not a table."""

    class Meta:
        """Nothing to create; the right to look is the only one unless a page has more."""

        abstract = True
        managed = False
        default_permissions = ("view",)


class Queue(Page):
    """The queues: what waits, what runs, how fast it goes."""

    class Meta(Page.Meta):
        """How it is called."""

        abstract = False
        verbose_name = "queue"


class Worker(Page):
    """The workers of all hosts, and what they run."""

    class Meta(Page.Meta):
        """How it is called."""

        abstract = False
        verbose_name = "worker"


class DeadLetter(Page):
    """The dead letters, with their payloads and tracebacks."""

    class Meta(Page.Meta):
        """How it is called, and what may be done with them."""

        abstract = False
        verbose_name = "dead letter"
        permissions = (
            ("requeue_deadletter", "Can requeue dead letter"),
            ("discard_deadletter", "Can discard dead letter"),
        )


class Task(Page):
    """What waits and what is put off, and the story of one task; with payloads."""

    class Meta(Page.Meta):
        """How it is called."""

        abstract = False
        verbose_name = "task"
