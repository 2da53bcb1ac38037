"""Access is listed once, decided line by line by others than its holders, and signed off by another person."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from django.contrib.auth.models import Group
from django.utils import timezone

from audit_app.events.streams import environment_stream
from audit_app.models import AuditEvent, UsageEntry
from environments_app.authorization.principals import system_principal, user_principal
from environments_app.authorization.rows import access_rows
from environments_app.environments import deletion, memberships
from environments_app.errors import Conflict, Forbidden, InvalidField, Invisible, LastManager, Tampered
from environments_app.models import (
    Alert,
    Delivery,
    Environment,
    GroupMember,
    Membership,
    Review,
    ReviewItem,
    ServiceToken,
    User,
    UserRole,
)
from environments_app.reviews import decisions
from environments_app.reviews import service as reviews
from environments_app.reviews.population import UNUSED_DAYS, digest_of_given, key_of, lines_for
from environments_app.sessions.service import lock_row
from environments_app.tests.cast import Cast, user_with_password
from environments_app.tests.trusts.issuer import Issuer
from environments_app.tests.trusts.made import make_trust
from environments_app.tokens import rotation
from environments_app.tokens import service as tokens
from environments_app.users import accounts

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]
Events = Callable[..., list[AuditEvent]]
HOST = system_principal(is_admin=True)


@pytest.fixture
def auditor(cast: Cast) -> User:
    return user_with_password("audrey", role=UserRole.AUDITOR)


def manager(name: str, *environments: Environment) -> User:
    user = user_with_password(name)
    for environment in environments:
        Membership.objects.create(environment=environment, user=user, role="manager")
    return user


def started(cast: Cast, *environments: Environment, **options: Any) -> Review:
    places = environments or (cast.development,)
    return reviews.start(actor=cast.principal(cast.root), name="Q4", environments=places, **options)


def item(review: Review, holder: str, **conditions: Any) -> ReviewItem:
    return ReviewItem.objects.select_related("review").get(review=review, subject_name=holder, **conditions)


def seen(one: ReviewItem) -> str:
    line = lines_for([one]).get(key_of(one))
    return line.state if line else ""


def decided(who: User, one: ReviewItem, decision: str, reason: str = "", **options: Any) -> ReviewItem:
    state = options.pop("state", None)
    return decisions.decide(
        actor=options.pop("actor", None) or user_principal(who),
        item=one,
        decision=decision,
        state=seen(one) if state is None else state,
        reason=reason,
        **options,
    )


def decide_all(cast: Cast, review: Review, *, besides: frozenset[str] = frozenset()) -> None:
    for one in ReviewItem.objects.filter(review=review, decision="").select_related("review"):
        if one.subject_name not in besides:
            who = cast.root if one.subject_name == "alice" or one.kind == "group" else cast.alice
            decided(who, one, "keep", "needed")


def test_it_lists_every_way_with_its_path_and_asks_who_may_end_it(cast: Cast, events: Events) -> None:
    group = Group.objects.create(name="ops")
    GroupMember.objects.create(user=cast.charlie, group=group)
    Membership.objects.create(environment=cast.development, group=group, role="reader", prefix="shop")
    tokens.issue(actor=cast.principal(cast.alice), environment=cast.development, role="reader", name="ci")
    review = started(cast)
    found = {
        (one.subject_name, one.kind, one.role, one.prefix): one.reviewer_name for one in review.items.all()
    }
    assert found == {
        # Nobody is asked about themselves: alice's access is for the administrator.
        ("alice", "direct", "manager", ""): "root",
        ("erin", "direct", "editor", ""): "alice",
        ("bob", "direct", "reader", ""): "alice",
        ("vera", "direct", "viewer", ""): "alice",
        # Only administrators can take people out of groups.
        ("charlie", "group", "reader", "shop"): "root",
        # Alice issued it, and has seen it.
        ("ci", "token", "reader", ""): "root",
    }
    (event,) = events("review.start")
    assert review.items_count == 6
    assert f'"population":"{review.population}"' in event.details
    assert Delivery.objects.filter(kind=reviews.KIND, addressee=cast.alice.uuid).count() == 1


def test_what_changes_later_changes_nothing_in_the_list(cast: Cast) -> None:
    review = started(cast)
    before = [one.frozen for one in review.items.order_by("pk")]
    Membership.objects.create(environment=cast.development, user=cast.charlie, role="manager")
    memberships.revoke_membership(
        actor=cast.principal(cast.alice), membership=Membership.objects.get(user=cast.bob)
    )
    assert [one.frozen for one in review.items.order_by("pk")] == before
    reviews.require_population(review)


def test_to_end_access_revokes_it_at_once_and_records_both(cast: Cast, events: Events) -> None:
    review = started(cast)
    ended = decided(cast.alice, item(review, "bob"), "end")
    assert not cast.principal(cast.bob).grants
    assert (ended.decision, ended.decided_by_name) == ("end", "alice")
    (revoked,) = events("member.revoke")
    (event,) = events("review.decide")
    assert revoked.actor_uuid == event.actor_uuid == cast.alice.uuid
    assert str(ended.row_uuid) in event.details
    assert list(access_rows()) == []


def test_every_kind_of_access_is_ended_by_its_own_act(cast: Cast, events: Events, auditor: User) -> None:
    group = Group.objects.create(name="ops")
    GroupMember.objects.create(user=cast.charlie, group=group)
    Membership.objects.create(environment=cast.development, group=group, role="reader")
    token, _ = tokens.issue(actor=HOST, environment=cast.development, role="reader", name="ci")
    review = started(cast, installation=True)
    for holder, who in (("charlie", cast.root), ("ci", cast.alice), ("audrey", cast.root)):
        decided(who, item(review, holder), "end")
    assert not group.group_members.exists()
    token.refresh_from_db()
    assert token.revoked_at
    assert User.objects.get(username="audrey").role == UserRole.USER
    assert len(events("group.change")) == len(events("token.revoke")) == 1


def test_nobody_decides_about_their_own_access(cast: Cast, events: Events) -> None:
    review = started(cast)
    for decision in ("keep", "end"):
        with pytest.raises(Forbidden, match="your own"):
            decided(cast.alice, item(review, "alice"), decision, "mine")
    assert {event.outcome for event in events("review.decide")} == {"denied"}


def test_a_second_hat_is_the_same_person(cast: Cast) -> None:
    """The holder's account was made by the reviewer, or both by a third one."""
    root = cast.principal(cast.root)
    hats = [
        accounts.create_user(actor=root, username=name, password="correct-horse-battery-1")
        for name in ("hat-one", "hat-two")
    ]
    for hat in hats:
        accounts.set_password(actor=user_principal(hat), user=hat, password="own-horse-battery-staple-2")
        Membership.objects.create(environment=cast.development, user=hat, role="manager")
    review = started(cast)
    assert item(review, "hat-two").reviewer_name == "alice"
    for who in (cast.root, User.objects.get(username="hat-one")):
        with pytest.raises(Forbidden, match="could act as"):
            decided(who, item(review, "hat-two"), "keep", "mine")


def test_a_suspended_account_neither_decides_nor_signs_off(cast: Cast, auditor: User) -> None:
    review = started(cast)
    # Another environment's managers say nothing about this one.
    for trusted_in in ((), (cast.production.pk,)):
        suspended = replace(cast.principal(cast.alice), suspended=True, trusted_in=frozenset(trusted_in))
        with pytest.raises(Forbidden, match="signed in"):
            decided(cast.alice, item(review, "bob"), "keep", actor=suspended)
    refusal = reviews.why_not_signer(replace(cast.principal(auditor), suspended=True), review)
    assert "suspended" in refusal


@pytest.mark.parametrize(
    "given",
    [
        {"days": 0},
        {"days": reviews.MAX_DUE_DAYS + 1},
        {"kinds": ["none"]},
        {"environments": []},
        {"name": " "},
    ],
)
def test_what_cannot_be_reviewed_is_not_started(cast: Cast, given: dict[str, Any]) -> None:
    options = {"name": "Q4", "environments": [cast.development], **given}
    with pytest.raises(InvalidField):
        reviews.start(actor=cast.principal(cast.root), **options)
    assert not Review.objects.exists()


def test_reviews_that_are_open_are_limited(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reviews, "_MOST_OPEN", 1)
    started(cast)
    with pytest.raises(Conflict, match="Sign one off"):
        started(cast)


def test_who_issued_a_token_does_not_review_it(cast: Cast) -> None:
    tokens.issue(actor=cast.principal(cast.alice), environment=cast.development, role="reader", name="ci")
    review = started(cast)
    with pytest.raises(Forbidden, match="could act as"):
        decided(cast.alice, item(review, "ci"), "keep", "mine")


def test_who_granted_it_decides_only_if_nobody_else_may(cast: Cast) -> None:
    memberships.grant(
        actor=cast.principal(cast.alice),
        environment=cast.development,
        user=cast.charlie,
        role="reader",
    )
    review = started(cast)
    charlie = item(review, "charlie")
    assert charlie.reviewer_name == "root"
    with pytest.raises(Forbidden, match="You granted"):
        decided(cast.alice, charlie, "keep", "mine")
    cast.root.is_active = False
    cast.root.save()
    assert decided(cast.alice, charlie, "keep", "nobody else may").decision == "keep"


def test_a_token_and_a_personal_token_decide_nothing(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    review = started(cast)
    scoped = user_principal(cast.alice).within(
        mock.Mock(narrowed=lambda grant: grant, environment_id=None, prefix=""), via="kpr"
    )
    for actor in (HOST, scoped):
        with pytest.raises(Forbidden):
            decided(cast.alice, item(review, "bob"), "end", "x", actor=actor)


def test_a_reason_is_needed_where_it_is_unused_and_where_the_reviewer_differs(cast: Cast) -> None:
    old = timezone.now() - timedelta(days=UNUSED_DAYS + 1)
    Membership.objects.update(created_at=old)
    UsageEntry.objects.create(
        object_uuid=cast.bob.uuid, actor_uuid=cast.bob.uuid, number=1, means="read", actor_kind="user",
        stream=environment_stream(cast.development.uuid), actor_name="bob", first_at=old,
        last_at=timezone.now(), count=1, last_event_id=1,
    )  # fmt: skip
    review = started(cast)
    assert item(review, "erin").unused
    assert not item(review, "bob").unused
    with pytest.raises(InvalidField, match="not used for a long time"):
        decided(cast.alice, item(review, "erin"), "keep", "  ")
    decided(cast.alice, item(review, "bob"), "keep")
    with pytest.raises(InvalidField, match="alice is asked"):
        decided(cast.root, item(review, "vera"), "end")
    assert decided(cast.root, item(review, "vera"), "end", "she left").reason == "she left"
    # To end what nobody used asks for none.
    assert decided(cast.alice, item(review, "erin"), "end").decision == "end"


def test_a_decision_is_about_the_access_that_was_seen(cast: Cast) -> None:
    """The second guard: the role is widened between the page and the decision."""
    review = started(cast)
    bob, before = item(review, "bob"), seen(item(review, "bob"))
    memberships.change_membership(
        actor=cast.principal(cast.root).proven(), membership=Membership.objects.get(user=cast.bob),
        role="manager",
    )  # fmt: skip
    for decision in ("keep", "end"):
        with pytest.raises(Conflict, match="has changed since the page was shown"):
            decided(cast.alice, bob, decision, state=before)
    assert decided(cast.alice, bob, "end").decision == "end"


@pytest.mark.parametrize("meanwhile", ["right", "own", "closed", "decided", "deleted"])
def test_what_happens_before_the_lock_counts(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, meanwhile: str, auditor: User
) -> None:
    """The second guard: everything is asked again under the lock of the review."""
    review = started(cast)
    bob, state = item(review, "bob"), seen(item(review, "bob"))
    alice = cast.principal(cast.alice)
    manager("mia", cast.development)

    def late(*given: Any) -> Any:
        monkeypatch.setattr(decisions, "lock_row", lock_row)
        if meanwhile == "right":
            memberships.revoke_membership(
                actor=cast.principal(cast.root),
                membership=Membership.objects.get(user=cast.alice, environment=cast.development),
            )
        elif meanwhile == "own":
            accounts.set_password(
                actor=alice_as_admin(cast), user=cast.bob, password="correct-horse-battery-9"
            )
        elif meanwhile == "closed":
            reviews.cancel(actor=cast.principal(cast.root), review=review, comment="over")
        elif meanwhile == "decided":
            decided(cast.root, bob, "keep", "mine")
        else:
            deletion.delete_environment(actor=cast.principal(cast.root), environment=cast.development)
        return lock_row(*given)

    monkeypatch.setattr(decisions, "lock_row", late)
    with pytest.raises(Invisible if meanwhile in {"right", "deleted"} else Conflict):
        decisions.decide(actor=alice, item=bob, decision="end", state=state)
    assert Membership.objects.filter(user=cast.bob).exists()


def alice_as_admin(cast: Cast) -> Any:
    """Return alice with the rights of an administrator: who sets a password can sign in by it."""
    accounts.update_user(actor=HOST, user=cast.alice, role=UserRole.ADMIN)
    return cast.principal(cast.alice).proven()


def test_what_cannot_be_ended_stays_undecided(cast: Cast) -> None:
    review = started(cast)
    with pytest.raises(LastManager):
        decided(cast.root, item(review, "alice"), "end")
    assert item(review, "alice").decision == ""
    assert cast.principal(cast.alice).grants


def test_a_rotated_token_does_not_outlive_its_end(cast: Cast, auditor: User) -> None:
    token, _ = tokens.issue(actor=HOST, environment=cast.development, role="reader", name="ci")
    review = started(cast)
    ci, state = item(review, "ci"), seen(item(review, "ci"))
    new, _ = rotation.rotate(actor=cast.principal(cast.root).proven(), token=token)
    newest, _ = rotation.rotate(actor=cast.principal(cast.root).proven(), token=new)
    decided(cast.alice, ci, "end", state=seen(ci))
    assert not ServiceToken.objects.filter(pk__in=[token.pk, new.pk, newest.pk], revoked_at=None).exists()
    assert state != seen(ci) == ""


def test_a_rotated_token_that_is_listed_itself_is_decided_by_itself(cast: Cast) -> None:
    root = cast.principal(cast.root).proven()
    token, _ = tokens.issue(actor=HOST, environment=cast.development, role="reader", name="ci")
    new, _ = rotation.rotate(actor=root, token=token)
    review = started(cast)
    old = ReviewItem.objects.select_related("review").get(review=review, row_uuid=token.uuid)
    decided(cast.alice, old, "end", "replaced")
    live = ServiceToken.objects.filter(pk__in=[token.pk, new.pk], revoked_at=None)
    assert [each.pk for each in live] == [new.pk]


def test_what_an_ended_holder_is_given_elsewhere_is_not_that_access_again(cast: Cast, auditor: User) -> None:
    places = (cast.development, cast.production)
    for place in places:
        Membership.objects.create(environment=place, user=cast.charlie, role="reader")
    review = started(cast, *places)
    decide_all(cast, review, besides=frozenset({"charlie"}))
    decided(cast.root, item(review, "charlie", environment_name="development"), "end", "gone")
    decided(cast.root, item(review, "charlie", environment_name="production"), "keep", "needed")
    group = Group.objects.create(name="ops")
    GroupMember.objects.create(user=cast.charlie, group=group)
    Membership.objects.create(environment=cast.production, group=group, role="editor")
    given = digest_of_given(reviews.visible_given(cast.principal(auditor), review))
    assert reviews.sign(actor=cast.principal(auditor), review=review, given=given).state == "signed"


def test_an_ended_holder_who_was_given_as_much_before_has_it_still(cast: Cast, auditor: User) -> None:
    Membership.objects.create(environment=cast.development, user=cast.charlie, role="reader", prefix="app")
    review = started(cast)
    memberships.grant(
        actor=cast.principal(cast.root).proven(), environment=cast.development, user=cast.charlie,
        role="reader",
    )  # fmt: skip
    decide_all(cast, review, besides=frozenset({"charlie"}))
    decided(cast.root, item(review, "charlie"), "end", "gone")
    given = digest_of_given(reviews.visible_given(cast.principal(auditor), review))
    with pytest.raises(Conflict, match="End that where it was given"):
        reviews.sign(actor=cast.principal(auditor), review=review, given=given)


def test_it_is_signed_off_by_somebody_who_decided_nothing(cast: Cast, auditor: User, events: Events) -> None:
    review = started(cast)
    with pytest.raises(Conflict, match="not decided"):
        reviews.sign(actor=cast.principal(auditor), review=review)
    decide_all(cast, review)
    for who in (cast.root, cast.alice):
        with pytest.raises((Forbidden, Invisible)):
            reviews.sign(actor=cast.principal(who), review=review)
    signed = reviews.sign(actor=cast.principal(auditor), review=review, comment="fine")
    assert (signed.state, signed.closed_by_name) == ("signed", "audrey")
    assert len(events("review.sign", outcome="allowed")) == 1
    for again in (
        lambda: decided(cast.alice, item(review, "bob"), "end", "late"),
        lambda: reviews.sign(actor=cast.principal(auditor), review=review),
        lambda: reviews.cancel(actor=cast.principal(cast.root), review=review, comment="late"),
    ):
        with pytest.raises(Conflict):
            again()
    assert list(access_rows()) == []


def test_a_manager_who_decided_nothing_does_not_sign_off(cast: Cast, events: Events) -> None:
    mia = manager("mia", cast.development)
    review = started(cast)
    decide_all(cast, review)
    with pytest.raises(Forbidden):
        reviews.sign(actor=cast.principal(mia), review=review)
    assert [event.outcome for event in events("review.sign")] == ["denied"]


def test_a_second_hat_does_not_sign_off(cast: Cast) -> None:
    """An administrator who decided makes an auditor, and signs by that account."""
    review = started(cast)
    decide_all(cast, review)
    hat = accounts.create_user(
        actor=cast.principal(cast.root), username="hat", password="correct-horse-battery-1", role="auditor"
    )
    accounts.set_password(actor=user_principal(hat), user=hat, password="own-horse-battery-staple-2")
    with pytest.raises(Forbidden, match="could act as"):
        reviews.sign(actor=cast.principal(hat), review=review)


def test_who_decides_meanwhile_does_not_sign_off(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second guard: the last entry is decided by the signer between the question and the lock."""
    second = user_with_password("second", role=UserRole.ADMIN)
    review = started(cast)
    decide_all(cast, review, besides=frozenset({"bob"}))
    bob = item(review, "bob")

    def late(*given: Any) -> Any:
        monkeypatch.setattr(reviews, "lock_row", lock_row)
        decided(second, bob, "keep", "mine")
        return lock_row(*given)

    monkeypatch.setattr(reviews, "lock_row", late)
    with pytest.raises(Conflict, match="meanwhile"):
        reviews.sign(actor=cast.principal(second), review=review)


@pytest.mark.parametrize("how", ["granted again", "rotated", "widened"])
def test_access_that_is_back_or_wider_has_to_be_decided_again(cast: Cast, auditor: User, how: str) -> None:
    token, _ = tokens.issue(actor=HOST, environment=cast.development, role="reader", name="ci")
    review = started(cast)
    decide_all(cast, review, besides=frozenset({"bob", "ci"}))
    decided(cast.alice, item(review, "ci"), "end")
    decided(cast.alice, item(review, "bob"), "keep" if how == "widened" else "end")
    root = cast.principal(cast.root).proven()
    if how == "granted again":
        memberships.grant(actor=root, environment=cast.development, user=cast.bob, role="editor")
    elif how == "rotated":
        ServiceToken.objects.create(
            environment=cast.development, role="reader", name="ci", replaces=token, public_id="x" * 16,
            pepper_id="1", secret_hash="x" * 32,
        )  # fmt: skip
    else:
        bob = Membership.objects.get(user=cast.bob)
        memberships.change_membership(actor=root, membership=bob, role="editor")
    told = "End that where it was given" if how == "granted again" else "Decide about it again"
    with pytest.raises(Conflict, match=told):
        reviews.sign(actor=cast.principal(auditor), review=review)
    again = item(review, "ci" if how == "rotated" else "bob")
    if how == "granted again":
        # That is another row, which its own act ends: another decision would not.
        with pytest.raises(Conflict, match=told):
            decided(cast.alice, again, "end", "not wanted")
        memberships.revoke_membership(actor=root, membership=Membership.objects.get(user=cast.bob))
    else:
        with pytest.raises(InvalidField, match="again"):
            decided(cast.alice, again, "end")
        decided(cast.alice, again, "end", "not wanted")
    assert reviews.sign(actor=cast.principal(auditor), review=review).state == "signed"


@pytest.mark.parametrize("edit", ["role", "reviewer_name", "removed", "added", "decision", "reason", "kept"])
def test_a_list_that_was_changed_by_sql_is_not_signed_off(
    cast: Cast, auditor: User, sql: Callable[..., None], edit: str
) -> None:
    review = started(cast)
    decide_all(cast, review)
    table, bob = ReviewItem._meta.db_table, item(review, "bob")
    if edit == "removed":
        sql(f"DELETE FROM {table} WHERE id = %s", bob.pk)
    elif edit == "added":
        bob.pk = None
        bob.uuid = cast.bob.uuid
        bob.save()
    else:
        value = {"decision": "end", "kept": "{}"}.get(edit, "x")
        sql(f"UPDATE {table} SET {edit} = %s WHERE id = %s", value, bob.pk)
    with pytest.raises(Tampered):
        reviews.sign(actor=cast.principal(auditor), review=review)
    if edit not in {"removed", "added"}:
        assert [problem.object for problem in access_rows()] == [f"review-item {bob.pk} ({bob.uuid})"]


def test_a_managers_page_has_the_entries_of_their_environments_alone(cast: Cast) -> None:
    mia = manager("mia", cast.production)
    review = started(cast, cast.development, cast.production)
    names = {one.environment_name for one in reviews.visible_items(cast.principal(mia), review)}
    assert names == {"production"}
    with pytest.raises(Invisible):
        reviews.find_item(actor=cast.principal(mia), id=review.pk, item=item(review, "bob").pk)
    assert not reviews.visible_reviews(cast.principal(cast.erin)).exists()
    with pytest.raises(Forbidden):
        reviews.start(actor=cast.principal(cast.alice), name="mine", environments=[cast.development])


def test_reviewers_are_reminded_and_administrators_told_of_what_is_overdue(cast: Cast) -> None:
    root = cast.root
    root.email = "root@example.com"
    root.save()
    review = started(cast, days=10)

    def told() -> int:
        return Delivery.objects.filter(kind=reviews.KIND, addressee=cast.alice.uuid).count()

    def at(days: float) -> None:
        with mock.patch.object(timezone, "now", return_value=review.population_at + timedelta(days=days)):
            reviews.remind()

    assert told() == 1
    for days, count in ((4, 1), (5.1, 2), (5.2, 2), (8.1, 3), (10.1, 4), (11, 4)):
        at(days)
        assert told() == count, days
    alert = Alert.objects.get(kind=reviews.KIND)
    assert alert.lines == ["4 of 4 entries are not decided."]
    decide_all(cast, review)
    assert not Alert.objects.filter(kind=reviews.KIND, open=True).exists()


def test_a_restored_environment_has_not_lost_its_entries(cast: Cast) -> None:
    review = started(cast)
    deletion.delete_environment(actor=cast.principal(cast.root).proven(), environment=cast.development)
    with pytest.raises(Conflict, match="deleted"):
        decided(cast.root, item(review, "bob"), "end", "x", state="")


def test_what_is_kept_is_the_right_of_the_decision_and_not_of_the_list(cast: Cast, events: Events) -> None:
    review = started(cast)
    memberships.change_membership(
        actor=cast.principal(cast.root).proven(), membership=Membership.objects.get(user=cast.bob),
        role="editor", prefix="shop",
    )  # fmt: skip
    with pytest.raises(InvalidField, match="another one than was listed"):
        decided(cast.alice, item(review, "bob"), "keep")
    bob = decided(cast.alice, item(review, "bob"), "keep", "he writes now")
    assert bob.role == "reader"
    assert bob.kept == {"role": "editor", "prefix": "shop", "expires_at": None, "as_listed": False}
    assert bob.kept_otherwise == "editor under shop/, until it is ended"
    assert '"kept":{"as_listed":false,"expires_at":null,"prefix":"shop","role":"editor"}' in (
        events("review.decide")[-1].details
    )
    vera = decided(cast.alice, item(review, "vera"), "keep")
    listed = {"role": "viewer", "prefix": "", "expires_at": None, "as_listed": True}
    assert (vera.kept, vera.kept_otherwise) == (listed, "")
    assert decided(cast.alice, item(review, "erin"), "end").kept is None
    assert list(access_rows()) == []


@pytest.mark.parametrize("how", ["less", "on a path", "by a group", "token", "trust"])
def test_nothing_that_was_ended_is_given_again_before_the_sign_off(
    cast: Cast, auditor: User, how: str
) -> None:
    """Whatever an ended holder is given there afterwards, and a token or trust made again by its name."""
    root, place = cast.principal(cast.root).proven(), cast.development
    Membership.objects.create(environment=place, user=cast.charlie, role="editor")
    tokens.issue(actor=HOST, environment=place, role="reader", name="ci")
    trust = make_trust(cast, Issuer(), environment=place, name="deploy")
    review = started(cast, place, cast.production)
    decide_all(cast, review, besides=frozenset({"charlie", "ci", "deploy"}))
    for holder in ("charlie", "ci", "deploy"):
        decided(cast.root, item(review, holder, environment_name="development"), "end", "gone")
    # In another environment it is something else.
    memberships.grant(actor=root, environment=cast.production, user=cast.charlie, role="manager")
    tokens.issue(actor=HOST, environment=cast.production, role="reader", name="ci")
    if how in {"less", "on a path"}:
        role, prefix = ("viewer", "") if how == "less" else ("manager", "app")
        memberships.grant(actor=root, environment=place, user=cast.charlie, role=role, prefix=prefix)
    elif how == "by a group":
        group = Group.objects.create(name="ops")
        GroupMember.objects.create(user=cast.charlie, group=group)
        Membership.objects.create(environment=place, group=group, role="viewer")
    elif how == "token":
        tokens.issue(actor=HOST, environment=place, role="viewer", name="ci")
    else:
        make_trust(cast, Issuer(), environment=place, name=trust.name)
    with pytest.raises(Conflict, match="End that where it was given"):
        reviews.sign(actor=cast.principal(auditor), review=review)


@pytest.mark.parametrize(
    ("held", "later"), [(("editor", ""), ("editor", "app")), (("editor", "app"), ("reader", ""))]
)
def test_an_ended_holder_may_have_less_that_was_given_before(
    cast: Cast, auditor: User, held: tuple[str, str], later: tuple[str, str]
) -> None:
    role, prefix = held
    Membership.objects.create(environment=cast.development, user=cast.charlie, role=role, prefix=prefix)
    review = started(cast)
    role, prefix = later
    memberships.grant(
        actor=cast.principal(cast.root).proven(), environment=cast.development, user=cast.charlie,
        role=role, prefix=prefix,
    )  # fmt: skip
    decide_all(cast, review, besides=frozenset({"charlie"}))
    decided(cast.root, item(review, "charlie"), "end", "less is enough")
    given = digest_of_given(reviews.visible_given(cast.principal(auditor), review))
    assert reviews.sign(actor=cast.principal(auditor), review=review, given=given).state == "signed"
