"""Use cases of reviews: start one, sign it off or cancel it; `decisions` has what is between."""

from collections import Counter
from collections.abc import Collection
from datetime import timedelta
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import Count, Q, QuerySet
from django.urls import reverse
from django.utils import timezone

from audit_app.events import streams
from audit_app.events.actions import Action
from audit_app.events.actors import NIL, Actor, ActorKind
from audit_app.integrity.row_state import row_digest_entry
from audit_app.recording.recorder import record
from core.canonical_json import Json, utc_text
from core.errors import BadQuery
from environments_app.approvals.one_person import named
from environments_app.authorization.credential_custody import CustodyGraph
from environments_app.authorization.policy import Principal, environments_for, record_denial, require
from environments_app.authorization.principals import refresh_principal
from environments_app.authorization.rows import require_authentic
from environments_app.errors import Conflict, Forbidden, InvalidField, Invisible, Tampered
from environments_app.models import (
    AccessKind,
    Decision,
    Environment,
    Review,
    ReviewItem,
    ReviewState,
)
from environments_app.models.review import INSTALLATION, population_of
from environments_app.names import validate_prefix
from environments_app.notifications.service import message_users, raise_alert, resolve_alert
from environments_app.reviews.population import (
    UNUSED_DAYS,
    Key,
    digest_of_given,
    frozen_items,
    given_since,
    key_of,
    lines_for,
    unsettled,
)
from environments_app.reviews.reviewers import assign, candidates_in, why_nobody
from environments_app.sessions.service import lock_actor, lock_row

KIND: Final = "access-review"
DUE_DAYS: Final = 14
MAX_DUE_DAYS: Final = 180
MAX_NAME: Final = 100
MAX_TEXT: Final = 500
# After the review was due: then Keeper ends what is undecided, if the review says so.
GRACE_DAYS: Final = 7
DECISIONS: Final = ("undecided", *(each.value for each in Decision if each))
_MOST_OPEN: Final = 20
# Of the time until a review is due: when reviewers are reminded. At its end administrators are told as well.
_REMIND_AT: Final = (0.5, 0.8, 1.0)


def start(
    *,
    actor: Principal,
    name: str,
    environments: Collection[Environment],
    days: int = DUE_DAYS,
    installation: bool = False,
    prefix: str = "",
    kinds: Collection[str] = (),
    ends_undecided: bool = False,
) -> Review:
    """Freeze who has which access to some environments, and ask its reviewers; return the review.

    `installation` adds the administrators, auditors and tokens of the installation. `prefix` and `kinds`
    leave out what reaches no name under a path, and what exists by another path. With `ends_undecided`, what
    is undecided GRACE_DAYS after the review was due is ended by Keeper.
    Raises Forbidden, InvalidField, BadName, or Conflict if nobody has any access there.
    """
    require(actor=actor, action=Action.REVIEW_START, environment=None)
    if not name.strip() or len(name) > MAX_NAME or not name.isprintable():
        raise InvalidField("name", f"Use 1 to {MAX_NAME} printable characters.")
    if not 1 <= days <= MAX_DUE_DAYS:
        raise InvalidField("days", f"Choose 1 to {MAX_DUE_DAYS} days.")
    if not environments and not installation:
        raise InvalidField("environments", "Choose at least one environment.")
    if not {*kinds} <= {*AccessKind.values}:
        raise InvalidField("kinds", f"Choose among {', '.join(AccessKind.values)}.")
    if Review.objects.filter(state=ReviewState.OPEN).count() >= _MOST_OPEN:
        raise Conflict(f"{_MOST_OPEN} reviews are open. Sign one off or cancel it first.")
    with lock_actor(actor, Action.REVIEW_START):
        review = Review(
            name=name.strip(),
            scope=sorted(place.name for place in environments) + ([INSTALLATION] if installation else []),
            places=sorted(str(place.uuid) for place in environments),
            prefix=validate_prefix(prefix),
            kinds=sorted({*kinds}) or None,
            ends_undecided=ends_undecided or None,
            opened_by_uuid=actor.uuid,
            opened_by_name=actor.name,
            due_at=timezone.now() + timedelta(days=days),
        )
        review.save()
        items, load = list[ReviewItem](), Counter[UUID]()
        for place in [*environments, *([None] if installation else [])]:
            frozen = frozen_items(review, place)
            assign(frozen, place, load)
            items += frozen
        if not items:
            raise Conflict("Nobody has such access there. Choose more.")
        ReviewItem.objects.bulk_create(items, batch_size=500)
        review.items_count, review.population = len(items), population_of(items)
        review.save(update_fields=["items_count", "population"])
        record_step(
            actor,
            Action.REVIEW_START,
            review,
            {
                "scope": [*review.scope],
                "prefix": review.prefix,
                "kinds": review.kinds or [],
                "ends_undecided": bool(review.ends_undecided),
                "items": len(items),
                "population": review.population,
                "population_at": utc_text(review.population_at),
                "due_at": utc_text(review.due_at),
            },
        )
        for person, count in load.items():
            _ask(review, person, f"{count} entries of access need your decision")
    return review


def sign(*, actor: Principal, review: Review, comment: str = "", given: str = "") -> Review:
    """Acknowledge that the access that remains is appropriate; return the review, which never changes then.

    `given` is the digest of what was given since the list was made, as the signer saw it; empty for nothing.
    Raises Forbidden for who decided an item, or could act as who did; Conflict if anything is undecided, has
    come back or has changed since, or if other access was given since than `given`; Tampered if an item was
    added, removed or edited outside Keeper.
    """
    require(actor=actor, action=Action.REVIEW_SIGN, environment=None, object=review.audit_object)
    text = short_text("comment", comment)
    if refusal := why_not_signer(actor, review):
        refuse(actor, Action.REVIEW_SIGN, review, None, refusal)
    with lock_row(actor, review, Action.REVIEW_SIGN) as stored:
        require_open(stored)
        now = refresh_principal(actor)
        if not now.sees_installation or (refusal := why_not_signer(now, stored)):
            raise Conflict("Your rights have changed meanwhile. Somebody else signs off.")
        items = require_population(stored)
        left = sum(item.decision == Decision.UNDECIDED for item in items)
        if left:
            raise Conflict(f"{left} entries are not decided yet.")
        lines, listed = lines_for(items), {key_of(item) for item in items}
        again = [(item, why) for item in items if (why := unsettled(item, lines, listed))]
        if again:
            item, why = again[0]
            more = f" So have {len(again) - 1} others." if len(again) > 1 else ""
            raise Conflict(f"{item}: {why}{more}")
        since = given_since(stored)
        if digest_of_given(since) != given:
            raise Conflict(
                f"{len(since)} entries of access were given since the list was made, and are not those that "
                "you saw. Look at them, and sign off again."
            )
        stored.given = since or None
        closed_at = _close(stored, now, ReviewState.SIGNED, text)
        counts = Counter(item.decision for item in items)
        record_step(
            now, Action.REVIEW_SIGN, stored,
            {
                "kept": counts[Decision.KEEP], "changed": counts[Decision.CHANGE],
                "ended": counts[Decision.END], "given": len(since), "given_digest": given,
                "population": stored.population, "comment": text, "closed_at": closed_at,
            },
        )  # fmt: skip
        settle_alert(stored, f"{now.name} signed off the review")
    return stored


def cancel(*, actor: Principal, review: Review, comment: str = "") -> Review:
    """End a review without a result, for a reason; what was ended stays ended. Return the review.

    Raises Forbidden, InvalidField without a reason, Conflict if it is over, Tampered.
    """
    require(actor=actor, action=Action.REVIEW_START, environment=None, object=review.audit_object)
    text = short_text("comment", comment)
    if not text:
        raise InvalidField("comment", "Enter why the review is canceled.")
    with lock_row(actor, review, Action.REVIEW_START) as stored:
        require_open(stored)
        closed_at = _close(stored, actor, ReviewState.CANCELLED, text)
        record_step(actor, Action.REVIEW_CANCEL, stored, {"comment": text, "closed_at": closed_at})
        settle_alert(stored, f"{actor.name} canceled the review")
    return stored


def why_not_signer(actor: Principal, review: Review) -> str:
    """Return why a person may not sign off a review, or nothing: nobody signs off their own decisions."""
    if actor.kind is not ActorKind.USER or actor.scope is not None or not actor.sees_installation:
        return "Only an administrator or auditor signs off."
    if actor.suspended:
        return "Your account is suspended: somebody else could sign in by it."
    custody = CustodyGraph()
    decided = ReviewItem.objects.filter(review=review, decided_by_uuid__isnull=False)
    # Keeper decides what nobody decided, and is nobody's second hat.
    decided = decided.exclude(decided_by_uuid=NIL)
    pairs = set(decided.order_by().values_list("decided_by_uuid", "environment_uuid").distinct())
    places = {
        row.uuid: row for row in Environment.every.filter(uuid__in={place for _, place in pairs if place})
    }
    for decider, place in pairs:
        here = places.get(place) if place else None
        if decider and custody.are_one(actor.uuid, [decider], environment=here):
            return (
                "You decided in this review, or could act as somebody who did. Another administrator or an "
                "auditor signs off."
            )
    return ""


def require_population(review: Review) -> list[ReviewItem]:
    """Return all items of a review. Raises Tampered unless they are what was frozen, as Keeper wrote them."""
    items = list(ReviewItem.objects.filter(review=review).select_related("review").order_by("pk"))
    if not all(item.is_authentic() for item in items) or population_of(items) != review.population:
        raise Tampered("What this review froze was changed outside Keeper. Run keeper verify-audit.")
    return items


def visible_reviews(actor: Principal) -> QuerySet[Review]:
    """Return the reviews of which a person sees an item, newest first."""
    rows = Review.objects.annotate(
        decided=Count("items", filter=~Q(items__decision=Decision.UNDECIDED)),
        mine=Count("items", filter=Q(items__decision=Decision.UNDECIDED, items__reviewer_uuid=actor.uuid)),
    )
    if not actor.sees_installation:
        rows = rows.filter(pk__in=ReviewItem.objects.filter(_seen_by(actor)).values("review_id"))
    return rows.order_by("-id")


def visible_items(actor: Principal, review: Review) -> QuerySet[ReviewItem]:
    """Return the items that a person may see: operators all, managers those of their environments."""
    rows = ReviewItem.objects.filter(review=review).select_related("review")
    return rows if actor.sees_installation else rows.filter(_seen_by(actor))


def without_reviewer(actor: Principal, review: Review) -> list[str]:
    """Return how many of the undecided items that an actor sees have no reviewer, why, and what to do."""
    items = list(visible_items(actor, review).filter(reviewer_uuid=None, decision=Decision.UNDECIDED))
    if not items or not review.is_open:
        return []
    uuids = {item.environment_uuid for item in items if item.environment_uuid}
    places: dict[UUID | None, Environment | None] = {
        place.uuid: place for place in Environment.objects.filter(uuid__in=uuids)
    }
    reasons, now = list[str](), Counter[UUID]()
    for uuid, place in (places | {None: None}).items():
        here = [item for item in items if item.environment_uuid == uuid]
        # Not stored: the list keeps who was asked at its start. Somebody may be able to decide by now.
        assign(here, place, now)
        if left := [item for item in here if item.reviewer_uuid is None]:
            reasons.append(why_nobody(left, place))
    stuck = sum(item.reviewer_uuid is None for item in items)
    able = sorted({item.reviewer_name for item in items if item.reviewer_uuid})
    said = list[str]()
    if stuck:
        has, them = ("has", "it") if stuck == 1 else ("have", "them")
        said.append(f"{stuck} of {review.items_count} entries {has} no reviewer: nobody may decide {them}.")
    if able:
        said.append(f"{len(items) - stuck} had no reviewer at the start. {named(able)} may decide now.")
    return [*said, *reasons]


def visible_given(actor: Principal, review: Review) -> list[dict[str, Json]]:
    """Return what was given since the list was made: of an open review to operators, once all is decided."""
    if not actor.sees_installation:
        return []
    if not review.is_open:
        return review.given or []
    undecided = ReviewItem.objects.filter(review=review, decision=Decision.UNDECIDED)
    return [] if undecided.exists() else given_since(review)


def filtered(
    items: QuerySet[ReviewItem], actor: Principal, *, mine: str | None = None, decision: str | None = None
) -> QuerySet[ReviewItem]:
    """Return the items that are the actor's (`mine` is "true"), and those decided so. Raises BadQuery."""
    if mine not in {None, "true"}:
        raise BadQuery("mine", 'Use "true".')
    if decision not in {None, *DECISIONS}:
        raise BadQuery("decision", f"Use one of {', '.join(DECISIONS)}.")
    items = items.filter(reviewer_uuid=actor.uuid) if mine else items
    return items if decision is None else items.filter(decision="" if decision == DECISIONS[0] else decision)


def find_review(*, actor: Principal, id: int) -> Review:
    """Return a review that the actor may see. Raises Invisible, recorded if there is one; or Tampered."""
    review = visible_reviews(actor).filter(pk=id).first()
    if review is None:
        if hidden := Review.objects.filter(pk=id).first():
            record_denial(
                actor=actor, action=Action.REVIEW_DECIDE, environment=None, object=hidden.audit_object
            )
        raise Invisible("There is no such review.")
    require_authentic(review)
    return review


def find_item(*, actor: Principal, id: int, item: int) -> ReviewItem:
    """Return an item of a review that the actor may see. Raises Invisible, Tampered."""
    found = visible_items(actor, find_review(actor=actor, id=id)).filter(pk=item).first()
    if found is None:
        raise Invisible("There is no such entry.")
    require_authentic(found)
    return found


def remind() -> int:
    """Remind reviewers of what is undecided, tell administrators of what is overdue; return of how many."""
    told = 0
    for review in Review.objects.filter(state=ReviewState.OPEN).order_by("pk"):
        if not review.is_authentic():
            continue
        share = (timezone.now() - review.population_at) / (review.due_at - review.population_at)
        stage = sum(share >= part for part in _REMIND_AT)
        waiting: Counter[UUID | None] = Counter(
            ReviewItem.objects.filter(review=review, decision=Decision.UNDECIDED).values_list(
                "reviewer_uuid", flat=True
            )
        )
        # The claim is the update: another worker that reminds finds it done.
        with transaction.atomic():
            claimed = Review.objects.filter(pk=review.pk, reminders__lt=stage).update(reminders=stage)
            if not claimed or not waiting:
                continue
            people = [person for person in waiting if person]
            for person in people:
                _ask(review, person, f"{waiting[person]} entries of access still need your decision")
            if stage == len(_REMIND_AT):
                left = waiting.total()
                admins = [one.user.uuid for one in candidates_in(None)]
                raise_alert(
                    kind=KIND,
                    about=review.uuid,
                    environment=None,
                    subject=f"Access review overdue: {review.name}",
                    lines=[f"{left} of {review.items_count} entries are not decided."],
                    link=address(review),
                    people=[person for person in admins if person not in people],
                )
            told += 1
    return told


def _seen_by(actor: Principal) -> Q:
    places = environments_for(actor, Action.MEMBER_REVOKE)
    if places is None or actor.kind is not ActorKind.USER:
        return Q(pk__in=())
    return Q(environment_uuid__in=Environment.objects.filter(places).values("uuid"))


def listed_keys(review: Review) -> set[Key]:
    """Return the rows of all items of a review."""
    rows = ReviewItem.objects.filter(review=review).values_list("kind", "row_uuid", "place_uuid")
    return set(rows)


def require_open(review: Review) -> None:
    """Raise Conflict if a review is over."""
    if not review.is_open:
        raise Conflict(f"The review is {review.get_state_display().lower()}.")


def _close(review: Review, actor: Actor, state: ReviewState, comment: str) -> str:
    """End a review, and return when."""
    now = timezone.now()
    review.state, review.comment, review.closed_at = state, comment, now
    review.closed_by_uuid, review.closed_by_name = actor.uuid, actor.name
    review.save()
    return utc_text(now)


def refuse(actor: Principal, action: Action, review: Review, item: ReviewItem | None, why: str) -> None:
    """Record a refusal, and raise Forbidden for a reason."""
    record_denial(actor=actor, action=action, environment=None, object=(item or review).audit_object)
    raise Forbidden(why)


def short_text(name: str, text: str) -> str:
    """Return a text without the spaces at its ends. Raises InvalidField if it is too long."""
    if len(text) > MAX_TEXT:
        raise InvalidField(name, f"Use at most {MAX_TEXT} characters.")
    return text.strip()


def record_step(
    actor: Actor, action: Action, review: Review, details: dict[str, Json], item: ReviewItem | None = None
) -> None:
    """Record a step in the stream of the installation, in its transaction."""
    record(
        actor=actor,
        action=action,
        stream=streams.SYSTEM,
        object=review.audit_object,
        details={**details, **row_digest_entry(*([item] if item else [review]))},
    )


def address(review: Review) -> str:
    """Return the path of the page of a review."""
    return reverse("review-detail", args=[review.pk])


def _ask(review: Review, person: UUID, sentence: str) -> None:
    waiting = ReviewItem.objects.filter(review=review, reviewer_uuid=person, decision=Decision.UNDECIDED)
    unused = waiting.filter(unused=True).count()
    message_users(
        people=[person],
        environment=None,
        kind=KIND,
        subject=f"{sentence}: {review.name}"[:200],
        lines=[
            f"Decide by {review.due_at:%Y-%m-%d %H:%M} UTC what to keep and what to end.",
            f"{unused} were not used for {UNUSED_DAYS} days.",
        ],
        link=address(review),
    )


def settle_alert(review: Review, sentence: str) -> None:
    """Settle the alert about what is overdue in a review, if there is one."""
    resolve_alert(
        kinds={KIND}, about=review.uuid, subject=f"{sentence}: {review.name}"[:200], link=address(review)
    )
