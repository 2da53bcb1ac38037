"""Alerts to tokens that expire soon or are unused."""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db.models import Q, QuerySet
from django.urls import reverse
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.events.actors import NIL
from audit_app.integrity.row_authentication import verified_rows
from environments_app.authorization.policy import Principal, environments_for
from environments_app.models import Environment, ServiceToken, Trust
from environments_app.notifications.service import MAX_LINES, raise_alert, resolve_alert

EXPIRING: Final = "tokens-expiring"
UNUSED: Final = "tokens-unused"


def watch_tokens() -> None:
    """Alert, for each environment and the installation, about tokens that end soon or are unused."""
    for environment in (None, *Environment.objects.order_by("pk")):
        rows = ServiceToken.objects.filter(environment=environment).select_related("environment")
        update_alert(
            EXPIRING, environment, "tokens expiring soon", verified_rows(expiring(rows)), anchor="#tokens"
        )
        update_alert(UNUSED, environment, "unused tokens", verified_rows(unused(rows)), anchor="#tokens")


def token_status(token: ServiceToken) -> str:
    """Return the state of a token: revoked, suspended, expired, expiring, unused or active."""
    if token.revoked_at is not None:
        return "revoked"
    if token.suspended_at is not None:
        return "suspended"
    if not token.is_live:
        return "expired"
    if token.decoy:
        return "decoy"
    if token.expires_at is not None and token.expires_at <= soon():
        return "expiring"
    return "unused" if (token.last_used_at or token.created_at) <= long_ago() else "active"


def expiring(tokens: QuerySet[ServiceToken]) -> QuerySet[ServiceToken]:
    """Return those that end soon; one that has a successor is meant to."""
    return _live(tokens).filter(expires_at__lte=soon(), successors=None)


def unused(tokens: QuerySet[ServiceToken]) -> QuerySet[ServiceToken]:
    """Return the valid ones that were not used for KEEPER_TOKEN_UNUSED_DAYS."""
    return _live(tokens).filter(is_unused(), decoy=None)


def is_unused() -> Q:
    """Return the condition on tokens and trusts that nothing used for KEEPER_TOKEN_UNUSED_DAYS."""
    since = long_ago()
    return Q(last_used_at=None, created_at__lte=since) | Q(last_used_at__lte=since)


def listed_tokens(actor: Principal) -> QuerySet[ServiceToken]:
    """Return the tokens of the environments whose tokens an actor may list."""
    places = environments_for(actor, Action.TOKEN_VIEW)
    if places is None:
        return ServiceToken.objects.none()
    environments = Environment.objects.filter(places)
    return ServiceToken.objects.filter(environment__in=environments).select_related("environment")


def in_state(tokens: QuerySet[ServiceToken], state: str) -> QuerySet[ServiceToken]:
    """Return the valid ones: all, or those in the state `expiring` or `unused`."""
    narrowed = {"expiring": expiring, "unused": unused}
    return narrowed[state](tokens) if state in narrowed else _live(tokens)


def _live(tokens: QuerySet[ServiceToken]) -> QuerySet[ServiceToken]:
    standing = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
    # Those of workloads and children come and go; their trusts and parents are watched.
    issued = tokens.filter(standing, trust_uuid=None, parent_uuid=None)
    return issued.filter(revoked_at=None, suspended_at=None).order_by("expires_at", "pk")


def soon() -> datetime:
    """Return until when an end is near enough for an alert."""
    return timezone.now() + timedelta(days=settings.KEEPER_TOKEN_WARNING_DAYS)


def long_ago() -> datetime:
    """Return since when what was not used counts as unused."""
    return timezone.now() - timedelta(days=settings.KEEPER_TOKEN_UNUSED_DAYS)


def update_alert(
    kind: str,
    environment: Environment | None,
    what: str,
    rows: Sequence[ServiceToken | Trust],
    *,
    anchor: str = "",
) -> None:
    """Raise the alert about tokens or trusts, or resolve it if there are none; None is the installation."""
    place = environment.name if environment else "Keeper"
    about = environment.uuid if environment else NIL
    if not rows:
        resolve_alert(kinds=[kind], about=about, subject=f"{place}: no {what} any more")
        return
    more = [f"and {len(rows) - MAX_LINES + 1} more"] if len(rows) > MAX_LINES else []
    uuids = b"".join(sorted(row.uuid.bytes for row in rows))
    raise_alert(
        kind=kind,
        about=about,
        environment=environment,
        subject=f"{place}: {what}",
        lines=[*map(_line, rows[: MAX_LINES - 1] if more else rows), *more],
        link=reverse("environment-detail", args=[environment.name]) + anchor if environment else "",
        signature=hashlib.sha256(uuids).hexdigest(),
    )


def _line(token: ServiceToken | Trust) -> str:
    end = f"expires {token.expires_at:%Y-%m-%d %H:%M} UTC" if token.expires_at else "never expires"
    used = f"last used {token.last_used_at:%Y-%m-%d}" if token.last_used_at else "never used"
    # Names need not be unique.
    identifier = f"kpr_{token.public_id[:8]}…, " if isinstance(token, ServiceToken) else ""
    return f"{token.name} ({identifier}{token.role}): {end}, {used}"
