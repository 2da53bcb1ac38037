"""Decoys: secrets that nobody has a reason to use, so that each use of one raises an alert.

A decoy is listed by its name like any other secret, and answered like one where it is named. What reads many
and what delivers leaves it out. Who may read the audit log of its environment is shown that it is a decoy.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final, NamedTuple
from uuid import UUID, uuid4, uuid5

from django.db import transaction
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from audit_app.events import actors
from audit_app.events.actions import Action, Outcome
from audit_app.events.actors import Actor
from audit_app.events.streams import environment_stream
from audit_app.models import AuditEvent, UsageEntry
from audit_app.models.usage import Means
from audit_app.recording.drafts import stream_and_object
from audit_app.recording.recorder import record
from core.canonical_json import Json
from environments_app.approvals.gate import ApprovalGrant, Line, require_approval
from environments_app.authorization.policy import Principal, allows
from environments_app.errors import Conflict
from environments_app.models import Environment, ServiceToken
from environments_app.notifications.service import DECOY, close_alerts, raise_alert
from environments_app.tokens.decoys import watchers
from secrets_app.interfaces import run_write_guards
from secrets_app.models import Secret
from secrets_app.rows.references import Place
from secrets_app.rows.store import update_stored
from secrets_app.services.proposals import acting, require_change

_USED: Final = "Decoy {}: {}/{}"
_MOVE: Final = "Move the decoy: {}/{}"
FIRST_DAY: Final = timedelta(hours=24)
# Who read so much of the names beside a decoy within a month reads it as well.
_SHARE: Final = 0.9
_SEEN_WITHIN: Final = timedelta(days=30)
_FEWEST_NAMES: Final = 2
_NEXT: Final = (
    "Nobody has a reason to. If a program of yours reads every name here, move the decoy. "
    "Otherwise revoke the access, and replace what the reader knows."
)


def make_decoy(*, actor: Principal, secret: Secret, expected: str | None = None) -> Secret:
    """Let each use of a secret raise an alert, and leave it out of what reads many and of deliveries.

    Raises Conflict, StaleVersion, TamperedSecret, ManagedValue for one that a rotation policy answers for,
    ApprovalNeeded in a protected environment, Forbidden or Invisible.
    """
    require_change(actor, Action.SECRET_DECOY_SET, secret, expected)
    if secret.decoy:
        return secret
    run_write_guards(actor=actor, secret=secret, value=None)
    line = Line("Uses", "as of any secret", "each raises an alert; targets and exports leave it out")
    clearance = require_approval(
        actor=actor, proposal=acting(Action.SECRET_DECOY_SET, secret, summary=[line], arguments={})
    )
    return _stored(actor, Action.SECRET_DECOY_SET, secret, clearance, decoy=True)


def end_decoy(*, actor: Principal, secret: Secret, expected: str | None = None) -> Secret:
    """Make a secret of a decoy again; its alerts are closed, and those who get them are notified.

    Raises Conflict if it is none, and what `make_decoy` raises.
    """
    require_change(actor, Action.SECRET_DECOY_END, secret, expected)
    if not secret.decoy:
        raise Conflict("This secret is no decoy. Nothing was changed.")
    line = Line("Uses", "each raises an alert", "as of any secret")
    clearance = require_approval(
        actor=actor, proposal=acting(Action.SECRET_DECOY_END, secret, summary=[line], arguments={})
    )
    place = secret.environment
    with transaction.atomic():
        close_alerts(
            kind=DECOY,
            environment=place,
            subject=_USED.format("ended", place.name, secret.name)[:200],
            line=f"{_named(actor)} ended the decoy: its uses raise no alert any more.",
            link=_page(secret),
            people=watchers(place),
        )
        return _stored(actor, Action.SECRET_DECOY_END, secret, clearance, decoy=None)


def note_use(
    *, actor: Actor, secret: Secret, action: Action, details: Mapping[str, Json] = MappingProxyType({})
) -> None:
    """Raise the alert of a decoy's use and record it, in the caller's transaction or its own.

    The same reader's further uses add to their alert; other readers raise their own. On the first day, the
    uses of who read each name beside it before raise one calm alert. The event is Keeper's: readers find
    their own acts in the audit log, and not this.
    """
    protocol = details.get("protocol")
    by = f" by {protocol}" if protocol else ""
    told: dict[str, Json] = {
        "reader": actor.name,
        "reader_kind": str(actor.kind),
        "reader_uuid": str(actor.uuid),
        "address": actor.address,
        "act": str(action),
        "protocol": protocol,
    }
    line = (
        f"{_named(actor)} {action.done} the decoy from {actor.address or 'this host'} "
        f"at {timezone.now():%Y-%m-%d %H:%M:%S} UTC{by}."
    )
    with transaction.atomic():
        if expected := _expected(actor, secret):
            told["expected"] = str(expected)
            _alert_calmly(secret, expected)
        else:
            _alert(actor, secret, "read", line)
        record(actor=actors.system(), action=Action.SECRET_DECOY, **stream_and_object(secret), details=told)


def note_missed(
    *,
    actor: Principal,
    environment: Environment,
    prefix: str = "",
    names: Collection[str] | None = None,
    found: bool,
) -> None:
    """Note a read of many as a use of the decoys that it names, or of all that it reaches if it `found` none.

    A read of many that meets a decoy on its way is not one.
    """
    decoys = Secret.objects.filter(environment=environment, live=True, decoy=True)
    if names is not None:
        decoys = decoys.filter(name__in=names)
    elif found:
        if not prefix:
            return
        decoys = decoys.filter(name=prefix)
    for secret in decoys.order_by("name"):
        inside = not prefix or secret.name == prefix or secret.name.startswith(f"{prefix}/")
        may = allows(actor, Action.SECRET_EXPORT, environment_id=environment.pk, name=secret.name)
        if inside and may:
            secret.environment = environment
            note_use(actor=actor, secret=secret, action=Action.SECRET_EXPORT)


def note_references(*, actor: Actor, places: Iterable[Place]) -> None:
    """Note as a use that a value is written which refers to a decoy; no target fills it in."""
    for place in places:
        rows = Secret.objects.filter(name=place.name, live=True, decoy=True)
        for secret in rows.filter(environment__name=place.environment).select_related("environment"):
            note_use(actor=actor, secret=secret, action=Action.SECRET_COPY)


class WholeReader(NamedTuple):
    """Who read nearly each name under a path within a month, one by one, before a decoy was there."""

    subject: UUID
    name: str
    kind: str
    prefix: str

    def __str__(self) -> str:
        under = f"under {self.prefix}/" if self.prefix else "of the environment"
        return f"{self.name} ({self.kind}) reads each name {under}"


def whole_readers(secret: Secret, among: Collection[UUID] | None = None) -> list[WholeReader]:
    """Return who would read a decoy by accident: they read at least 90 % of the names beside it.

    Each path above it counts that held two names before the decoy was made. Tokens count for the trust or
    token that they come of. What they read since then does not count: a thief reads every name as well.
    `among` names the only actors to look at.
    """
    made, found = _made_at(secret), dict[UUID, WholeReader]()
    parts = secret.name.split("/")[:-1]
    beside = Secret.objects.filter(environment_id=secret.environment_id, live=True, created_at__lt=made)
    beside = beside.exclude(pk=secret.pk).exclude(decoy=True)
    for depth in range(len(parts), -1, -1):
        prefix = "/".join(parts[:depth])
        names = beside.filter(name__startswith=f"{prefix}/") if prefix else beside
        total = names.count()
        if total < _FEWEST_NAMES:
            continue
        uses = UsageEntry.objects.filter(
            object_uuid__in=names.values("uuid"), means=Means.READ, first_at__lt=made,
            last_at__gte=made - _SEEN_WITHIN,
        )  # fmt: skip
        if among is not None:
            uses = uses.filter(actor_uuid__in=among)
        pairs = set(uses.values_list("actor_uuid", "actor_name", "actor_kind", "object_uuid"))
        makers, read = _makers_of({uuid for uuid, *_ in pairs}), defaultdict[UUID, set[UUID]](set)
        words = {makers.get(uuid, uuid): (name, kind) for uuid, name, kind, _ in pairs}
        for uuid, _, _, secret_uuid in pairs:
            read[makers.get(uuid, uuid)].add(secret_uuid)
        for subject, secrets in read.items():
            if len(secrets) >= _SHARE * total:
                found.setdefault(subject, WholeReader(subject, *words[subject], prefix))
    return sorted(found.values(), key=lambda reader: reader.name)


def warnings_of(secret: Secret) -> list[str]:
    """Return what to tell who made a decoy: which readers would use it by accident. Nothing after a day."""
    if not secret.decoy or timezone.now() >= _made_at(secret) + FIRST_DAY:
        return []
    # Tokens of a workload that are gone come of no trust any more, and have its name.
    return list(dict.fromkeys(f"{reader}: move the decoy." for reader in whole_readers(secret)))


def _expected(actor: Actor, secret: Secret) -> WholeReader | None:
    """Return the reader that a use on the first day comes of, if its reads before the decoy explain it."""
    if timezone.now() >= _made_at(secret) + FIRST_DAY:
        return None
    subject = _makers_of({actor.uuid}).get(actor.uuid, actor.uuid)
    made = ServiceToken.objects.filter(Q(trust_uuid=subject) | Q(parent_uuid=subject))
    among = {actor.uuid, subject, *made.values_list("uuid", flat=True)}
    return next((reader for reader in whole_readers(secret, among) if reader.subject == subject), None)


def _makers_of(uuids: Collection[UUID]) -> dict[UUID, UUID]:
    """Return the trust, or the first token, that tokens come of."""
    found = {uuid: uuid for uuid in uuids}
    level = set(uuids)
    while level:
        rows = ServiceToken.objects.filter(uuid__in=level).values_list("uuid", "trust_uuid", "parent_uuid")
        above = {uuid: maker for uuid, trust, parent in rows if (maker := trust or parent)}
        found = {uuid: above.get(maker, maker) for uuid, maker in found.items()}
        level = {maker for maker in above.values() if maker not in found}
    return found


def _made_at(secret: Secret) -> datetime:
    """Return since when a secret is a decoy: by its event, or from its beginning."""
    events = AuditEvent.objects.filter(
        stream=environment_stream(secret.environment.uuid), object_uuid=secret.uuid,
        action=Action.SECRET_DECOY_SET, outcome=Outcome.ALLOWED,
    )  # fmt: skip
    made = events.order_by("-sequence").values_list("at", flat=True).first()
    return made or secret.created_at


def _alert_calmly(secret: Secret, reader: WholeReader) -> None:
    """Raise one alert of a reader that has to be expected, however often it reads on the first day."""
    place, until = secret.environment, _made_at(secret) + FIRST_DAY
    raise_alert(
        kind=DECOY,
        about=uuid5(secret.uuid, f"first day {reader.subject.hex}"),
        environment=place,
        subject=_MOVE.format(place.name, secret.name)[:200],
        lines=[
            f"{reader}: move the decoy.",
            f"It did so before. From {until:%Y-%m-%d %H:%M} UTC on, each of its reads raises an alert.",
        ],
        link=_page(secret),
        people=watchers(place),
    )


def _page(secret: Secret) -> str:
    return reverse("secret-detail", args=[secret.pk])


def _alert(actor: Actor, secret: Secret, what: str, line: str) -> None:
    place = secret.environment
    raise_alert(
        kind=DECOY,
        about=uuid5(secret.uuid, actor.uuid.hex),
        environment=place,
        subject=_USED.format(what, place.name, secret.name)[:200],
        lines=[line, _NEXT],
        link=_page(secret),
        # Each use is news.
        signature=uuid4().hex,
        people=watchers(place),
        adds=True,
    )


def _named(actor: Actor) -> str:
    return f"{actor.name} ({actor.kind})"


def _stored(
    actor: Principal, action: Action, secret: Secret, clearance: ApprovalGrant, *, decoy: bool | None
) -> Secret:
    secret.decoy = decoy
    update_stored(actor=actor, secret=secret, action=action, details={}, clearance=clearance)
    return secret
