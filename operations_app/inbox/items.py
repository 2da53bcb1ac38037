"""Finds a user's inbox items: by their present rights, with a constant number of statements.

Nothing is stored per user. Each kind has a time at which it became news (an alert was raised, an expiry
came near, a rotation fell due, a request was made), so the items since the last visit are a range of an
index.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import Case, Q, QuerySet, When
from django.urls import reverse
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.integrity.row_authentication import verified_rows
from environments_app.access_requests import service as access_requests
from environments_app.access_requests.decisions import KIND as ACCESS_REQUEST
from environments_app.access_requests.decisions import until_words
from environments_app.approvals.history import comments_for
from environments_app.approvals.service import in_state, resolved_for, waiting_for
from environments_app.authorization.policy import Principal, environments_for
from environments_app.models import (
    AccessRequest,
    Alert,
    Approval,
    ApprovalState,
    Environment,
    Membership,
    NoticeKind,
    RequestState,
)
from environments_app.notifications.service import EMERGENCY
from secrets_app.models import Secret
from secrets_app.queries.lookup import visible_secrets

EXPIRY_NOTICE: Final = timedelta(days=30)
SHOWN: Final = 20
# More of one kind is not told apart by a number, and would cost each page the more.
COUNTED: Final = 100
# Users who see the whole environment may see these; managers see the rest.
_FOR_VIEWERS: Final = ("sync.", "rotation.")
# The alerts of requests, which are listed as approvals to those who may answer them.
_OF_REQUESTS: Final = ("approval", ACCESS_REQUEST)
_TITLES: Final = {
    NoticeKind.APPROVALS: "Approvals",
    NoticeKind.FAILURES: "Failures and what else is open",
    NoticeKind.ROTATION: "Rotation due",
    NoticeKind.EXPIRY: "Expiring",
}


@dataclass(frozen=True, kw_only=True)
class InboxItem:
    """One inbox item; it names its object and holds no value."""

    title: str
    url: str
    at: datetime
    state: str
    environment: str = ""
    lines: Sequence[str] = ()
    # What the title's own moment is: when something expires, or was due.
    moment: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Section:
    """What there is of one kind; `more` where not all of it is shown, `all_url` leads to all of it."""

    kind: NoticeKind
    title: str
    notices: Sequence[InboxItem]
    more: bool
    all_url: str

    def since(self, seen: datetime | None) -> int:
        """Return how many came after a moment."""
        return sum(1 for notice in self.notices if seen is None or notice.at > seen)


def sections(actor: Principal, kinds: Sequence[NoticeKind] = tuple(NoticeKind)) -> list[Section]:
    """Return a user's items of these kinds, without empty kinds."""
    sections_found = []
    for kind in kinds:
        find, url = _FINDERS[kind]
        notices = find(actor)
        if notices:
            sections_found.append(
                Section(
                    kind=kind,
                    title=_TITLES[kind],
                    notices=notices[:SHOWN],
                    more=len(notices) > SHOWN,
                    all_url=url(),
                )
            )
    return sections_found


def count_new(
    actor: Principal,
    *,
    seen: datetime | None,
    waiting: Sequence[Approval],
    others: Sequence[Approval | AccessRequest],
) -> int:
    """Return how much is new to a person who last looked at `seen`; four statements.

    Of each kind at most COUNTED count, so that a page costs the same however much there is.
    `waiting` are the approvals that wait for them, `others` the outcomes of their own and the requests for
    access, which the frame of a page knows already.
    """
    now = timezone.now()
    alerts, secrets = open_alerts(actor), visible_secrets(actor)
    expiring, due = Q(expires_at__lte=now + EXPIRY_NOTICE), Q(rotation_due_at__lte=now)
    if seen is not None:
        alerts = alerts.filter(told_at__gt=seen)
        expiring &= Q(expires_at__gt=seen + EXPIRY_NOTICE)
        due &= Q(rotation_due_at__gt=seen)
    comments = comments_for(actor, waiting)
    comments = comments if seen is None else comments.filter(at__gt=seen)
    count = sum(1 for request in (*waiting, *others) if seen is None or _moved_at(request) > seen)
    near = _bounded(secrets.filter(expiring).order_by("expires_at", "id"))
    late = _bounded(secrets.filter(due).order_by("rotation_due_at", "id"))
    return count + _bounded(comments) + _bounded(alerts.order_by("-told_at", "-id")) + near + late


def _bounded(rows: QuerySet[Any]) -> int:
    return len(rows.values_list("pk", flat=True)[:COUNTED])


def open_alerts(actor: Principal) -> QuerySet[Alert]:
    """Return the open alerts that an actor may know of; None as environment is the installation."""
    told = Alert.objects.filter(
        open=True, told_at__isnull=False, environment__deleted_at__isnull=True
    ).exclude(kind__in=_OF_REQUESTS)
    if actor.sees_installation:
        return told
    condition = Q(pk__in=())
    managed = environments_for(actor, Action.NOTIFICATION_VIEW)
    if managed is not None:
        condition |= Q(environment__in=Environment.objects.filter(managed))
    environments = environments_for(actor, Action.SECRET_VIEW)
    if environments is not None:
        kinds = Q()
        for prefix in _FOR_VIEWERS:
            kinds |= Q(kind__startswith=prefix)
        condition |= kinds & Q(environment__in=Environment.objects.filter(environments))
    return told.filter(condition)


def _failures(actor: Principal) -> list[InboxItem]:
    # What only a person ends comes first: newer alerts would push it out of the list.
    waits = Case(When(kind=EMERGENCY, then=0), default=1)
    rows = open_alerts(actor).select_related("environment").order_by(waits, "-told_at", "-id")
    return [
        InboxItem(
            title=alert.subject,
            url=alert.link,
            at=alert.told_at or alert.opened_at,
            state="failed",
            environment=alert.environment.name if alert.environment else "",
            lines=alert.lines,
        )
        for alert in rows[: SHOWN + 1]
    ]


def _expiring(actor: Principal) -> list[InboxItem]:
    now = timezone.now()
    rows = visible_secrets(actor).filter(expires_at__lte=now + EXPIRY_NOTICE)
    return [
        InboxItem(
            title=secret.name,
            url=reverse("secret-detail", args=[secret.pk]),
            at=secret.expires_at - EXPIRY_NOTICE,
            state="expired" if secret.expires_at <= now else "expiring",
            environment=secret.environment.name,
            moment=secret.expires_at,
        )
        for secret in _first(rows, "expires_at")
        if secret.expires_at
    ]


def _due(actor: Principal) -> list[InboxItem]:
    rows = visible_secrets(actor).filter(rotation_due_at__lte=timezone.now())
    return [
        InboxItem(
            title=secret.name,
            url=reverse("secret-detail", args=[secret.pk]),
            at=secret.rotation_due_at,
            state="overdue",
            environment=secret.environment.name,
            moment=secret.rotation_due_at,
        )
        for secret in _first(rows, "rotation_due_at")
        if secret.rotation_due_at
    ]


def _first(rows: QuerySet[Secret], column: str) -> list[Secret]:
    # The row's own condition excludes NULL, which the order would otherwise have to place.
    return verified_rows(rows.order_by(column, "pk")[: SHOWN + 1])


def _approvals(actor: Principal) -> list[InboxItem]:
    decided = resolved_for(actor)
    waiting = [(row, "asked", f"{row.requester_name} asks to") for row in waiting_for(actor)]
    ready = [
        (row, "approved", "Approved, ready to apply: the request to")
        for row in in_state(decided, ApprovalState.APPROVED)
    ]
    refused = [
        (row, "refused", f"{row.decided_by_name} rejected your request to")
        for row in in_state(decided, ApprovalState.REJECTED)
    ]
    applied = [
        (row, "carried_out", f"{row.decided_by_name} approved your request, now applied, to")
        for row in in_state(decided, ApprovalState.EXECUTED)
    ]
    access = [
        InboxItem(
            title=f"{row.requester.username} asks for access as {row.get_role_display()}",
            url=reverse("access-request-detail", args=[row.pk]),
            at=row.asked_at,
            state="asked",
            environment=row.environment_name,
        )
        for row in access_requests.waiting_for(actor)
    ]
    return [*access, *_answered(actor), *_comments(actor, [row for row, _, _ in waiting])] + [
        InboxItem(
            title=f"{words} {row.asked_act}",
            url=reverse("approval-detail", args=[row.pk]),
            at=_moved_at(row),
            state=state,
            environment=row.environment.name,
            lines=f"Comment: {row.comment}".splitlines() if row.comment else [],
        )
        for row, state, words in (*waiting, *ready, *applied, *refused)
    ]


def _answered(actor: Principal) -> list[InboxItem]:
    """Return the answers to the actor's own requests for access."""
    rows = access_requests.answered_for(actor)
    granted = [row.membership_uuid for row in rows if row.membership_uuid]
    memberships = {row.uuid: row for row in Membership.objects.filter(uuid__in=granted)} if granted else {}
    items = []
    for row in rows:
        who = row.decided_by.username if row.decided_by else "Keeper"
        membership = memberships.get(row.membership_uuid) if row.membership_uuid else None
        if row.state == RequestState.REJECTED:
            title, state = f"{who} rejected your request for access", "refused"
        elif membership is None or membership.is_expired:
            title, state = f"{who} gave you access. It has ended.", "expired"
        else:
            role = membership.get_role_display()
            title, state = f"{who} gave you the {role} role {until_words(membership)}", "granted"
        open_now = f"{reverse('secret-list')}?environment={row.environment_name}"
        items.append(
            InboxItem(
                title=title,
                url=open_now if state == "granted" else reverse("access-request-detail", args=[row.pk]),
                at=_moved_at(row),
                state=state,
                environment=row.environment_name,
                lines=[f"Comment: {row.comment}"] if row.comment else [],
            )
        )
    return items


def _comments(actor: Principal, waiting: Sequence[Approval]) -> list[InboxItem]:
    """Return what others wrote about the open requests that concern the actor."""
    rows = comments_for(actor, waiting).select_related("approval__environment")
    return [
        InboxItem(
            title=f"{entry.author_name} commented on the request to {entry.approval.asked_act}",
            url=f"{reverse('approval-detail', args=[entry.approval_id])}#comments",
            at=entry.at,
            state="asked",
            environment=entry.approval.environment.name,
            lines=entry.text.splitlines(),
        )
        for entry in verified_rows(rows[:SHOWN])
    ]


def _moved_at(request: Approval | AccessRequest) -> datetime:
    moved: datetime = request.decided_at or request.asked_at
    return moved


_FINDERS: Final[dict[NoticeKind, tuple[Callable[[Principal], list[InboxItem]], Callable[[], str]]]] = {
    NoticeKind.APPROVALS: (_approvals, lambda: reverse("approval-list")),
    NoticeKind.FAILURES: (_failures, lambda: reverse("sync")),
    NoticeKind.ROTATION: (_due, lambda: f"{reverse('secret-list')}?state=overdue"),
    NoticeKind.EXPIRY: (_expiring, lambda: f"{reverse('secret-list')}?state=expiring&ordering=expires"),
}
