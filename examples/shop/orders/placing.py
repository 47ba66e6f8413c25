"""Placing an order: what a view of a real shop would call."""

import secrets
from datetime import timedelta
from decimal import Decimal

from django.db import transaction
from django.utils import timezone

from orders.models import Order
from orders.tasks import cancel_unpaid, confirm_payment, send_receipt

TIME_TO_PAY = timedelta(seconds=2)


@transaction.atomic
def place(email: str, amount: Decimal, *, paid: bool) -> Order:
    """Place an order, and send its tasks. They are sent when the transaction is committed, so they find the order.

    Args:
        email: of the customer.
        amount: in euros.
        paid: the payment has arrived.

    Returns:
        The order.
    """
    order = Order.objects.create(number=secrets.token_hex(4), email=email, amount=amount)
    send_receipt.enqueue(order.number)
    if paid:
        confirm_payment.enqueue(order.number)
    cancel_unpaid.using(run_after=timezone.now() + TIME_TO_PAY).enqueue(order.number)
    return order
