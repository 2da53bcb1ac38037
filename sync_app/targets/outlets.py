"""Sync targets as outlets: who leaves may have set one up, or have given it its credentials last."""

from typing import Final

from django.urls import reverse

from audit_app.events.actions import Action
from secrets_app.outlets import OutletKind
from sync_app.models import Target

KINDS: Final = (
    OutletKind(
        label=lambda _: "Sync target",
        rows=lambda: (
            Target.objects.filter(live=True)
            .select_related("environment")
            .order_by("environment__name", "name")
        ),
        actions=frozenset({Action.TARGET_CREATE, Action.TARGET_CHANGE}),
        link=lambda row: reverse("target-detail", args=[row.pk]),
        # What gives a target an address or credentials names its endpoint.
        chooses=lambda details: "endpoint" in details,
        is_paused=lambda row: row.paused_at is not None,
    ),
)
