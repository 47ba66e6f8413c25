"""Tasks of django.tasks: functions that a request puts off until after its answer.

Each may run a second time if a process dies, so each leaves an order alone that it has handled before.
"""

from django.core.mail import send_mail

from orders.models import Order

try:
    from django.tasks import task
except ImportError:  # Django 5.2 has none: the package django-tasks
    from django_tasks import task


@task(priority=50)
async def confirm_payment(number: str) -> str:
    """Mark an order as paid; before other tasks, because somebody waits for it."""
    await Order.objects.filter(number=number, status=Order.Status.PLACED).aupdate(status=Order.Status.PAID)
    return (await Order.objects.aget(number=number)).status


@task
def send_receipt(number: str) -> str:
    """Send the mail that says what was ordered. A plain function runs in a thread, so it may block."""
    order = Order.objects.get(number=number)
    send_mail(f"Your order {order.number}", f"Thank you for {order.amount} euros.", None, [order.email])
    return order.email


@task(priority=-50)
def cancel_unpaid(number: str) -> bool:
    """Cancel an order that was not paid in time; sent with ``run_after``, and after everything else."""
    return bool(Order.objects.filter(number=number, status=Order.Status.PLACED).update(status=Order.Status.CANCELLED))
