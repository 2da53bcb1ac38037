"""Ends the recovery window of deleted secrets: what was deleted long enough ago is destroyed."""

import logging
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.utils import timezone

from audit_app.integrity.row_authentication import verified_rows
from environments_app.authorization.policy import Grant
from environments_app.authorization.principals import system_principal
from environments_app.models import Role
from secrets_app.errors import StaleVersion
from secrets_app.models import Secret
from secrets_app.services.lifecycle import purge

logger = logging.getLogger(__name__)

_AT_A_TIME: Final = 500


def purge_time(secret: Secret) -> datetime | None:
    """Return when a deleted secret will be destroyed; None if it is not deleted, or never."""
    if secret.deleted_at is None or not settings.KEEPER_DELETED_RETENTION_DAYS:
        return None
    return secret.deleted_at + timedelta(days=settings.KEEPER_DELETED_RETENTION_DAYS)


def purge_expired() -> int:
    """Destroy what was deleted KEEPER_DELETED_RETENTION_DAYS ago (0: nothing, ever); return how many.

    Each is an act of its own with its own event. A row that Keeper did not write is skipped: editing the
    database destroys no secret.
    """
    if not settings.KEEPER_DELETED_RETENTION_DAYS:
        return 0
    before = timezone.now() - timedelta(days=settings.KEEPER_DELETED_RETENTION_DAYS)
    due = Secret.objects.select_related("environment").filter(live__isnull=True, deleted_at__lte=before)
    return sum(_purged(secret) for secret in verified_rows(due.order_by("pk")[:_AT_A_TIME]))


def _purged(secret: Secret) -> bool:
    environment = secret.environment
    grant = Grant(
        environment_id=environment.pk,
        environment_uuid=environment.uuid,
        environment_name=environment.name,
        role=Role.MANAGER,
        prefix=secret.name,
    )
    try:
        purge(actor=system_principal(grants=(grant,)), secret=secret)
    except StaleVersion:
        logger.info("secret %s was restored or purged meanwhile", secret.uuid)
        return False
    return True
