"""The page of a secret's use: who may read it and why, who did, where copies are, what a rotation breaks."""

from operator import attrgetter
from typing import Any, Final
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_GET

from audit_app.queries import usage_index
from core.parsing import whole_number
from environments_app.authentication.drf import principal_of
from environments_app.views.base import render_page, show_accounts
from secrets_app.queries.lookup import find_secret, require_authentic
from secrets_app.services.usage import check, usage_report
from sync_app.rotation.impact import impact_of
from sync_app.rotation.lookup import policy_of
from sync_app.rotation.status import working_rotations

_SHOWN: Final = 100
_MOST: Final = 1_000_000


@require_GET
def secret_usage(request: HttpRequest, id: int) -> HttpResponse:
    """Show how a secret is used; `check` counts its events again, `first` is the first reader shown."""
    actor = principal_of(request)
    secret = find_secret(actor=actor, id=id, deleted=None)
    require_authentic(secret)
    report = usage_report(actor=actor, secret=secret)
    first = whole_number(request.GET.get("first", ""), largest=_MOST) or 0
    url = reverse("secret-usage", args=[secret.pk])
    context: dict[str, Any] = {
        "secret": secret,
        "environment": secret.environment,
        "report": report,
        "readers": report.readers[first : first + _SHOWN],
        "earlier_url": f"{url}?{urlencode({'first': max(0, first - _SHOWN)})}" if first else "",
        "later_url": f"{url}?{urlencode({'first': first + _SHOWN})}"
        if report.readers[first + _SHOWN :]
        else "",
        "uncounted": usage_index.lag_text(report.behind),
    }
    show_accounts([*context["readers"], *report.ghosts], attrgetter("uuid"))
    if report.sees_everyone:
        context["impact"] = impact_of(actor=actor, secret=secret, report=report)
        context["policy"] = policy = policy_of(secret)
        rotation = working_rotations([policy]).get(policy.pk) if policy else None
        # The login of the version before works until its rotation ends; what was changed by hand is replaced.
        context["overlaps"] = bool(
            rotation and rotation.promoted_at and rotation.retiring_number == secret.previous_number
        )
        context["differences"] = check(secret) if "check" in request.GET else None
    return render_page(request, "sync_app/usage.html", context)
