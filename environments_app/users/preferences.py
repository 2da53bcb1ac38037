"""Use cases of what people choose for themselves: each only for oneself."""

from collections.abc import Collection, Sequence
from datetime import datetime
from functools import cache
from typing import Final
from zoneinfo import available_timezones

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from audit_app.events import streams
from audit_app.events.actions import Action
from audit_app.events.actors import ActorKind
from audit_app.recording.recorder import record
from environments_app.authorization.policy import Principal
from environments_app.errors import Forbidden, InvalidField
from environments_app.models import Environment, NoticeKind, PersonalSettings, User

# Columns of the matrix; more fit no screen.
MAX_MATRIX: Final = 20


def settings_of(actor: Principal) -> PersonalSettings:
    """Return what a person chose, or the defaults, which are not stored."""
    return PersonalSettings.objects.filter(user__uuid=actor.uuid).first() or PersonalSettings()


def choose_digest(*, actor: Principal, kinds: Collection[NoticeKind]) -> PersonalSettings:
    """Choose the kinds in the daily digest; without any, no e-mail is sent.

    Raises Forbidden for a program.
    """
    with transaction.atomic():
        chosen = _own(actor)
        chosen.digest, chosen.muted = bool(kinds), [kind for kind in NoticeKind if kind not in kinds]
        chosen.save(update_fields=["digest", "muted"])
        record(
            actor=actor,
            action=Action.NOTIFICATION_CHOOSE,
            stream=streams.SYSTEM,
            object=chosen.audit_object,
            details={"kinds": [str(kind) for kind in sorted(kinds)]},
        )
    return chosen


def mark_seen(*, actor: Principal, until: datetime) -> None:
    """Store up to when a user has seen their items; the time never decreases."""
    own = _own(actor)
    unseen = PersonalSettings.objects.filter(
        Q(notices_seen_at=None) | Q(notices_seen_at__lt=until), pk=own.pk
    )
    unseen.update(notices_seen_at=min(until, timezone.now()))


@cache
def time_zones() -> tuple[str, ...]:
    """Return the IANA names to choose from, in order; found once a process, since it opens some 600 files."""
    return tuple(sorted(available_timezones()))


def choose_time_zone(*, actor: Principal, name: str) -> None:
    """Show a person's times in the zone of an IANA name, or (empty) as the browser does.

    Raises Forbidden for a program, and InvalidField for a name that is none.
    """
    if name and name not in time_zones():
        raise InvalidField("time_zone", "Choose a time zone from the list.")
    PersonalSettings.objects.filter(pk=_own(actor).pk).update(time_zone=name)


def choose_matrix(*, actor: Principal, environments: Sequence[str]) -> None:
    """Remember which environments a person compares in the matrix of secrets; none are the first ones.

    Names are kept, not rights: a page shows those alone that its reader may see. Raises Forbidden for a
    program, and InvalidField for too many.
    """
    if len(environments) > MAX_MATRIX:
        raise InvalidField("show", f"Choose up to {MAX_MATRIX} environments.")
    known = Environment.objects.filter(name__in=environments).values_list("name", flat=True)
    PersonalSettings.objects.filter(pk=_own(actor).pk).update(matrix_environments=sorted(known))


def hide_first_steps(*, actor: Principal) -> None:
    """Show a person the first steps no more."""
    PersonalSettings.objects.filter(pk=_own(actor).pk).update(first_steps_hidden=True)


def _own(actor: Principal) -> PersonalSettings:
    if actor.kind is not ActorKind.USER:
        raise Forbidden("Only people choose for themselves.")
    user = User.objects.get(uuid=actor.uuid)
    return PersonalSettings.objects.select_related("user").get_or_create(user=user)[0]
