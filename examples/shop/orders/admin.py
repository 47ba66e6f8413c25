"""The orders in the admin."""

from django.contrib import admin

from orders.models import Order


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):
    """A list of orders."""

    list_display = ("number", "email", "amount", "status", "placed_at")
    list_filter = ("status",)
    search_fields = ("number", "email")
