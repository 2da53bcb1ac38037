"""One act ends a person's access: sessions, tokens, links, requests and the account, in one transaction.

What the person knows is left to a worker (`following`), which finds it by the row that is stored here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.events.actors import ActorKind
from core.workers import nudge
from environments_app.access_requests import service as access_requests
from environments_app.approvals import service as approvals
from environments_app.authorization.policy import Principal, require, require_confirmed
from environments_app.authorization.rows import lock_authentic
from environments_app.errors import Conflict
from environments_app.models import (
    AccessRequest,
    Approval,
    Departure,
    DepartureKind,
    Environment,
    User,
)
from environments_app.notifications.service import raise_alert, resolve_alert
from environments_app.sessions.service import (
    active_sessions,
    end_device_sign_ins,
    end_sessions,
    end_tokens,
    lock_other,
)
from environments_app.users.accounts import (
    administrators_beside,
    end_account,
    end_links,
    record_user,
)
from environments_app.users.suspensions import tell_suspended
from secrets_app.departures import following
from secrets_app.models import Share
from secrets_app.services import share

# The alert that a SCIM client could not end the last administrator.
LAST_ADMINISTRATOR: Final = "last-administrator"
_REASON: Final = "the account was ended"


@dataclass(frozen=True, kw_only=True)
class Offboarded:
    """What was done: how many secrets are marked as due, and how many rotations were brought forward."""

    marked: int
    queued: int


def offboard(*, actor: Principal, user: User) -> Offboarded:
    """End a person's account (`end_person`), and mark what the person knows for rotation at once.

    Secrets are marked as due; those under a policy with a cadence rotate as soon as their window
    allows it. It can be repeated: what stands by then is queued again. If this request dies in between, a
    worker goes on.
    Raises Forbidden, ConfirmationNeeded, Tampered, or Conflict for oneself and the last administrator.
    """
    departure = end_person(actor=actor, user=user, lease=following.LEASE)
    following.count(departure, actor)
    rows = departure.values.select_related("secret")
    standing = [row for row in rows if row.is_open]
    return Offboarded(marked=len(standing), queued=sum(row.by_policy for row in standing))


def end_person(
    *,
    actor: Principal,
    user: User,
    right: Action = Action.USER_CHANGE,
    lease: timedelta | None = None,
) -> Departure:
    """End all access of a person in one transaction, and return the departure that a worker goes on with.

    The account is disabled and suspended. Its sessions, personal tokens, sign-ins of programs and password
    links end, share links from and for it are revoked, its pending requests are withdrawn. What it approved
    and nobody carried out counts no more, since each approver is asked for again when an act is carried out.

    The actor's right is asked for again under the lock. `lease` keeps workers away while the caller counts.
    Raises Forbidden, ConfirmationNeeded, Tampered, or Conflict for oneself and the last administrator.
    """
    require(actor=actor, action=right, environment=None)
    require_confirmed(actor)
    if actor.uuid == user.uuid:
        raise Conflict("You can't offboard yourself. Ask another administrator.")
    departure = _end(actor, user, right, lease)
    if lease is None:
        nudge(following.RUN)
    return departure


def hold_last_administrator(*, actor: Principal, user: User) -> None:
    """End what the last administrator could use, in one transaction; the account stays enabled.

    A SCIM client that ends it is refused, and tries again until there is another administrator, who learns of
    it. The account is suspended until then.
    """
    with lock_authentic(user) as stored:
        ended = _end_requests(actor, stored)
        ended["tokens"] = end_tokens(actor=actor, user=stored)
        ended["sessions"] = active_sessions(stored).count()
        end_device_sign_ins(stored)
        end_links(stored)
        is_news = stored.suspended_at is None or any(ended.values())
        if stored.suspended_at is None:
            stored.suspended_at = timezone.now()
            tell_suspended(actor, stored, f"{actor.name} ended {stored.username}, the last administrator.")
            stored.save(update_fields=["suspended_at"])
        end_sessions(stored, actor=actor)
        if is_news:
            record_user(actor, stored, {"suspended": True, **ended})
        raise_alert(
            kind=LAST_ADMINISTRATOR,
            about=stored.uuid,
            environment=None,
            subject=f"{actor.name} could not end {stored.username}: Keeper's last administrator",
            lines=[
                "All sessions, tokens and links of the account ended, and it is suspended.",
                "Add another administrator. The identity provider tries again by itself.",
            ],
            link=reverse("departures"),
            people=[stored.uuid],
        )


def _end(actor: Principal, user: User, right: Action, lease: timedelta | None) -> Departure:
    with lock_other(actor, user, right, beside=administrators_beside(user)) as stored:
        ended = _end_requests(actor, stored)
        ended["sessions"] = active_sessions(stored).count()
        ended["tokens"] = end_tokens(actor=actor, user=stored)
        ended["sign_ins"] = end_device_sign_ins(stored)
        ended["password_links"] = end_links(stored)
        end_sessions(stored, actor=actor)
        was_active, was_suspended = stored.is_active, stored.suspended_at is not None
        end_account(actor=actor, stored=stored)
        resolve_alert(kinds=[LAST_ADMINISTRATOR], about=stored.uuid, subject=f"{stored.username} has ended")
        # Coming back lifts the suspension of this moment, and never one that was there before.
        at = (stored.suspended_at or timezone.now()) - was_suspended * timedelta.resolution
        return _departure(actor, stored, ended, lease, at=at, again=was_active)


def _end_requests(actor: Principal, user: User) -> dict[str, int]:
    """Revoke links and withdraw requests, in the order of the environments, whose streams are locked."""
    ended = {"links": 0, "requests": 0}
    links = Share.objects.filter(Q(shared_by=user) | Q(recipient=user), opened_at=None, revoked_at=None)
    places = (
        Q(pk__in=links.values("environment_id"))
        | Q(pk__in=Approval.objects.filter(requester_uuid=user.uuid).values("environment_id"))
        | Q(pk__in=AccessRequest.objects.filter(requester=user).values("environment_id"))
    )
    # Of deleted ones too, which may come back.
    for place in Environment.every.filter(places).order_by("pk"):
        ended["links"] += share.revoke_all(actor=actor, user=user, environment=place)
        ended["requests"] += approvals.withdraw_all(
            actor=actor, requester=user.uuid, environment=place, reason=_REASON
        )
        ended["requests"] += access_requests.withdraw_all(
            actor=actor, requester=user, environment=place, comment=_REASON
        )
    ended["requests"] += access_requests.withdraw_all(
        actor=actor, requester=user, environment=None, comment=_REASON
    )
    return ended


def _departure(
    actor: Principal,
    user: User,
    ended: Mapping[str, int],
    lease: timedelta | None,
    *,
    at: datetime,
    again: bool,
) -> Departure:
    """Store the open departure of a person, or have the open one counted again.

    `again`: the account was active, so that an open one begins anew.
    """
    now = timezone.now()
    row = Departure.objects.filter(user=user, kind=DepartureKind.LEFT, open=True).first()
    if row is None:
        row = Departure(user=user, kind=DepartureKind.LEFT, at=at)
    elif again:
        row.at = at
    row.ended_by_kind, row.ended_by_uuid, row.ended_by_name = actor.kind, actor.uuid, actor.name
    row.ended = {name: row.ended.get(name, 0) + count for name, count in ended.items()}
    row.counted_at = row.settled_at = None
    if actor.kind is ActorKind.USER:
        # A person who ends an account wants what follows from it.
        row.held_at = None
    row.lease_until = now + lease if lease else None
    row.save()
    return row
