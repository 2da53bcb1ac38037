"""Bulk actions of the admin: with a confirmation where it is costly, each row separately."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from environments_app.authentication.drf import principal_of

if TYPE_CHECKING:
    from environments_app.admin.base import ServiceAdmin

_SHOWN: Final = 50
# The answer to the question, in the form that asked it.
_AGREED: Final = "agreed"


def run_for_each(
    page: "ServiceAdmin",
    request: HttpRequest,
    rows: QuerySet[Any],
    use_case: Callable[..., object],
    *,
    takes: str,
    done: str,
    asks: str = "",
    named: Callable[[Any], str] = str,
) -> HttpResponse | None:
    """Run one use case for each row, and show the results and refusals.

    `use_case` gets `actor` and the row by the name `takes`; a refusal (`page.refusals`) is shown for that
    row, and the others continue. With `asks`, the cost, nothing is done before a confirmation: the question
    is returned.
    """
    if asks and _AGREED not in request.POST:
        return _question(page, request, rows, asks, named)
    actor, succeeded = principal_of(request), []
    for row in rows:
        try:
            use_case(actor=actor, **{takes: row})
        except page.refusals as error:
            page.message_user(request, f"Not done for {named(row)}: {error}", messages.WARNING)
        else:
            succeeded.append(named(row))
    if succeeded:
        page.message_user(request, f"{done}: {', '.join(succeeded)}.", messages.SUCCESS)
    return None


def _question(
    page: "ServiceAdmin", request: HttpRequest, rows: QuerySet[Any], asks: str, named: Callable[[Any], str]
) -> HttpResponse:
    name, count = request.POST["action"], rows.count()
    description = next(told for act, told in page.get_action_choices(request) if act == name)
    context = {
        **page.admin_site.each_context(request),
        "title": f"{description}?",
        "opts": page.model._meta,
        "media": page.media,
        "asks": asks,
        "count": count,
        "names": [named(row) for row in rows[:_SHOWN]],
        "more": max(0, count - _SHOWN),
        "action": name,
        "checkbox": ACTION_CHECKBOX_NAME,
        "chosen": request.POST.getlist(ACTION_CHECKBOX_NAME),
        "across": request.POST.get("select_across", "0"),
        "agreed": _AGREED,
    }
    return TemplateResponse(request, "admin/act_on_each.html", context)
