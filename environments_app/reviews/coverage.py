"""Which environments no access review has covered for a while, for who looks for the gap."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from django.db.models import Q, QuerySet
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.integrity.row_authentication import verified_rows
from core.errors import BadQuery
from environments_app.authorization.policy import Principal, environments_for
from environments_app.models import (
    AccessKind,
    Environment,
    Membership,
    Review,
    ReviewState,
    ServiceToken,
    Trust,
)

# PCI DSS 7.2.4 asks for a review at least every six months.
GAP_DAYS: Final = 180
MAX_GAP_DAYS: Final = 3_650


class Gap(NamedTuple):
    """An environment (None: the installation) without a recent review of all its access.

    `last` is the newest one that was signed off, `running` one that is open.
    """

    environment: Environment | None
    last: Review | None
    running: Review | None

    @property
    def name(self) -> str:
        return self.environment.name if self.environment else "the installation"


def visible_gaps(*, actor: Principal, days: int = GAP_DAYS) -> list[Gap]:
    """Return what no review covered that was signed off in the last days, what was never reviewed first.

    Of the environments whose members the actor may see, and for operators of the installation. A review of
    some paths or kinds of access covers nothing. One in which nobody has access (`without_access`) is left
    off: there is nothing to review. Raises BadQuery for the days.
    """
    if not 1 <= days <= MAX_GAP_DAYS:
        raise BadQuery("days", f"Choose 1 to {MAX_GAP_DAYS} days.")
    places = environments_for(actor, Action.MEMBER_VIEW)
    if places is None:
        return []
    whole = [*filter(_is_whole, verified_rows(Review.objects.order_by("-closed_at", "-id")))]
    since = timezone.now() - timedelta(days=days)
    environments: list[Environment | None] = [*_with_access().filter(places).order_by("name")]
    if actor.sees_installation:
        environments.append(None)
    return sorted(_gaps(environments, whole, since), key=lambda gap: gap.last is not None)


def without_access(actor: Principal) -> list[str]:
    """Return the names of environments in which nobody has access, of those that `visible_gaps` looks at."""
    places = environments_for(actor, Action.MEMBER_VIEW)
    if places is None:
        return []
    rows = Environment.objects.filter(places).exclude(pk__in=_with_access().values("pk"))
    return [*rows.order_by("name").values_list("name", flat=True)]


def _with_access() -> QuerySet[Environment]:
    """Return the environments into which there is a way that a review would list."""
    held = Membership.objects.filter(Q(user__isnull=False) | Q(group__group_members__isnull=False))
    tokens = ServiceToken.objects.filter(revoked_at=None, trust_uuid=None, parent_uuid=None)
    of = [rows.values("environment_id") for rows in (held, tokens, Trust.objects.all())]
    return Environment.objects.filter(Q(pk__in=of[0]) | Q(pk__in=of[1]) | Q(pk__in=of[2]))


def _gaps(environments: list[Environment | None], reviews: list[Review], since: datetime) -> Iterator[Gap]:
    for place in environments:
        own = [review for review in reviews if _covers(review, place)]
        last = next((review for review in own if review.state == ReviewState.SIGNED), None)
        if last is None or last.closed_at is None or last.closed_at < since:
            yield Gap(place, last, next((review for review in own if review.is_open), None))


def _is_whole(review: Review) -> bool:
    return not review.prefix and (not review.kinds or {*review.kinds} == {*AccessKind.values})


def _covers(review: Review, place: Environment | None) -> bool:
    if place is None:
        return review.covers_installation
    # A review of an earlier release has names alone.
    return place.name in review.scope if review.places is None else str(place.uuid) in review.places
