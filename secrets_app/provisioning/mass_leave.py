"""Many people whom a SCIM client ends at once: each ends, and the rotations that follow wait for a person.

A stolen token, or a mistake at the provider, ends accounts that can be enabled again. It must not replace the
values of a whole company.
"""

from datetime import timedelta
from typing import Final

from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from environments_app.authorization.rows import lock_authentic
from environments_app.models import (
    Alert,
    Departure,
    DepartureKind,
    ScimClient,
    ServiceToken,
    User,
    UserRole,
)
from environments_app.notifications.service import raise_alert
from secrets_app.departures.decisions import MASS_LEAVE

_WITHIN: Final = timedelta(hours=1)
_LEAST: Final = 10
# One of so many of the client's people.
_PART: Final = 5


def hold_rotations(client: ScimClient) -> None:
    """Hold what follows from the ends of the last hour, if they are many; in the caller's transaction.

    What a worker has counted before goes on. An administrator continues it, or enables the accounts again.
    """
    since = timezone.now() - _WITHIN
    decided = Alert.objects.filter(kind=MASS_LEAVE, about=client.uuid, closed_at__gt=since)
    last = decided.order_by("-closed_at").first()
    if last is not None and last.closed_at is not None:
        # What an administrator has continued is not held again.
        since = last.closed_at
    tokens = ServiceToken.objects.filter(scim_client_uuid=client.uuid).values("uuid")
    ended = Departure.objects.filter(
        kind=DepartureKind.LEFT, open=True, at__gte=since, ended_by_uuid__in=tokens
    )
    count = ended.count()
    people = count + _present(client)
    if count < _LEAST or count * _PART <= people:
        return
    for departure in ended.filter(held_at=None, counted_at=None).select_related("user").order_by("pk"):
        with lock_authentic(departure) as stored:
            stored.held_at = timezone.now()
            stored.save(update_fields=["held_at"])
    administrators = User.objects.filter(role=UserRole.ADMIN, is_active=True).values_list("uuid", flat=True)
    raise_alert(
        kind=MASS_LEAVE,
        about=client.uuid,
        environment=None,
        subject=f"{client.name} ended {count} of {people} people within an hour"[:200],
        lines=[
            "Their access ended at once. Rotations of what they know wait for an administrator.",
            "If this is a mistake, remove the token of the client and enable the accounts again.",
            "If it is right, choose Continue on the page of one of these departures.",
        ],
        link=reverse("departures"),
        people=list(administrators),
    )


def _present(client: ScimClient) -> int:
    """Return how many people of a client could use Keeper and have been there, or have access.

    The client makes as many others as it likes, and puts them into its own groups: they count for nobody.
    """
    is_known = (
        Q(last_login__isnull=False)
        | Q(memberships__isnull=False)
        | Q(groups__memberships__isnull=False, groups__provisioned=None)
    )
    people = User.objects.filter(is_known, provisioned__client=client, provisioned__live=True, is_active=True)
    return people.distinct().count()
