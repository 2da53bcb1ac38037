"""A review as a file of an evidence pack: what was frozen, and what was decided about each entry."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

from django.db.models import Q

from audit_app.events import streams
from audit_app.events.actions import Action, Outcome
from audit_app.models import AuditEvent, StreamHead
from audit_app.queries.reports import Row, Scope, Section
from core.canonical_json import canonical_json, utc_text
from environments_app.authorization.policy import Principal
from environments_app.models import AccessKind, Review, ReviewItem
from environments_app.reviews.coverage import GAP_DAYS, visible_gaps
from environments_app.reviews.service import visible_items, visible_reviews

_BATCH = 500
_EDITED: Final = "modified outside Keeper"


def reviews_between(since: datetime, until: datetime) -> Iterator[Review]:
    """Yield the reviews that were open at some time of a period, oldest first."""
    ended = Q(closed_at=None) | Q(closed_at__gte=since)
    yield from Review.objects.filter(ended, population_at__lt=until).order_by("pk")


def begin_of(since: datetime, reviews: Iterable[Review]) -> datetime:
    """Return the time from which the audit log holds a period, and each review that was open in it.

    Reviews count by their events as well: one whose rows were deleted is missed by the verifier.
    """
    steps = AuditEvent.objects.filter(stream=streams.SYSTEM, outcome=Outcome.ALLOWED, object_kind="review")
    ends = {Action.REVIEW_SIGN, Action.REVIEW_CANCEL}
    over = steps.filter(action__in=ends, at__lt=since).values("object_uuid")
    started = steps.filter(action=Action.REVIEW_START).exclude(object_uuid__in=over)
    first = started.order_by("at").values_list("at", flat=True)[:1]
    return min([since, *first, *(review.population_at for review in reviews)])


def last_event() -> int:
    """Return the number of the last event of the installation, where each step of a review is recorded."""
    head = StreamHead.objects.filter(stream=streams.SYSTEM).values_list("sequence", flat=True).first()
    return head or 0


def review_lines(review: Review) -> Iterator[bytes]:
    """Yield a review as lines of JSON, which docs/verify_offline.py holds against the audit log.

    `through` is the event up to which the log is in it. Call it inside `snapshot()`.
    """
    stored = Review.objects.get(pk=review.pk)
    yield _line(
        {
            "kind": "review",
            "uuid": str(stored.uuid),
            "name": stored.name,
            "scope": stored.scope,
            "prefix": stored.prefix,
            "kinds": stored.kinds or [],
            "ends_undecided": bool(stored.ends_undecided),
            "population_at": utc_text(stored.population_at),
            "items": stored.items_count,
            "population": stored.population,
            "started_by": stored.opened_by_name,
            "due_at": utc_text(stored.due_at),
            "state": str(stored.state),
            "closed_by": stored.closed_by_name,
            "closed_at": utc_text(stored.closed_at) if stored.closed_at else None,
            "comment": stored.comment,
            "given": stored.given or [],
            "through": last_event(),
        }
    )
    for item in ReviewItem.objects.filter(review=review).order_by("pk").iterator(chunk_size=_BATCH):
        yield _line(
            {
                "kind": "item",
                "uuid": str(item.uuid),
                "frozen": item.frozen,
                "decision": str(item.decision),
                "reason": item.reason,
                "kept": item.kept,
                "decided_by": item.decided_by_name,
                "decided_by_uuid": str(item.decided_by_uuid) if item.decided_by_uuid else None,
                "decided_at": utc_text(item.decided_at) if item.decided_at else None,
            }
        )


def _line(facts: dict[str, object]) -> bytes:
    return canonical_json(facts) + b"\n"


def _rows(scope: Scope) -> Iterator[Row]:
    if not isinstance(scope.viewer, Principal):
        return
    seen = visible_reviews(scope.viewer).filter(population_at__lt=scope.until)
    for review in seen.filter(Q(closed_at=None) | Q(closed_at__gte=scope.since)):
        items = visible_items(scope.viewer, review).order_by("pk")
        for item in items.iterator(chunk_size=_BATCH):
            yield (
                review.name, review.get_state_display(), review.closed_by_name, review.closed_at,
                item.subject_name, item.get_kind_display(), item.environment_name or "installation",
                item.role, item.prefix or "all", item.last_used_at, item.reviewer_name,
                item.get_decision_display() if item.is_authentic() and review.is_authentic() else _EDITED,
                item.kept_otherwise, item.reason,
                item.decided_by_name, item.decided_at,
            )  # fmt: skip
        for since in (review.given or ()) if scope.viewer.sees_installation else ():
            yield (
                review.name, review.get_state_display(), review.closed_by_name, review.closed_at,
                since["holder"], AccessKind(since["kind"]).label, since["environment"] or "installation",
                since["role"], since["prefix"] or "all", None, "", "Given since", "", "", "", None,
            )  # fmt: skip


def _unreviewed(scope: Scope) -> Iterator[Row]:
    if not isinstance(scope.viewer, Principal):
        return
    for gap in visible_gaps(actor=scope.viewer):
        yield (
            gap.name,
            gap.last.name if gap.last else "never",
            gap.last.closed_at if gap.last else None,
            gap.last.closed_by_name if gap.last else "",
            gap.running.name if gap.running else "",
        )


SECTIONS = (
    Section(
        key="reviews",
        title="Access reviews",
        about="Each entry of the reviews that were open in the time, as it was listed, with its decision and "
        "the sign-off. Access that was given after a review began has the decision Given since.",
        columns=(
            "Review", "State", "Closed by", "Closed", "Holder", "Kind", "Environment", "Role", "Path",
            "Last used", "Reviewer", "Decision", "Kept as", "Reason", "Decided by", "Decided",
        ),
        rows=_rows,
        of_time=True,
    ),
    Section(
        key="unreviewed",
        title="Access not reviewed",
        about=f"Environments of which no review of all access was signed off in {GAP_DAYS} days. A review of "
        "some paths or kinds of access does not count. Environments in which nobody has access are left off.",
        columns=("Environment", "Last review", "Signed off", "Signed off by", "Open review"),
        rows=_unreviewed,
    ),
)  # fmt: skip
