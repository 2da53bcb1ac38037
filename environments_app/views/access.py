"""Pages of access: who has access to an environment, what waits for its managers, and one membership.

The role, reach and end of a membership are changed by the use case.
"""

from collections.abc import Sequence
from datetime import date, datetime

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from audit_app.events.actions import Action
from audit_app.integrity.row_state import state_digest
from core.errors import BadQuery
from environments_app.approvals.one_person import confirmers, named
from environments_app.approvals.program_releases import explain_all_access
from environments_app.authorization.credential_custody import CustodyGraph
from environments_app.authorization.effective_access import AccessPath, held_accounts
from environments_app.authorization.policy import Principal, allows, require
from environments_app.environments import memberships as memberships_service
from environments_app.environments.access_history import PastAccess, explain_past_access
from environments_app.environments.memberships import BY_SINGLE_SIGN_ON
from environments_app.errors import ConfirmationNeeded, Conflict, InvalidField
from environments_app.forms.environment import DayForm, MemberChangeForm
from environments_app.models import Environment, Source
from environments_app.names import MAX_PREFIX
from environments_app.users import suspensions
from environments_app.users.accounts import user_by_name
from environments_app.users.suspensions import suspended_accounts, suspended_mappings
from environments_app.views.base import attempt, confirm_first, enter_environment, render_page, run_act


@require_GET
def environment_access(request: HttpRequest, name: str) -> HttpResponse:
    """Explain who can read what in an environment and why, and show what is suspended."""
    actor, environment = enter_environment(request, name)
    asked = {key: request.GET.get(key, "").strip()[:MAX_PREFIX] for key in ("person", "token", "name")}
    require(actor=actor, action=Action.MEMBER_VIEW, environment=environment)
    form, day = DayForm(request.GET), None
    ways: Sequence[AccessPath] | Sequence[PastAccess] = ()
    if form.is_valid():
        day = form.cleaned_data["as_of"]
        try:
            ways = _ways(actor, environment, day, **asked)
        except BadQuery as error:
            form.add_error("as_of", error.reason)
    custody = CustodyGraph()
    context = {
        "asked": asked,
        "form": form,
        "day": day,
        "holders": _by_holder(ways),
        "readers": len({(way.kind, way.who) for way in ways if way.reads}),
        "environment": environment,
        "can_confirm": allows(actor, Action.ACCESS_CONFIRM, environment_id=environment.pk),
        "accounts": suspended_accounts(environment),
        "mappings": suspended_mappings(environment),
        "held": [
            {
                "user": each.user,
                "by": each.by,
                # Who would refuse this person's word: whoever could sign in as both is behind it.
                "same_person": custody.are_one(actor.uuid, [each.user.uuid], environment=environment),
                "confirmers": named(confirmers(each.user, environment, custody), "or"),
            }
            for each in held_accounts(environment)
        ],
        "confirm_url": reverse("access-confirm", args=[name]),
    }
    return render_page(request, "environments_app/access.html", context)


def _ways(
    actor: Principal, environment: Environment, day: date | None, *, person: str, token: str, name: str
) -> Sequence[AccessPath] | Sequence[PastAccess]:
    if day is None:
        return explain_all_access(actor=actor, environment=environment, person=person, token=token, name=name)
    return explain_past_access(
        actor=actor, environment=environment, day=day, person=person, token=token, name=name
    )


def _by_holder(
    ways: Sequence[AccessPath] | Sequence[PastAccess],
) -> list[tuple[bool, list[AccessPath | PastAccess]]]:
    """Return whether each person, token or trust can read, with all ways, those that let them read first."""
    holders: dict[tuple[str, str], list[AccessPath | PastAccess]] = {}
    for way in ways:
        holders.setdefault((way.kind, way.who), []).append(way)
    return [
        (any(way.reads for way in each), sorted(each, key=lambda way: not way.reads))
        for each in holders.values()
    ]


@require_POST
def access_confirm(request: HttpRequest, name: str) -> HttpResponse:
    """Confirm that an account is in its person's hands."""
    actor, environment = enter_environment(request, name)
    require(actor=actor, action=Action.ACCESS_CONFIRM, environment=environment)
    try:
        user = user_by_name(request.POST.get("user") or "?")
        if user is not None:
            text = request.POST.get("since", "")
            since = _moment(text) if text else None
            suspensions.confirm_account(actor=actor, environment=environment, user=user, since=since)
            effect = "can read values again" if since else "counts as a person of their own in approvals now"
            messages.success(request, f"{user.username} {effect}.")
    except (InvalidField, Conflict) as error:
        messages.error(request, str(error))
    except ConfirmationNeeded:
        return confirm_first(request, back=reverse("environment-access", args=[name]))
    return redirect("environment-access", name=name)


@require_POST
def mapping_confirm(request: HttpRequest, name: str, id: int) -> HttpResponse:
    actor, environment = enter_environment(request, name)
    mapping = suspensions.find_suspended_mapping(actor=actor, environment=environment, id=id)
    return run_act(
        request,
        lambda: suspensions.confirm_mapping(actor=actor, mapping=mapping),
        f"The members of {mapping.group} get their role at their next sign-in.",
        back=reverse("environment-access", args=[name]),
    )


def _moment(text: str) -> datetime:
    """Return the time that the page carried. Raises InvalidField."""
    try:
        moment = parse_datetime(text)
    except ValueError:
        moment = None
    if moment is None:
        raise InvalidField("since", "The page is out of date. Reload it and try again.")
    return moment


@require_http_methods(["GET", "POST"])
def member_change(request: HttpRequest, name: str, id: int) -> HttpResponse:
    """Change what a membership allows, for what names and until when; what was not touched stays."""
    actor, environment = enter_environment(request, name)
    membership = memberships_service.find_membership(actor=actor, environment=environment, id=id)
    # A form that the use case would refuse is not offered.
    require(actor=actor, action=Action.MEMBER_CHANGE, environment=environment)
    seen = state_digest(membership)
    initial = {field: getattr(membership, field) for field in ("role", "prefix", "expires_at")}
    form = MemberChangeForm(request.POST or None, initial={**initial, "seen": seen})
    if request.method == "POST" and form.is_valid():
        # The form was made of another state, which sending it would bring back.
        if form.cleaned_data["seen"] not in {"", seen}:
            messages.error(request, "Someone else changed this access. Reload the page and try again.")
            return redirect("member-change", name=name, id=id)
        changes = {field: form.cleaned_data[field] for field in form.changed_data if field != "seen"}
        changed = attempt(
            form, lambda: memberships_service.change_membership(actor=actor, membership=membership, **changes)
        )
        if changed is not None:
            messages.success(request, "Access changed." if changes else "No changes to save.")
            return redirect("environment-detail", name=name)
    context = {
        "environment": environment,
        "membership": membership,
        "form": form,
        "elsewhere": BY_SINGLE_SIGN_ON if membership.source == Source.SAML else "",
        "back_url": reverse("environment-detail", args=[name]),
    }
    return render_page(request, "environments_app/member_change.html", context)
