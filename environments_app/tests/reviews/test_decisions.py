"""Access is made less by the ordinary act, Keeper ends what nobody decided, and a review has a scope."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from django.contrib.auth.models import Group
from django.utils import timezone

from audit_app.events.actors import ActorKind
from audit_app.events.streams import environment_stream
from audit_app.models import AuditEvent, UsageEntry
from environments_app.authorization.rows import access_rows, lock_authentic
from environments_app.environments import memberships
from environments_app.errors import AlreadyGranted, Conflict, InvalidField
from environments_app.models import (
    Alert,
    Environment,
    GroupMember,
    Membership,
    Review,
    ReviewItem,
    ServiceToken,
    Trust,
    User,
    UserRole,
)
from environments_app.reviews import decisions
from environments_app.reviews import service as reviews
from environments_app.reviews.decisions import Less
from environments_app.reviews.population import UNUSED_DAYS, digest_of_given
from environments_app.sessions.service import lock_row
from environments_app.tests.cast import Cast, user_with_password
from environments_app.tests.reviews.test_service import HOST, Events, decide_all, decided, item, seen, started
from environments_app.tests.trusts.issuer import Issuer
from environments_app.tests.trusts.made import make_trust
from environments_app.tokens import rotation
from environments_app.tokens import service as tokens

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]


@pytest.fixture
def auditor(cast: Cast) -> User:
    return user_with_password("audrey", role=UserRole.AUDITOR)


def change(who: User, one: ReviewItem, less: Less, **options: Any) -> ReviewItem:
    return decided(who, one, "change", less=less, **options)


def of(user: User, environment: Environment) -> Membership:
    return Membership.objects.get(user=user, environment=environment)


def test_a_change_is_the_ordinary_act_of_the_reviewer(cast: Cast, events: Events) -> None:
    review, until = started(cast), timezone.now() + timedelta(days=30)
    erin = change(cast.alice, item(review, "erin"), Less("reader", "shop", until))
    row = of(cast.erin, cast.development)
    assert (row.role, row.prefix, row.expires_at) == ("reader", "shop", until)
    (changed,) = events("member.change")
    (event,) = events("review.decide")
    assert changed.actor_uuid == event.actor_uuid == cast.alice.uuid
    assert f'"changed":["{row.uuid}"]' in event.details
    assert erin.role == "editor"
    assert erin.kept is not None
    assert (erin.kept["role"], erin.kept["prefix"], erin.kept["as_listed"]) == ("reader", "shop", False)
    assert list(access_rows()) == []


def test_each_kind_changes_by_its_own_act_and_the_others_not_at_all(cast: Cast, events: Events) -> None:
    group = Group.objects.create(name="ops")
    GroupMember.objects.create(user=cast.charlie, group=group)
    Membership.objects.create(environment=cast.development, group=group, role="editor")
    tokens.issue(actor=HOST, environment=cast.development, role="editor", name="ci")
    make_trust(cast, Issuer(), environment=cast.development, name="deploy", role="editor")
    user_with_password("second", role=UserRole.ADMIN)
    review = started(cast, installation=True)
    change(cast.root, item(review, "deploy"), Less("viewer", "shop"), reason="less")
    assert (Trust.objects.get().role, Trust.objects.get().prefix) == ("viewer", "shop")
    change(cast.root, item(review, "second"), Less("auditor"), reason="less")
    assert User.objects.get(username="second").role == UserRole.AUDITOR
    for holder, who in (("charlie", cast.root), ("ci", cast.alice)):
        with pytest.raises(InvalidField, match="can't be made less"):
            change(who, item(review, holder), Less("viewer"), reason="less")
        assert item(review, holder).decision == ""
    assert [len(events(action)) for action in ("trust.change", "user.change")] == [1, 1]


@pytest.mark.parametrize(
    ("less", "field"),
    [
        (Less("manager"), "role"),
        (Less("owner"), "role"),
        (Less("auditor"), "role"),
        (Less(prefix="infra"), "prefix"),
        (Less(prefix="shop2"), "prefix"),
        (Less(expires_at=timezone.now() + timedelta(days=90)), "expires_at"),
        (Less(expires_at=timezone.now() - timedelta(days=1)), "expires_at"),
        (Less("editor", "shop"), "decision"),
        (Less(), "decision"),
    ],
)
def test_a_change_makes_less_of_the_present_right(cast: Cast, less: Less, field: str) -> None:
    row = of(cast.erin, cast.development)
    row.prefix, row.expires_at = "shop", timezone.now() + timedelta(days=30)
    row.save()
    review = started(cast)
    with pytest.raises(InvalidField) as raised:
        change(cast.alice, item(review, "erin"), less)
    assert raised.value.field == field
    assert item(review, "erin").decision == ""
    assert of(cast.erin, cast.development).role == "editor"


def test_a_change_that_the_act_refuses_leaves_it_undecided(cast: Cast) -> None:
    Membership.objects.create(environment=cast.development, user=cast.erin, role="viewer", prefix="shop")
    review = started(cast)
    with pytest.raises(AlreadyGranted):
        change(cast.alice, item(review, "erin", role="editor"), Less(prefix="shop"))
    assert item(review, "erin", role="editor").decision == ""
    assert not AuditEvent.objects.filter(action="review.decide", outcome="allowed").exists()


@pytest.mark.parametrize("meanwhile", ["lowered", "gone"])
def test_a_change_is_less_than_what_the_reviewer_saw(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    """The second guard: reader would be more than the viewer that it is by then."""
    review = started(cast)
    erin, state = item(review, "erin"), seen(item(review, "erin"))
    alice, row = cast.principal(cast.alice), of(cast.erin, cast.development)

    def late(*given: Any) -> Any:
        monkeypatch.setattr(decisions, "lock_row", lock_row)
        if meanwhile == "lowered":
            memberships.change_membership(actor=alice, membership=row, role="viewer")
        else:
            memberships.revoke_membership(actor=alice, membership=row)
        return lock_row(*given)

    monkeypatch.setattr(decisions, "lock_row", late)
    with pytest.raises(Conflict, match="has changed since the page was shown"):
        decisions.decide(actor=alice, item=erin, decision="change", state=state, less=Less("reader"))
    assert not Membership.objects.filter(user=cast.erin, role="reader").exists()


def test_what_was_changed_is_decided_again_if_it_is_widened(cast: Cast, auditor: User) -> None:
    review = started(cast)
    change(cast.alice, item(review, "erin"), Less("viewer"))
    decide_all(cast, review)
    memberships.change_membership(
        actor=cast.principal(cast.root).proven(), membership=of(cast.erin, cast.development), role="editor"
    )
    with pytest.raises(Conflict, match="Decide about it again"):
        reviews.sign(actor=cast.principal(auditor), review=review)


def late_by(review: Review, days: float) -> int:
    with mock.patch.object(timezone, "now", return_value=review.due_at + timedelta(days=days)):
        return decisions.end_undecided()


def test_keeper_ends_what_nobody_decided_a_week_after_if_the_review_says_so(
    cast: Cast, events: Events, auditor: User
) -> None:
    silent, review = started(cast), started(cast, ends_undecided=True)
    decided(cast.alice, item(review, "vera"), "keep")
    assert late_by(review, 6.9) == 0
    # Alice is the last manager, so hers stays, and those after it are ended all the same.
    assert late_by(review, 7.1) == 2
    assert {one.user for one in Membership.objects.filter(environment=cast.development)} == {
        cast.alice, cast.vera,
    }  # fmt: skip
    bob = item(review, "bob")
    assert (bob.decision, bob.decided_by_name) == ("end", "system")
    assert "Nobody decided within 7 days" in bob.reason
    assert {event.actor_kind for event in events("member.revoke")} == {ActorKind.SYSTEM}
    assert item(review, "alice").decision == ""
    alert = Alert.objects.get(kind=reviews.KIND, about=review.uuid, open=True)
    assert [line.partition(":")[0] for line in alert.lines] == ["alice"]
    assert "at least one manager" in alert.lines[0]
    assert not ReviewItem.objects.filter(review=silent).exclude(decision="").exists()
    # It is tried again, and somebody else signs off in the end.
    Membership.objects.create(environment=cast.development, user=cast.charlie, role="manager")
    assert late_by(review, 8) == 1
    assert not Alert.objects.filter(about=review.uuid, open=True).exists()
    given = digest_of_given(reviews.visible_given(cast.principal(auditor), review))
    assert reviews.sign(actor=cast.principal(auditor), review=review, given=given).state == "signed"
    assert list(access_rows()) == []


@pytest.mark.parametrize("meanwhile", ["decided", "closed"])
def test_what_is_decided_before_the_lock_is_not_ended(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    """The second guard: a reviewer is just in time."""
    review = started(cast, ends_undecided=True)
    decide_all(cast, review, besides=frozenset({"bob"}))
    bob = item(review, "bob")

    def late(stored: Any) -> Any:
        monkeypatch.setattr(decisions, "lock_authentic", lock_authentic)
        if meanwhile == "decided":
            decided(cast.alice, bob, "keep")
        else:
            reviews.cancel(actor=cast.principal(cast.root), review=review, comment="over")
        return lock_authentic(stored)

    monkeypatch.setattr(decisions, "lock_authentic", late)
    assert late_by(review, 8) == 0
    assert Membership.objects.filter(user=cast.bob).exists()


def test_a_list_that_was_edited_ends_nothing(cast: Cast, sql: Callable[..., None]) -> None:
    review = started(cast)
    sql(f"UPDATE {Review._meta.db_table} SET ends_undecided = %s", True)
    assert late_by(review, 8) == 0
    assert Membership.objects.filter(user=cast.bob).exists()


def test_a_review_lists_what_reaches_its_path_and_is_of_its_kinds(cast: Cast, events: Events) -> None:
    place = cast.development
    for name, prefix in (("shop", "shop"), ("below", "shop/db"), ("beside", "shop2"), ("other", "infra")):
        user = user_with_password(name)
        Membership.objects.create(environment=place, user=user, role="reader", prefix=prefix)
    tokens.issue(actor=HOST, environment=place, role="reader", name="ci", prefix="shop/ci")
    review = started(cast, prefix="shop")
    assert {one.subject_name for one in review.items.all()} == {
        "alice", "erin", "bob", "vera", "shop", "below", "ci",
    }  # fmt: skip
    narrow = started(cast, prefix="shop", kinds=["token", "trust"])
    assert [one.subject_name for one in narrow.items.all()] == ["ci"]
    assert '"kinds":["token","trust"]' in events("review.start")[-1].details
    assert narrow.scope_text == "development, only what reaches shop/, only service token, trust"
    with pytest.raises(InvalidField):
        started(cast, kinds=["everything"])
    with pytest.raises(Conflict, match="such access"):
        started(cast, kinds=["trust"])


def test_what_was_given_since_is_acknowledged_as_it_was_shown(
    cast: Cast, auditor: User, events: Events
) -> None:
    place, signer = cast.development, cast.principal(auditor)
    ci, _ = tokens.issue(actor=HOST, environment=place, role="reader", name="ci", prefix="shop")
    review = started(cast, prefix="shop")
    assert reviews.visible_given(signer, review) == []
    Membership.objects.create(environment=place, user=cast.charlie, role="viewer", prefix="shop")
    Membership.objects.create(environment=place, user=auditor, role="viewer", prefix="infra")
    # What a rotation made may what the listed one may.
    rotation.rotate(actor=cast.principal(cast.root).proven(), token=ci)
    decide_all(cast, review, besides=frozenset({"ci"}))
    decided(cast.root, item(review, "ci"), "keep", "needed")
    given = reviews.visible_given(signer, review)
    assert [(one["holder"], one["role"], one["prefix"]) for one in given] == [("charlie", "viewer", "shop")]
    assert reviews.visible_given(cast.principal(cast.alice), review) == []
    seen_then = digest_of_given(given)
    # The second guard: more was given since the page was shown.
    Membership.objects.create(environment=place, user=user_with_password("late"), role="manager")
    for shown in ("", seen_then):
        with pytest.raises(Conflict, match="2 entries of access were given since"):
            reviews.sign(actor=signer, review=review, given=shown)
    now = digest_of_given(reviews.visible_given(signer, review))
    signed = reviews.sign(actor=signer, review=review, given=now)
    assert [one["holder"] for one in signed.given or ()] == ["charlie", "late"]
    memberships.revoke_membership(actor=HOST, membership=of(cast.charlie, place))
    signed.refresh_from_db()
    assert len(reviews.visible_given(signer, signed)) == 2
    assert f'"given":2,"given_digest":"{now}"' in events("review.sign", outcome="allowed")[-1].details


def used(uuid: Any, environment: Environment, *, days: int) -> None:
    at = timezone.now() - timedelta(days=days)
    UsageEntry.objects.create(
        object_uuid=uuid, actor_uuid=uuid, number=1, means="read", actor_kind="token",
        stream=environment_stream(environment.uuid), actor_name="x", first_at=at, last_at=at, count=1,
        last_event_id=1,
    )  # fmt: skip


@pytest.mark.parametrize("how", ["trust", "child", "grandchild"])
def test_the_use_of_a_child_is_that_of_its_trust_or_token(cast: Cast, how: str) -> None:
    place, old = cast.development, timezone.now() - timedelta(days=UNUSED_DAYS + 10)
    token, _ = tokens.issue(actor=HOST, environment=place, role="reader", name="ci")
    trust = make_trust(cast, Issuer(), environment=place, name="deploy")
    ServiceToken.objects.update(created_at=old)
    Trust.objects.update(created_at=old)
    holder = "deploy" if how == "trust" else "ci"
    made = {"trust_uuid": trust.uuid} if how == "trust" else {"parent_uuid": token.uuid}
    parts = {"environment": place, "role": "reader", "name": "x", "pepper_id": "1", "secret_hash": "x" * 32}
    child = ServiceToken.objects.create(public_id="a" * 16, **parts, **made)
    if how == "grandchild":
        child = ServiceToken.objects.create(public_id="b" * 16, **parts, parent_uuid=child.uuid)
    assert item(started(cast), holder).unused
    used(child.uuid, place, days=3)
    fresh = item(started(cast), holder)
    assert not fresh.unused
    assert fresh.last_used_at is not None
    assert (timezone.now() - fresh.last_used_at).days == 3
    # Its own time counts too, where no value was read.
    ServiceToken.objects.filter(pk=child.pk).update(last_used_at=timezone.now() - timedelta(days=1))
    latest = item(started(cast), holder).last_used_at
    assert latest is not None
    assert (timezone.now() - latest).days == 1
