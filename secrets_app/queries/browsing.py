"""Secrets beside the plain list: folders, names across environments, recent and starred ones.

A folder shows what lies under a path, one level deep. Recent secrets come from the person's own events.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from django.db.models import Count, F, Q, QuerySet, Value
from django.db.models.functions import StrIndex, Substr

from audit_app.events.actions import Outcome
from audit_app.events.actors import ActorKind
from audit_app.integrity.row_authentication import verified_rows
from audit_app.models import AuditEvent
from environments_app.authorization.policy import Principal
from environments_app.models import User
from secrets_app.models import Secret, Star

MAX_FOLDERS: Final = 200


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A folder: its own name, its whole path, and how many secrets lie somewhere in it."""

    name: str
    path: str
    count: int


def folders_in(secrets: QuerySet[Secret], prefix: str) -> list[Folder]:
    """Return the first 200 folders directly under a path among these secrets, in one statement."""
    rows = (
        _parted(secrets, prefix)
        .filter(Q(("slash__gt", 0)))
        .annotate(folder=Substr("rest", 1, F("slash") - 1))
        .order_by("folder")
        .values("folder")
        .annotate(count=Count("pk"))
    )
    return [
        Folder(
            name=row["folder"],
            path=f"{prefix}/{row['folder']}" if prefix else row["folder"],
            count=row["count"],
        )
        for row in rows[:MAX_FOLDERS]
    ]


def directly_in(secrets: QuerySet[Secret], prefix: str) -> QuerySet[Secret]:
    """Return the secrets that lie directly under a path, in no further folder."""
    return _parted(secrets, prefix).filter(Q(("slash", 0)))


def _parted(secrets: QuerySet[Secret], prefix: str) -> QuerySet[Secret]:
    """Annotate each name's rest after the path, and the position of its next slash."""
    rest = Substr("name", len(prefix) + 2 if prefix else 1)
    return secrets.annotate(rest=rest).annotate(slash=StrIndex("rest", Value("/")))


NAMES_SHOWN: Final = 50


@dataclass(frozen=True, kw_only=True)
class NamePage:
    """Names in order, and whether there are more on either side."""

    names: Sequence[str]
    has_previous: bool
    has_next: bool


def page_of_names(secrets: QuerySet[Secret], *, after: str = "", before: str = "") -> NamePage:
    """Return 50 distinct names of these secrets after (or before) a name, in one statement."""
    names = secrets.select_related(None).order_by().values_list("name", flat=True).distinct()
    if before:
        found = list(names.filter(name__lt=before).order_by("-name")[: NAMES_SHOWN + 1])
        shown = found[:NAMES_SHOWN][::-1]
        return NamePage(names=shown, has_previous=len(found) > NAMES_SHOWN, has_next=True)
    if after:
        names = names.filter(name__gt=after)
    found = list(names.order_by("name")[: NAMES_SHOWN + 1])
    return NamePage(names=found[:NAMES_SHOWN], has_previous=bool(after), has_next=len(found) > NAMES_SHOWN)


def secrets_by_name(secrets: QuerySet[Secret], names: Collection[str]) -> dict[str, dict[int, Secret]]:
    """Return name → environment id → secret, in one statement; unverified rows are left out."""
    found: dict[str, dict[int, Secret]] = {name: {} for name in names}
    for secret in verified_rows(secrets.filter(name__in=names)):
        found[secret.name][secret.environment_id] = secret
    return found


MOST: Final = 20
# However much else a person did, a page costs the same.
_LOOKED_AT: Final = 500


def recent(actor: Principal) -> Q:
    """Return the condition on the secrets that the actor read or changed last, MOST at most."""
    if actor.kind is not ActorKind.USER:
        return Q(pk__in=())
    rows = AuditEvent.objects.filter(actor_uuid=actor.uuid).order_by("-id")
    found: dict[UUID, None] = {}
    for kind, outcome, uuid in rows.values_list("object_kind", "outcome", "object_uuid")[:_LOOKED_AT]:
        if kind == "secret" and outcome == Outcome.ALLOWED:
            found[uuid] = None
        if len(found) == MOST:
            break
    return Q(uuid__in=list(found))


def starred(actor: Principal) -> Q:
    """Return the condition on secrets that the actor starred."""
    return Q(pk__in=Star.objects.filter(user__uuid=actor.uuid).values("secret_id"))


def stars_among(actor: Principal, secrets: Iterable[Secret]) -> set[int]:
    """Return the ids of those of these secrets that the actor starred, in one statement."""
    own = Star.objects.filter(user__uuid=actor.uuid, secret__in=[secret.pk for secret in secrets])
    return set(own.values_list("secret_id", flat=True))


def set_star(actor: Principal, secret: Secret, *, starred: bool) -> None:
    """Star a secret for the actor, or take the star away; both may be repeated."""
    user = User.objects.get(uuid=actor.uuid)
    if starred:
        Star.objects.get_or_create(user=user, secret=secret)
    else:
        Star.objects.filter(user=user, secret=secret).delete()
