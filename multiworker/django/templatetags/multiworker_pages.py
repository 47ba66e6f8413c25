"""How values and addresses are written in the pages' templates; see multiworker.django.pages.texts."""

from typing import Any

from django import template

from multiworker.django.pages import texts

register = template.Library()
for function in (texts.clean, texts.lines, texts.size, texts.duration, texts.number, texts.rate):
    register.filter(f"mw_{function.__name__}", function)


@register.simple_tag(takes_context=True)
def mw_url(context: Any, model: str, what: str, *parts: str, **query: str) -> str:
    """Return the address of a page; see Links.to()."""
    url: str = context["links"].to(model, what, *parts, **query)
    return url
