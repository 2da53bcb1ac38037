"""How one cell of a report is shown."""

from datetime import datetime

from django import template
from django.utils.html import conditional_escape
from django.utils.safestring import SafeString

from audit_app.queries.reports import Cell
from keeper_project.templatetags.keeper_ui import when

register = template.Library()


@register.simple_tag
def cell(content: Cell) -> SafeString:
    """Show a time as everywhere, yes or no for a truth, and else the text."""
    if isinstance(content, datetime):
        return when(content)
    if isinstance(content, bool):
        return SafeString("yes" if content else "no")
    return conditional_escape("" if content is None else str(content))
