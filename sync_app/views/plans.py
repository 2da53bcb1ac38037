"""The pages of plans: what will happen, what happens, what became of it; thin over the use cases."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final
from urllib.parse import urlencode

from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from audit_app.events.actions import Action
from core.canonical_json import Json
from environments_app.authentication.drf import principal_of
from environments_app.authorization.policy import allows
from environments_app.errors import Invisible
from environments_app.views.base import render_page
from secrets_app.models import Secret
from sync_app.applying import service as applying
from sync_app.backends.registry import plan_notice_of
from sync_app.domain.reconciliation import Ownership, Reason
from sync_app.errors import OVERWROTE
from sync_app.models import Plan, PlanItem, Run, SyncEntry, Target
from sync_app.models.plan import Act, ItemState, PlanKind, PlanState
from sync_app.models.run import RunKind
from sync_app.planning import service as planning
from sync_app.planning import staged_choices
from sync_app.planning.draft_items import AdoptMode, DisconnectMode
from sync_app.planning.field_diff import member_changes
from sync_app.runs import runner as runs_runner
from sync_app.state.deletions import BEYOND_BUDGET
from sync_app.state.ownership import WAITING_FOR_ADOPTION
from sync_app.targets.lookup import find_item
from sync_app.views.base import REFUSALS, refused, require_target, rights
from sync_app.views.presenters.plans import (
    ACT_LOOKS,
    act_counts,
    budget_words,
    changes,
    first_items,
    is_live,
    last_look,
    matching_items,
    plan_sections,
    progress,
    summary,
    written_version,
)
from sync_app.views.presenters.targets import where

# The number of lines on a page of one act, and of names on a page to adopt.
_LINES: Final = 100
_CHOICE: Final = "choice-"
_NAMES: Final = 200
_MADE: Final = frozenset({PlanState.READY, PlanState.DONE})
_ADOPTIONS: Final = (
    (
        AdoptMode.TAKE_REMOTE,
        "Keep target value",
        "Keeper imports the target's value and leaves it as it is. The secret is marked there as managed.",
    ),
    (AdoptMode.OVERWRITE, "Overwrite with Keeper value", "Keeper's value replaces the target's value."),
    (
        AdoptMode.IF_EQUAL,
        "Only if identical",
        "Imports secrets whose values are the same on both sides, and skips the rest.",
    ),
)
_NOT_OURS: Final = (Act.UNMANAGED, Act.OWNERSHIP_LOST)
_OVERWRITTEN: Final = Q(state=ItemState.FAILED, error__startswith=OVERWROTE)
_ADOPTABLE: Final = Q(act__in=_NOT_OURS) | _OVERWRITTEN
_LEAVINGS: Final = (
    (
        DisconnectMode.LEAVE,
        "Keep them",
        "Keeper removes its mark. Apps that read these secrets are not affected.",
    ),
    (
        DisconnectMode.WITHDRAW,
        "Delete them",
        "Secrets that Keeper created are deleted in the target (recoverable). The rest stays.",
    ),
)


@require_POST
def target_plan(request: HttpRequest, id: int) -> HttpResponse:
    options: dict[str, Json] = {BEYOND_BUDGET: True} if request.POST.get(BEYOND_BUDGET) == "on" else {}
    return _queue_plan(request, id, PlanKind.SYNC, options)


@require_POST
def target_sync(request: HttpRequest, id: int) -> HttpResponse:
    return _queue_and_redirect(
        request, id, lambda target: runs_runner.request_sync(actor=principal_of(request), target=target)
    )


@require_POST
def target_check(request: HttpRequest, id: int) -> HttpResponse:
    return _queue_and_redirect(
        request, id, lambda target: runs_runner.request_check(actor=principal_of(request), target=target)
    )


@require_GET
def plan_detail(request: HttpRequest, id: int) -> HttpResponse:
    """Show a plan; while it is made or carried out, the page refreshes automatically."""
    plan = _require_plan(request, id)
    target = plan.target
    run = Run.objects.filter(plan=plan).first()
    act, searched = request.GET.get("act", ""), request.GET.get("q", "").strip()
    matching = matching_items(plan, searched)
    items, next_url = _items(request, matching, act, searched)
    live = is_live(plan, run)
    may_apply = _may(request, plan, ordinary="sync")
    chosen = _choices(request.GET) if staged_choices.takes_choices(plan) else {}
    conflicts = any(plan.counts.get(each) for each in staged_choices.RESOLVABLE)
    left_alone = _why_left_alone(plan, items)
    context = {
        "plan": plan,
        "target": target,
        "environment": target.environment,
        "where": where(target),
        "notice": plan_notice_of(str(target.backend)),
        "summary": summary(plan),
        "changes": changes(plan),
        "left_alone": left_alone,
        "budget": budget_words(plan),
        "over_budget": plan.items.filter(act=Act.REFUSED, reason__startswith=Reason.OVER_BUDGET).exists(),
        "sections": plan_sections(
            plan,
            [] if left_alone else items,
            counts=act_counts(matching) if searched else plan.counts,
            searched=searched,
            chosen=chosen,
            may_reveal=lambda name: _may_reveal(request, plan, name),
        ),
        # Of what this page does not list.
        "further_choices": {item: chosen[item] for item in chosen.keys() - {each.pk for each in items}},
        "searched": searched,
        "act_name": act if act in set(Act) else "",
        "act": ACT_LOOKS[Act(act)] if act in set(Act) else None,
        "next_url": next_url,
        "run": run,
        "progress": progress(run, total=changes(plan)),
        "live": live,
        "live_url": request.get_full_path(),
        "can": rights(principal_of(request), target),
        "may_apply": may_apply,
        "may_plan": _may(request, plan, ordinary="plan"),
        "takes_choices": may_apply and conflicts and not live and staged_choices.takes_choices(plan),
        "removable": plan.kind == PlanKind.DISCONNECT
        and plan.state == PlanState.DONE
        and not SyncEntry.objects.filter(target=target).exclude(ownership="none").exists(),
    }
    return render_page(request, "sync_app/plan_detail.html", context, partial="sync_app/_plan.html")


@require_POST
def plan_apply(request: HttpRequest, id: int) -> HttpResponse:
    plan = _require_plan(request, id)
    url = reverse("plan-detail", args=[id])
    try:
        applying.request_apply(actor=principal_of(request), plan=plan, choices=_choices(request.POST))
    except REFUSALS as error:
        return refused(request, error, url)
    return redirect(url)


def _why_left_alone(plan: Plan, items: Sequence[PlanItem]) -> str:
    """Return why a plan of one choice writes nothing; empty where it does, or is another plan."""
    if "choice" not in plan.options or plan.state not in _MADE or changes(plan):
        return ""
    return "; ".join(f"{item.name}: {item.reason}" for item in items) or "the secret is on neither side"


def _choices(query: QueryDict) -> dict[int, str]:
    """Return the choices about conflicts, by the ids of items; those left for later are not named."""
    fields = {name.removeprefix(_CHOICE): text for name, text in query.items() if name.startswith(_CHOICE)}
    return {int(item): str(text) for item, text in fields.items() if text and item.isdecimal()}


@require_POST
def plan_again(request: HttpRequest, id: int) -> HttpResponse:
    plan = _require_plan(request, id)
    return _queue_and_redirect(
        request,
        plan.target_id,
        lambda _: planning.request_repeat(actor=principal_of(request), plan=plan),
        back=reverse("plan-detail", args=[id]),
    )


@require_http_methods(["GET", "POST"])
def plan_item(request: HttpRequest, id: int, item: int) -> HttpResponse:
    """Show both sides of what needs a decision, masked, and take the decision.

    It leads back to the plan, with the other choices that the address holds. What no plan takes, such as a
    choice about a plan that was applied, is carried out at once.
    """
    plan = _require_plan(request, id)
    row = find_item(plan=plan, id=item)
    if request.method == "POST":
        try:
            run = applying.request_resolution(
                actor=principal_of(request), item=row, choice=request.POST.get("choice", "")
            )
        except REFUSALS as error:
            return refused(request, error, reverse("plan-item", args=[id, item]))
        return _to_plan(run)
    can = rights(principal_of(request), plan.target)
    staged = can["sync"] and staged_choices.takes_choices(plan)
    others = {item: choice for item, choice in _choices(request.GET).items() if item != row.pk}
    secret = Secret.objects.filter(uuid=row.secret_uuid).first() if row.secret_uuid else None
    number = row.keeper_number
    version = secret.versions.filter(number=number).defer("value").first() if secret and number else None
    context = {
        "plan": plan,
        "item": row,
        "look": ACT_LOOKS[Act(row.act)],
        "target": plan.target,
        "environment": plan.target.environment,
        "where": where(plan.target),
        "secret": secret,
        "version": version,
        "written": written_version(row.target_version),
        "moved_on": secret.current_number
        if secret and secret.live and secret.current_number != number
        else 0,
        "entry": SyncEntry.objects.filter(target=plan.target, name=row.name).first(),
        "can": can,
        "stages_ours": staged and staged_choices.can_keep_local(row),
        "stages_theirs": staged and staged_choices.can_take_remote(row),
        "other_choices": others,
        "plan_url": f"{reverse('plan-detail', args=[id])}?{urlencode(dict(request.GET.items()))}".rstrip("?"),
    }
    return render_page(request, "sync_app/plan_item.html", context)


@require_http_methods(["GET", "POST"])
def plan_item_members(request: HttpRequest, id: int, item: int) -> HttpResponse:
    """Offer the names of the members that an update changes; a POST shows them, recorded as a reveal."""
    plan = _require_plan(request, id)
    row = find_item(plan=plan, id=item)
    context = {
        "plan": plan,
        "item": row,
        "target": plan.target,
        "environment": plan.target.environment,
        "where": where(plan.target),
        "can_reveal": _may_reveal(request, plan, row.name),
        "parts": None,
    }
    if request.method == "POST":
        try:
            context["parts"] = member_changes(actor=principal_of(request), item=row)
        except REFUSALS as error:
            return refused(request, error, reverse("plan-item-members", args=[id, item]))
    return render_page(request, "sync_app/plan_item_members.html", context)


@require_http_methods(["GET", "POST"])
def target_adopt(request: HttpRequest, id: int) -> HttpResponse:
    target = require_target(request, id, Action.TARGET_ADOPT)
    latest = last_look(target)
    owned = SyncEntry.objects.filter(target=target).exclude(ownership=Ownership.NONE)
    owned = owned.exclude(WAITING_FOR_ADOPTION)
    found = PlanItem.objects.filter(_ADOPTABLE, plan=latest)
    if name := request.GET.get("name", ""):
        found = found.filter(name=name)
    # Some of them may have been adopted since that look.
    adopted = found.filter(name__in=owned.values("name"))
    items = found.exclude(pk__in=adopted.values("pk")).order_by("name")
    if request.method == "POST":
        everything = request.POST.get("all") == "on"
        names = list(items.values_list("name", flat=True)) if everything else request.POST.getlist("names")
        options: dict[str, Json] = {"names": [*names], "mode": request.POST.get("mode", "")}
        return _queue_plan(request, id, PlanKind.ADOPT, options, back=reverse("target-adopt", args=[id]))
    after = request.GET.get("after", "")
    shown = list(items.filter(name__gt=after)[: _NAMES + 1])
    context = {
        "target": target,
        "environment": target.environment,
        "where": where(target),
        "plan": latest,
        "items": shown[:_NAMES],
        "next_url": f"?{urlencode({'after': shown[_NAMES - 1].name})}" if len(shown) > _NAMES else "",
        "run": Run.objects.filter(target=target, active=True, kind=RunKind.PLAN).first(),
        "count": _count_adoptable(latest, name) - adopted.count() if latest else 0,
        "name": name,
        "modes": _ADOPTIONS,
        "can": rights(principal_of(request), target),
    }
    return render_page(request, "sync_app/adopt.html", context)


def _count_adoptable(plan: Plan, name: str) -> int:
    if name:
        return PlanItem.objects.filter(_ADOPTABLE, plan=plan, name=name).count()
    overwritten = PlanItem.objects.filter(_OVERWRITTEN, plan=plan).count()
    return overwritten + sum(int(plan.counts.get(act, 0)) for act in _NOT_OURS)


@require_http_methods(["GET", "POST"])
def target_disconnect(request: HttpRequest, id: int) -> HttpResponse:
    target = require_target(request, id, Action.TARGET_REMOVE)
    if request.method == "POST":
        options: dict[str, Json] = {"mode": request.POST.get("mode", "")}
        back = reverse("target-disconnect", args=[id])
        return _queue_plan(request, id, PlanKind.DISCONNECT, options, back=back)
    context = {
        "target": target,
        "environment": target.environment,
        "where": where(target),
        "count": SyncEntry.objects.filter(target=target).exclude(ownership="none").count(),
        "modes": _LEAVINGS,
        "can": rights(principal_of(request), target),
    }
    return render_page(request, "sync_app/disconnect.html", context)


def _queue_plan(
    request: HttpRequest, id: int, kind: PlanKind, options: Mapping[str, Json], *, back: str = ""
) -> HttpResponse:
    plan = partial(planning.request_plan, actor=principal_of(request), kind=kind, options=options)
    return _queue_and_redirect(request, id, lambda target: plan(target=target), back=back)


def _queue_and_redirect(
    request: HttpRequest, id: int, use_case: Callable[[Target], Run], *, back: str = ""
) -> HttpResponse:
    target = require_target(request, id)
    try:
        run = use_case(target)
    except REFUSALS as error:
        return refused(request, error, back or reverse("target-detail", args=[id]))
    return _to_plan(run)


def _to_plan(run: Run) -> HttpResponse:
    if run.plan_id:
        return redirect("plan-detail", id=run.plan_id)
    return redirect("target-detail", id=run.target_id)


def _require_plan(request: HttpRequest, id: int) -> Plan:
    plan = Plan.objects.filter(pk=id).first()
    if plan is None:
        raise Invisible("There is no such plan.")
    plan.target = require_target(request, plan.target_id)
    return plan


def _may(request: HttpRequest, plan: Plan, *, ordinary: str) -> bool:
    """Return whether the actor has the right `ordinary` for a plan, or the right of the plan's kind."""
    needed = {PlanKind.ADOPT: "adopt", PlanKind.DISCONNECT: "remove"}.get(PlanKind(plan.kind), ordinary)
    return rights(principal_of(request), plan.target)[needed]


def _may_reveal(request: HttpRequest, plan: Plan, name: str) -> bool:
    actor, environment = principal_of(request), plan.target.environment_id
    return allows(actor, Action.SECRET_REVEAL, environment_id=environment, name=name)


def _items(
    request: HttpRequest, matching: QuerySet[PlanItem], act: str, searched: str
) -> tuple[list[PlanItem], str]:
    """Return the items of the page, and the address of the next page of one act."""
    if act not in set(Act):
        return first_items(matching), ""
    items = matching.filter(act=act, name__gt=request.GET.get("after", ""))
    rows = list(items.order_by("name")[: _LINES + 1])
    if len(rows) <= _LINES:
        return rows, ""
    query = {"act": act, "after": rows[_LINES - 1].name} | ({"q": searched} if searched else {})
    return rows[:_LINES], f"?{urlencode(query)}"
