"""Shares after a restore: revoked, since one may have been opened after the backup, and opens once alone."""

from django.db.models import Q

from environments_app.restored import Suspendable
from secrets_app.models import Share

SHARES = Suspendable(
    Share,
    kind="share",
    field="revoked_at",
    related=("environment", "secret", "shared_by", "recipient", "opened_by"),
    name=lambda share: str(share.secret.name),
    detail=lambda share: f"by {share.shared_by.username}",
    living=Q(opened_at__isnull=True),
)
