"""Scheduled upkeep of trusts: alerts before they expire or fill up, or if unused; removal of ended tokens."""

from datetime import timedelta
from typing import Final

from auditlog.context import disable_auditlog
from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.events.actors import system
from audit_app.events.streams import environment_stream
from audit_app.integrity.row_authentication import verified_rows
from audit_app.integrity.row_state import row_digest_entry
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import record
from environments_app.models import Environment, ServiceToken, Trust
from environments_app.tokens.expiry_alerts import is_unused, long_ago, soon, update_alert
from environments_app.trusts.sign_in import purge_used_jwts, valid_tokens

EXPIRING: Final = "trusts-expiring"
UNUSED: Final = "trusts-unused"
FULL: Final = "trusts-full"
_FULL_SHARE: Final = 0.8
_ENDED_TOKENS_KEPT_FOR: Final = timedelta(days=7)
_BATCH: Final = 200


def watch_trusts() -> None:
    """Alert, for each environment, about trusts that end soon, are unused or near their limit."""
    for environment in Environment.objects.order_by("pk"):
        rows = Trust.objects.filter(environment=environment).select_related("environment")
        expiring = _live(rows).filter(expires_at__lte=soon())
        update_alert(EXPIRING, environment, "trusts expiring soon", verified_rows(expiring))
        update_alert(UNUSED, environment, "unused trusts", verified_rows(_live(rows).filter(is_unused())))
        nearly_full = _FULL_SHARE * settings.KEEPER_TRUST_MAX_TOKENS
        full = [t for t in verified_rows(_live(rows)) if valid_tokens(t).count() >= nearly_full]
        update_alert(FULL, environment, "trusts near the limit of valid tokens", full)


def trust_status(trust: Trust) -> str:
    """Return the state of a trust: disabled, suspended, expired, expiring, unused or active."""
    if trust.disabled_at is not None:
        return "disabled"
    if trust.suspended_at is not None:
        return "suspended"
    if not trust.is_live:
        return "expired"
    if trust.expires_at is not None and trust.expires_at <= soon():
        return "expiring"
    return "unused" if (trust.last_used_at or trust.created_at) <= long_ago() else "active"


def purge_ended_tokens() -> int:
    """Remove the tokens of workloads and children that ended days ago, and used JWTs; return how many tokens.

    Each batch is one event, which records that its rows are gone.
    """
    purge_used_jwts()
    removed = 0
    for environment in Environment.every.order_by("pk"):
        while batch := _remove_batch(environment):
            removed += batch
    return removed


def _remove_batch(environment: Environment) -> int:
    is_over = Q(expires_at__lt=timezone.now() - _ENDED_TOKENS_KEPT_FOR)
    is_made = Q(trust_uuid__isnull=False) | Q(parent_uuid__isnull=False)
    with transaction.atomic():
        rows = ServiceToken.objects.select_for_update().filter(
            is_over & is_made, environment=environment, replaces=None, successors=None
        )
        batch = list(rows.order_by("pk")[:_BATCH])
        if batch:
            record(
                actor=system(),
                action=Action.TRUST_PURGE,
                stream=environment_stream(environment.uuid),
                object=AuditObject("environment", environment.uuid, environment.name),
                details={"removed": len(batch), **row_digest_entry(*batch, gone=True)},
            )
        with disable_auditlog():
            for row in batch:
                row.delete()
    return len(batch)


def _live(trusts: QuerySet[Trust]) -> QuerySet[Trust]:
    standing = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
    return trusts.filter(standing, disabled_at=None, suspended_at=None).order_by("expires_at", "pk")
