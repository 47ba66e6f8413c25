"""What tasks write into the database."""

from django.db import models


class Note(models.Model):
    """Something that a task has done.

    Args:
        key: says which task, or whatever a test wants to find it by.
        text: what it has done.
    """

    key = models.CharField(max_length=200, db_index=True)
    text = models.TextField(blank=True)

    def __str__(self) -> str:
        return f"{self.key}: {self.text}"
