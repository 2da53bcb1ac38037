"""Promotes secrets: takes chosen values of one environment into another, previewed and item by item."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from audit_app.crypto.canonical_json import canonical_json
from audit_app.events.actions import Action
from core.errors import Kind
from environments_app.authorization.policy import Principal, allows
from environments_app.models import Environment
from secrets_app.errors import SecretError, StaleVersion, TooManyItems
from secrets_app.queries.lookup import find_secret_by_name
from secrets_app.services.compare import Difference, Row, compare
from secrets_app.services.transfer import copy, overwrite
from secrets_app.values.batch_results import NOT_ALLOWED, ItemResult, run_item

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
