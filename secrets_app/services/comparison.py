"""Two environments compared by keyed fingerprint, and chosen values promoted from one to the other.

A comparison is a read of both environments. A promotion is previewed and carried out item by item.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from django.db.models import F, QuerySet

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
from secrets_app.models import Secret, SecretVersion
from secrets_app.queries.lookup import find_secret_by_name
from secrets_app.services.transfer import copy, overwrite
from secrets_app.values.batch_results import NOT_ALLOWED, ItemResult, run_item

Names = Collection[str] | QuerySet[Secret, Any] | None

# Among all names of several environments; a page of names is always less.
MAX_COMPARED: Final = 40_000


class Difference(StrEnum):
    """The comparison of one name in two environments."""

    SAME = "same"
    DIFFERENT = "different"
    ONLY_LEFT = "only_left"
    ONLY_RIGHT = "only_right"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One name and its state on both sides; numbers are None where it is missing, and the secrets too."""

    name: str
    difference: Difference
    left_number: int | None
    right_number: int | None
    left: Secret | None = field(default=None, repr=False, compare=False)
    right: Secret | None = field(default=None, repr=False, compare=False)


def compare(*, actor: Principal, left: Environment, right: Environment, names: Names = None) -> list[Row]:
    """Return every name of two environments with whether the values are equal, in order of names.

    `names` takes of these the ones that it holds. Rights, records and errors are those of `compare_across`.
    """
    current = _recorded_versions(actor, [left, right], names)
    found = _across(current)
    here, there = (current[place][1] for place in (left.pk, right.pk))
    return [_row(name, here, there, found[name]) for name in sorted(found)]


def compare_across(
    *, actor: Principal, environments: Sequence[Environment], names: Names = None
) -> dict[str, dict[int, Difference]]:
    """Return, for each name and environment id, whether the value is that of the first environment with one.

    A pair is missing where the name does not exist or is guarded, and where no other has it. Needs the right
    to reveal in each environment (it would otherwise confirm a guessed value), and is recorded in each as a
    read of all that was compared, before the answer; a statement and an event for each environment.

    Raises Forbidden or Invisible, and TooManyItems before anything is compared.
    """
    secrets = Secret.objects.filter(environment__in=environments, live=True)
    if names is not None:
        secrets = secrets.filter(name__in=names)
    if secrets.count() > MAX_COMPARED:
        raise TooManyItems(
            f"Compare up to {MAX_COMPARED:,} secrets at a time. Choose fewer environments or a prefix."
        )
    found = _across(_recorded_versions(actor, environments, names))
    return {name: each if len(each) > 1 else {} for name, each in found.items()}


def _recorded_versions(
    actor: Principal, environments: Sequence[Environment], names: Names
) -> dict[int, tuple[Receipt, dict[str, SecretVersion]]]:
    """Return by environment what is compared, once each comparison is on record."""
    for environment in environments:
        require(actor=actor, action=Action.SECRET_COMPARE, environment=environment)
    current = {place.pk: _current(actor, place, names) for place in environments}
    recorded = {}
    for number, place in enumerate(environments):
        others = ", ".join(other.name for index, other in enumerate(environments) if index != number)
        recorded[place.pk] = _recorded(actor, place, others, current[place.pk]), current[place.pk]
    return recorded


def _across(
    current: Mapping[int, tuple[Receipt, Mapping[str, SecretVersion]]],
) -> dict[str, dict[int, Difference]]:
    """Compare each value with that of the first environment that has the name."""
    found: dict[str, dict[int, Difference]] = {}
    firsts: dict[str, int] = {}
    for pk, (_, versions) in current.items():
        for name in versions:
            firsts.setdefault(name, pk)
            found.setdefault(name, {})[pk] = Difference.SAME
    for pk, (_, versions) in current.items():
        for first, (receipt, others) in current.items():
            shared = {name: version for name, version in versions.items() if firsts[name] == first != pk}
            opened = _opened(others, shared, receipt=receipt) if shared else {}
            for name, version in shared.items():
                same = fingerprints.same_value(others[name].fingerprint, version.fingerprint)
                if not opened.get(name, same):
                    found[name][pk] = Difference.DIFFERENT
    return found


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


def _current(actor: Principal, environment: Environment, names: Names) -> dict[str, SecretVersion]:
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
        # Whether two values are equal would confirm a guess of a guarded one, or show a decoy.
        if readable and version.secret.is_authentic() and not version.secret.left_out:
            found[name] = version
    return found


def _row(
    name: str,
    left: Mapping[str, SecretVersion],
    right: Mapping[str, SecretVersion],
    found: Mapping[int, Difference],
) -> Row:
    here, there = left.get(name), right.get(name)
    if here is None or there is None:
        difference = Difference.ONLY_LEFT if here else Difference.ONLY_RIGHT
    else:
        difference = found[there.secret.environment_id]
    return Row(
        name=name,
        difference=difference,
        left_number=here.number if here else None,
        right_number=there.number if there else None,
        left=here.secret if here else None,
        right=there.secret if there else None,
    )


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
    taken = set(
        Secret.objects.filter(environment=target, live=True, name__in=names).values_list("name", flat=True)
    )
    lines = [_line(actor, source, target, row, taken) for row in rows]
    # Another secret that took the name since is not what was seen, nor is another version.
    digest_input = [
        [line.row.name, line.verdict, _identity(line.row.left), _identity(line.row.right)] for line in lines
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


def _identity(secret: Secret | None) -> list[str]:
    return [str(secret.uuid), secret.etag] if secret else []


def _line(
    actor: Principal, source: Environment, target: Environment, row: Row, taken: Collection[str]
) -> PromotionLine:
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
    if is_new and row.name in taken:
        reason = f"It exists in {target.name}, where it is not compared."
        return PromotionLine(row=row, verdict="refused", reason=reason)
    return PromotionLine(row=row, verdict="new" if is_new else "changed")


def _carried(actor: Principal, source: Environment, target: Environment, line: PromotionLine) -> ItemResult:
    row = line.row

    def carry() -> int:
        here = find_secret_by_name(actor=actor, environment=source, name=row.name)
        if _identity(here) != _identity(row.left):
            raise StaleVersion(f"It has changed in {source.name} since; nothing was written.")
        if row.right is None:
            return int(copy(actor=actor, secret=here, environment=target).pk)
        there = find_secret_by_name(actor=actor, environment=target, name=row.name)
        if _identity(there) != _identity(row.right):
            raise StaleVersion(f"It has changed in {target.name} since; nothing was written.")
        return int(overwrite(actor=actor, secret=here, onto=there, expected=there.etag).pk)

    return run_item(row.name, carry, word="created" if row.right is None else "changed")
