"""Sections of reports on secrets: what is kept and how old it is, and under which keys."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.queries.reports import Row, Scope, Section
from environments_app.environments.report_sections import batched, environments_of, is_operator
from secrets_app.envelope import NO_ENVIRONMENT
from secrets_app.keys import sealed_columns
from secrets_app.models import DataKey, Secret, SecretVersion


def living_secrets(scope: Scope) -> QuerySet[Secret]:
    """Return the living secrets that a report may list, each with the time of its current version."""
    written = SecretVersion.objects.filter(secret=OuterRef("pk"), number=OuterRef("current_number"))
    rows = Secret.objects.filter(live=True, environment__in=environments_of(scope, Action.SECRET_VIEW))
    return rows.annotate(written_at=Subquery(written.values("created_at")[:1])).select_related("environment")


def _inventory(scope: Scope) -> Iterator[Row]:
    now = timezone.now()
    for secret in batched(living_secrets(scope)):
        yield (
            secret.environment.name,
            secret.name,
            secret.get_secret_type_display(),
            secret.owner,
            secret.current_number,
            secret.written_at,
            _days(secret.written_at, now),
            secret.created_at,
        )


def _expiry(scope: Scope) -> Iterator[Row]:
    now = timezone.now()
    due = Q(expires_at__isnull=False) | Q(rotation_due_at__isnull=False)
    for secret in batched(living_secrets(scope).filter(due)):
        yield (
            secret.environment.name,
            secret.name,
            secret.owner,
            secret.expires_at,
            _state(secret.expires_at, now, "expired"),
            secret.rotated_at,
            secret.rotation_due_at,
            _state(secret.rotation_due_at, now, "overdue"),
        )


def _state(moment: datetime | None, now: datetime, late: str) -> str:
    if moment is None:
        return ""
    return late if moment <= now else f"in {(moment - now).days} days"


def _encryption(scope: Scope) -> Iterator[Row]:
    now = timezone.now()
    mine = Q(environment__in=environments_of(scope, Action.SECRET_VIEW))
    if is_operator(scope):
        mine |= Q(scope=NO_ENVIRONMENT)
    counted = dict(SecretVersion.objects.order_by().values_list("data_key_id").annotate(Count("pk")))
    credentials: dict[object, int] = {}
    for key in batched(DataKey.objects.filter(mine).select_related("environment")):
        if key.scope not in credentials:
            credentials[key.scope] = sum(sealed_columns.counts(key.scope).values())
        yield (
            key.environment.name if key.environment else "the installation",
            key.purpose,
            str(key.uuid),
            key.provider,
            key.key_uri,
            bool(key.active),
            _days(key.created_at, now),
            counted.get(key.uuid, 0),
            key.checked_at,
            key.check_problem or "opens",
        )


def _days(moment: datetime | None, now: datetime) -> int | None:
    return (now - moment).days if moment else None


SECTIONS: Final = (
    Section(
        key="inventory",
        title="Secret age",
        about="All secrets, their owner and the age of the current value. Names and metadata only.",
        columns=("Environment", "Name", "Type", "Owner", "Version", "Updated", "Age (days)", "Created"),
        rows=_inventory,
    ),
    Section(
        key="expiry",
        title="Expiry and rotation due",
        about="Secrets that expire or are due for rotation.",
        columns=("Environment", "Name", "Owner", "Expires", "Expiry", "Rotated", "Rotation due", "Status"),
        rows=_expiry,
    ),
    Section(
        key="encryption",
        title="Encryption and key age",
        about="All data keys, the key that wraps each, their age and the number of encrypted versions. "
        "All stored values are encrypted.",
        columns=(
            "Environment", "Purpose", "Data key", "Provider", "Wrapped by", "Active", "Age (days)",
            "Versions", "Checked", "Result",
        ),
        rows=_encryption,
    ),
)  # fmt: skip
