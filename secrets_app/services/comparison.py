"""Two environments compared by keyed fingerprint, and chosen values promoted from one to the other.

A comparison is a read of both environments. A promotion is previewed and carried out item by item.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from django.db.models import F

from audit_app.events.actions import Action
from audit_app.events.streams import environment_stream
from audit_app.recording.drafts import AuditObject, ManifestEntry, Receipt
from audit_app.recording.recorder import commit_record
from core.canonical_json import canonical_json
from core.errors import Kind
from environments_app.authorization.policy import Principal, allows, require
from environments_app.models import Environment
from secrets_app.errors import SecretError, StaleVersion, TooManyItems
from secrets_app.keys import data_keys, fingerprints
from secrets_app.models import SecretVersion
from secrets_app.queries.lookup import find_secret_by_name
from secrets_app.services.transfer import copy, overwrite
from secrets_app.values.batch_results import NOT_ALLOWED, ItemResult, run_item


class Difference(StrEnum):
    """The comparison of one name in two environments."""

    SAME = "same"
    DIFFERENT = "different"
    ONLY_LEFT = "only_left"
    ONLY_RIGHT = "only_right"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One name and its state on both sides; numbers are None where it is missing."""

    name: str
    difference: Difference
    left_number: int | None
    right_number: int | None


def compare(
    *, actor: Principal, left: Environment, right: Environment, names: Collection[str] | None = None
) -> list[Row]:
    """Return every name of two environments with whether the values are equal, in order of names.

    `names` takes of these the ones that it holds. Needs the right to reveal on both sides (it would
    otherwise confirm a guessed value), and is recorded on both as a read of all that was compared, before
    the answer.

    Raises Forbidden or Invisible.
    """
    for environment in (left, right):
        require(actor=actor, action=Action.SECRET_COMPARE, environment=environment)
    here, there = (_current(actor, environment, names) for environment in (left, right))
    receipt = _recorded(actor, left, right.name, here)
    _recorded(actor, right, left.name, there)
    opened = _opened(here, there, receipt=receipt)
    return [_row(name, here, there, opened) for name in sorted(here.keys() | there.keys())]


def compare_across(
    *, actor: Principal, environments: Sequence[Environment], names: Collection[str]
) -> dict[str, dict[int, Difference]]:
    """Return, for each name and environment id, whether the value is that of the first environment with one.

    A pair is missing where the name exists in one environment at most, or the fingerprints are of different
    keys: nothing is opened. Needs the right to reveal in each environment, and is recorded in each as a read
    of all that was compared, before the answer; a statement and an event for each environment.

    Raises Forbidden or Invisible.
    """
    for environment in environments:
        require(actor=actor, action=Action.SECRET_COMPARE, environment=environment)
    current = {place.pk: _current(actor, place, names) for place in environments}
    for place in environments:
        others = ", ".join(other.name for other in environments if other.pk != place.pk)
        _recorded(actor, place, others, current[place.pk])
    return {name: _across(name, current) for name in names}


def _across(name: str, current: Mapping[int, Mapping[str, SecretVersion]]) -> dict[int, Difference]:
    prints = {pk: bytes(found[name].fingerprint) for pk, found in current.items() if name in found}
    if len(prints) == 1:
        return {}
    first = next(iter(prints.values()), b"")
    return {
        pk: Difference.SAME if fingerprints.same_value(first, own) else Difference.DIFFERENT
        for pk, own in prints.items()
        if fingerprints.are_comparable(first, own)
    }


def _recorded(
    actor: Principal, environment: Environment, others: str, versions: Mapping[str, SecretVersion]
) -> Receipt:
    """Record that the current versions of an environment were compared with those of others."""
    return commit_record(
        actor=actor,
        action=Action.SECRET_COMPARE,
        stream=environment_stream(environment.uuid),
        object=AuditObject("environment", environment.uuid, environment.name),
        details={"with": others, "count": len(versions)},
        manifest=[
            ManifestEntry(secret_uuid=str(version.secret.uuid), number=version.number, name=name)
            for name, version in versions.items()
        ],
        covers=frozenset(version.uuid.bytes for version in versions.values()),
    )


def _opened(
    left: Mapping[str, SecretVersion], right: Mapping[str, SecretVersion], *, receipt: Receipt
) -> dict[str, bool]:
    """Return, for names whose fingerprints are of different keys, whether the values are equal.

    The key was replaced between them: the left values are opened and measured by the right ones' key.
    """
    apart = {
        left[name].pk: name
        for name in left.keys() & right.keys()
        if not fingerprints.are_comparable(left[name].fingerprint, right[name].fingerprint)
    }
    data_keys.prefetch({left[name].data_key_id for name in apart.values()})
    same = {}
    for version in SecretVersion.objects.filter(pk__in=apart).only("uuid", "number", "value", "secret"):
        name = apart[version.pk]
        version.secret = left[name].secret
        same[name] = fingerprints.matches(version.value.open(receipt), bytes(right[name].fingerprint))
    return same


def _current(
    actor: Principal, environment: Environment, names: Collection[str] | None
) -> dict[str, SecretVersion]:
    rows = (
        SecretVersion.objects.select_related("secret")
        .filter(secret__environment=environment, secret__live=True, number=F("secret__current_number"))
        .defer("value")
        .order_by("secret__name")
    )
    if names is not None:
        rows = rows.filter(secret__name__in=names)
    found = {}
    for version in rows:
        version.secret.environment = environment
        name = version.secret.name
        readable = allows(actor, Action.SECRET_COMPARE, environment_id=environment.pk, name=name)
        if readable and version.secret.is_authentic():
            found[name] = version
    return found


def _row(
    name: str,
    left: Mapping[str, SecretVersion],
    right: Mapping[str, SecretVersion],
    opened: Mapping[str, bool],
) -> Row:
    here, there = left.get(name), right.get(name)
    return Row(
        name=name,
        difference=_difference(here, there, opened=opened.get(name)),
        left_number=here.number if here else None,
        right_number=there.number if there else None,
    )


def _difference(
    here: SecretVersion | None, there: SecretVersion | None, *, opened: bool | None
) -> Difference:
    if here is None:
        return Difference.ONLY_RIGHT
    if there is None:
        return Difference.ONLY_LEFT
    same = fingerprints.same_value(here.fingerprint, there.fingerprint) if opened is None else opened
    return Difference.SAME if same else Difference.DIFFERENT


MAX_PROMOTED: Final = 200


@dataclass(frozen=True, kw_only=True)
class PromotionLine:
    """One selected name and its promotion; `reason` states why it is skipped."""

    row: Row
    verdict: str
    reason: str = ""

    @property
    def is_written(self) -> bool:
        return self.verdict in {"new", "changed"}


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """All chosen names, and the digest by which a promotion names what was seen."""

    lines: Sequence[PromotionLine]
    digest: str


class PromotionChanged(SecretError):
    """What would be promoted is not what was seen; nothing was written. `promotion` is what it is now."""

    problem = Kind(409, "The plan has changed")

    def __init__(self, promotion: Promotion) -> None:
        super().__init__("The environments changed since your preview. Nothing was changed. Review it again.")
        self.promotion = promotion


def plan_promotion(
    *, actor: Principal, source: Environment, target: Environment, names: Collection[str]
) -> Promotion:
    """Return what a promotion of up to 200 names would do; nothing is written.

    It is a comparison, with the rights and the record of one. Raises TooManyItems, Forbidden or Invisible.
    """
    if len(names) > MAX_PROMOTED:
        raise TooManyItems(f"Promote up to {MAX_PROMOTED} secrets at a time. Nothing was changed.")
    rows = compare(actor=actor, left=source, right=target, names=names)
    lines = [_line(actor, source, target, row) for row in rows]
    digest_input = [
        [line.row.name, line.verdict, line.row.left_number, line.row.right_number] for line in lines
    ]
    places = [str(source.uuid), str(target.uuid)]
    return Promotion(lines=lines, digest=hashlib.sha256(canonical_json([places, digest_input])).hexdigest())


def promote(
    *, actor: Principal, source: Environment, target: Environment, names: Collection[str], digest: str
) -> list[ItemResult]:
    """Carry out the promotion that `digest` names; return a result for each name to write.

    Each is a copy with its rights and records. Raises PromotionChanged, TooManyItems, Forbidden or
    Invisible.
    """
    promotion = plan_promotion(actor=actor, source=source, target=target, names=names)
    if promotion.digest != digest:
        raise PromotionChanged(promotion)
    return [_carried(actor, source, target, line) for line in promotion.lines if line.is_written]


def _line(actor: Principal, source: Environment, target: Environment, row: Row) -> PromotionLine:
    if row.difference is Difference.ONLY_RIGHT:
        return PromotionLine(row=row, verdict="refused", reason="Nothing to promote.")
    if row.difference is Difference.SAME:
        return PromotionLine(row=row, verdict="same")
    is_new = row.difference is Difference.ONLY_LEFT
    writing = Action.SECRET_CREATE if is_new else Action.SECRET_UPDATE
    if not (
        allows(actor, Action.SECRET_COPY, environment_id=source.pk, name=row.name)
        and allows(actor, writing, environment_id=target.pk, name=row.name)
    ):
        return PromotionLine(row=row, verdict="refused", reason=NOT_ALLOWED)
    return PromotionLine(row=row, verdict="new" if is_new else "changed")


def _carried(actor: Principal, source: Environment, target: Environment, line: PromotionLine) -> ItemResult:
    row = line.row

    def carry() -> int:
        here = find_secret_by_name(actor=actor, environment=source, name=row.name)
        if here.current_number != row.left_number:
            raise StaleVersion(f"It has changed in {source.name} since; nothing was written.")
        if row.right_number is None:
            return int(copy(actor=actor, secret=here, environment=target).pk)
        there = find_secret_by_name(actor=actor, environment=target, name=row.name)
        if there.current_number != row.right_number:
            raise StaleVersion(f"It has changed in {target.name} since; nothing was written.")
        return int(overwrite(actor=actor, secret=here, onto=there, expected=there.etag).pk)

    return run_item(row.name, carry, word="created" if row.right_number is None else "changed")
