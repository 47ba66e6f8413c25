"""What the shop keeps."""

from django.db import models


class Order(models.Model):
    """What somebody has ordered."""

    class Status(models.TextChoices):
        """How far an order has come."""

        PLACED = "placed"
        PAID = "paid"
        CANCELLED = "cancelled"

    number = models.CharField(max_length=50, unique=True)
    email = models.EmailField()
    amount = models.DecimalField(max_digits=9, decimal_places=2)
    status = models.CharField(max_length=10, choices=Status, default=Status.PLACED)
    placed_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        """Newest first."""

        ordering = ("-placed_at", "-pk")

    def __str__(self) -> str:
        """Return its number."""
        return self.number
