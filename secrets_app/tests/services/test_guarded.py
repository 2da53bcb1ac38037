"""A guarded value is shown once, to one person, of one version, after a second person has agreed."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from audit_app.models import AuditEvent
from environments_app.approvals import service as approvals
from environments_app.authorization.policy import Principal
from environments_app.authorization.principals import token_principal
from environments_app.environments import service as environments
from environments_app.environments.memberships import revoke_membership
from environments_app.errors import ApprovalNeeded, ApprovalVoid, Conflict, Forbidden, Invisible
from environments_app.interfaces import has_guarded
from environments_app.models import Approval, ApprovalState, Membership, PersonalToken, Role, User
from environments_app.tests.cast import Cast
from environments_app.tokens.personal import issue_personal
from environments_app.tokens.service import issue
from environments_app.users import accounts
from secrets_app.errors import GuardedValue, InvalidInput, VersionGone
from secrets_app.importing.formats.registry import Entry
from secrets_app.importing.plan import Verdict, plan_import
from secrets_app.keys import data_keys
from secrets_app.models import Secret
from secrets_app.rows import environment_snapshot
from secrets_app.services import guarded, lifecycle, versions, write
from secrets_app.services.read import export_snapshot, reveal_environment
from secrets_app.services.usage import usage_report
from secrets_app.tests.at_once import at_once
from secrets_app.tests.kept import VALUE, change, keep, send

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]
WHY: Final = "The vendor asks for it on the phone"
SignedIn = Callable[[User], Client]


@pytest.fixture
def secret(cast: Cast) -> Secret:
    """Return a secret of development that alice guarded; charlie is a manager there as well."""
    Membership.objects.create(environment=cast.development, user=cast.charlie, role=Role.MANAGER)
    kept = keep(cast, "app/db")
    guarded.guard(actor=cast.principal(cast.alice), secret=kept)
    return stored(kept)


def stored(secret: Secret) -> Secret:
    return Secret.objects.select_related("environment").get(pk=secret.pk)


def ask(actor: Principal, secret: Secret, **options: Any) -> Approval:
    with pytest.raises(ApprovalNeeded) as raised:
        guarded.request_read(actor=actor, secret=stored(secret), reason=WHY, **options)
    return row(raised.value.approval)


def row(pk: int) -> Approval:
    return Approval.objects.select_related("environment").get(pk=pk)


def released(cast: Cast, secret: Secret, **options: Any) -> Approval:
    """Return bob's request to read, which charlie approved."""
    asked = ask(cast.principal(cast.bob), secret, **options)
    return approvals.approve(actor=cast.principal(cast.charlie), approval=asked)


def show(cast: Cast, approval: Approval, user: User | None = None) -> str:
    actor = cast.principal(user or cast.bob)
    return approvals.carry_out(actor=actor, approval=row(approval.pk)).plaintext


def reveals(secret: Secret, outcome: str = "allowed") -> list[str]:
    rows = AuditEvent.objects.filter(action="secret.reveal", object_uuid=secret.uuid, outcome=outcome)
    return [event.details for event in rows.order_by("id")]


def test_it_is_shown_once_with_both_people_on_record(cast: Cast, secret: Secret) -> None:
    asked = ask(cast.principal(cast.bob), secret)
    assert (asked.action, asked.reason, asked.state) == ("secret.reveal", WHY, ApprovalState.PENDING)
    assert VALUE not in str(Approval.objects.values())
    with pytest.raises(ApprovalVoid):
        show(cast, asked)
    approved = approvals.approve(actor=cast.principal(cast.charlie), approval=asked)
    assert approved.expires_at <= timezone.now() + timedelta(hours=1)
    assert show(cast, approved) == VALUE
    (details,) = reveals(secret)
    assert '"approved_by":"charlie"' in details
    assert str(approved.uuid) in details
    for _ in range(2):
        with pytest.raises(ApprovalVoid):
            show(cast, approved)
    assert len(reveals(secret)) == 1
    assert ask(cast.principal(cast.bob), secret).pk != approved.pk


def test_of_many_at_once_a_single_one_is_shown(
    cast: Cast, secret: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    approved = released(cast, secret)
    again: list[object] = []
    prefetch = data_keys.prefetch

    def meanwhile(keys: Any) -> None:
        prefetch(keys)
        if not again:
            again.append(None)
            again.append(show(cast, approved))

    monkeypatch.setattr(data_keys, "prefetch", meanwhile)
    with pytest.raises(ApprovalVoid):
        show(cast, approved)
    assert again == [None, VALUE]
    assert len(reveals(secret)) == 1


def test_nobody_agrees_to_their_own_read(cast: Cast, secret: Secret) -> None:
    asked = ask(cast.principal(cast.alice), secret)
    for user in (cast.alice, cast.erin, cast.root):
        with pytest.raises((Forbidden, Invisible)):
            approvals.approve(actor=cast.principal(user), approval=row(asked.pk))
    assert row(asked.pk).state == ApprovalState.PENDING


def test_an_account_that_the_requester_made_is_no_second_person(cast: Cast, secret: Secret) -> None:
    root = cast.principal(cast.root)
    made = accounts.create_user(actor=root, username="second", email="")
    Membership.objects.create(environment=cast.development, user=made, role=Role.MANAGER)
    Membership.objects.create(environment=cast.development, user=cast.root, role=Role.READER)
    asked = ask(cast.principal(cast.root), secret)
    with pytest.raises(Forbidden):
        approvals.approve(actor=cast.principal(made), approval=asked)


def test_another_person_does_not_use_a_release(cast: Cast, secret: Secret) -> None:
    approved = released(cast, secret)
    for user in (cast.alice, cast.charlie, cast.erin):
        with pytest.raises(Forbidden):
            show(cast, approved, user)
    assert reveals(secret) == []


def test_a_value_written_after_the_agreement_is_not_shown(cast: Cast, secret: Secret) -> None:
    approved = released(cast, secret)
    change(cast, secret, "another")
    with pytest.raises(ApprovalVoid, match="v1 was approved, and v2 is current by now"):
        show(cast, approved)
    # An older one is asked for by its number, and stays the same when a newer one comes.
    older = released(cast, secret, number=1)
    change(cast, secret, "a third")
    assert show(cast, older) == VALUE
    assert len(reveals(secret)) == 1


def _withdraw(cast: Cast, approval: Approval, _secret: Secret) -> None:
    approvals.withdraw(actor=cast.principal(cast.bob), approval=row(approval.pk))


def _lose_right(cast: Cast, _approval: Approval, secret: Secret) -> None:
    place = Membership.objects.get(environment=secret.environment, user=cast.bob)
    revoke_membership(actor=cast.principal(cast.alice), membership=place)


def _lose_approver(cast: Cast, _approval: Approval, secret: Secret) -> None:
    place = Membership.objects.get(environment=secret.environment, user=cast.charlie)
    revoke_membership(actor=cast.principal(cast.alice), membership=place)


def _expire(_cast: Cast, approval: Approval, _secret: Secret) -> None:
    late = row(approval.pk)
    late.expires_at = timezone.now() - timedelta(seconds=1)
    late.save(update_fields=["expires_at"])


MEANWHILE: Final[dict[str, tuple[Callable[[Cast, Approval, Secret], object], type[Exception]]]] = {
    "withdrawn": (_withdraw, ApprovalVoid),
    "expired": (_expire, ApprovalVoid),
    "the right lost": (_lose_right, Invisible),
    "the approver gone": (_lose_approver, ApprovalVoid),
    "another value": (lambda cast, _, secret: change(cast, secret, "another"), ApprovalVoid),
    "deleted": (
        lambda cast, _, secret: lifecycle.delete(actor=cast.principal(cast.alice), secret=stored(secret)),
        ApprovalVoid,
    ),
    "the version deleted": (
        lambda cast, _, secret: versions.delete_versions(
            actor=cast.principal(cast.alice), secret=stored(secret), numbers=[1]
        ),
        ApprovalVoid,
    ),
}


@pytest.mark.parametrize("what", MEANWHILE)
def test_what_happens_just_before_it_is_shown_counts(
    cast: Cast, secret: Secret, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    act, refusal = MEANWHILE[what]
    approved = released(cast, secret)
    prefetch, done = data_keys.prefetch, list[str]()

    def meanwhile(keys: Any) -> None:
        prefetch(keys)
        if not done:
            done.append(what)
            act(cast, approved, secret)

    monkeypatch.setattr(data_keys, "prefetch", meanwhile)
    with pytest.raises(refusal):
        show(cast, approved)
    assert done
    assert reveals(secret) == []
    assert row(approved.pk).state != ApprovalState.EXECUTED


def test_an_older_version_that_is_deleted_just_before_is_not_shown(
    cast: Cast, secret: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(cast, secret, "another")
    approved = released(cast, secret, number=1)
    prefetch = data_keys.prefetch

    def meanwhile(keys: Any) -> None:
        prefetch(keys)
        alice = cast.principal(cast.alice)
        versions.delete_versions(actor=alice, secret=stored(secret), numbers=[1])

    monkeypatch.setattr(data_keys, "prefetch", meanwhile)
    with pytest.raises(ApprovalVoid, match="v1 was deleted since"):
        show(cast, approved)
    assert reveals(secret) == []


@pytest.mark.parametrize("what", MEANWHILE)
def test_what_happens_after_the_agreement_counts(cast: Cast, secret: Secret, what: str) -> None:
    approved = released(cast, secret)
    MEANWHILE[what][0](cast, approved, secret)
    with pytest.raises((ApprovalVoid, Forbidden, Invisible, VersionGone)):
        show(cast, approved)
    assert reveals(secret) == []


def test_a_personal_token_that_ends_meanwhile_shows_nothing(
    cast: Cast, secret: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, text = issue_personal(actor=cast.principal(cast.bob), name="own")
    client = Client(headers={"authorization": f"Bearer {text}"})
    approved = released(cast, secret)
    prefetch = data_keys.prefetch

    def meanwhile(keys: Any) -> None:
        prefetch(keys)
        for token in PersonalToken.objects.all():
            token.revoked_at = timezone.now()
            token.save()

    monkeypatch.setattr(data_keys, "prefetch", meanwhile)
    answer = send(client, "POST", f"/api/approvals/{approved.pk}/carry-out")
    assert answer.status_code == 403
    assert reveals(secret) == []
    assert row(approved.pk).state == ApprovalState.APPROVED


def test_a_guard_ends_only_with_a_second_person(cast: Cast, secret: Secret) -> None:
    assert not secret.environment.protected
    alice = cast.principal(cast.alice)
    with pytest.raises(ApprovalNeeded) as raised:
        guarded.unguard(actor=alice, secret=stored(secret))
    assert stored(secret).guarded
    with pytest.raises(Forbidden):
        approvals.approve(actor=alice, approval=row(raised.value.approval))
    for user in (cast.erin, cast.bob):
        with pytest.raises(Forbidden):
            guarded.unguard(actor=cast.principal(user), secret=stored(secret))
    approved = approvals.approve(actor=cast.principal(cast.charlie), approval=row(raised.value.approval))
    approvals.carry_out(actor=alice, approval=approved)
    assert not stored(secret).guarded
    assert stored(secret).is_authentic()


def test_what_is_not_guarded_is_neither_requested_nor_unguarded(cast: Cast) -> None:
    kept, alice = keep(cast, "app/plain"), cast.principal(cast.alice)
    with pytest.raises(Conflict, match="is not guarded"):
        guarded.request_read(actor=alice, secret=stored(kept), reason=WHY)
    with pytest.raises(Conflict, match="is not guarded"):
        guarded.unguard(actor=alice, secret=stored(kept))
    assert not Approval.objects.exists()


def test_a_guard_is_set_once(cast: Cast, secret: Secret, events: Callable[..., list[AuditEvent]]) -> None:
    guarded.guard(actor=cast.principal(cast.alice), secret=stored(secret))
    assert len(events("secret.guard")) == 1


def test_a_release_does_not_outlive_its_guard(cast: Cast, secret: Secret) -> None:
    approved = released(cast, secret)
    alice = cast.principal(cast.alice)
    with pytest.raises(ApprovalNeeded) as raised:
        guarded.unguard(actor=alice, secret=stored(secret))
    other = approvals.approve(actor=cast.principal(cast.charlie), approval=row(raised.value.approval))
    approvals.carry_out(actor=alice, approval=other)
    with pytest.raises(ApprovalVoid):
        show(cast, approved)


def test_in_a_protected_environment_two_people_guard(cast: Cast, secret: Secret) -> None:
    kept = keep(cast, "app/other")
    alice = cast.principal(cast.alice)
    environments.update_environment(actor=alice, environment=cast.development, protected=True)
    with pytest.raises(ApprovalNeeded):
        guarded.guard(actor=alice, secret=stored(kept))
    assert not stored(kept).guarded


def test_no_program_asks_and_a_reason_is_needed(cast: Cast, secret: Secret) -> None:
    token, _ = issue(actor=cast.principal(cast.alice), environment=cast.development, role="reader", name="ci")
    with pytest.raises(GuardedValue):
        guarded.request_read(actor=token_principal(token), secret=stored(secret), reason=WHY)
    for reason in ("", "   short  ", "x" * 501):
        with pytest.raises(InvalidInput):
            guarded.request_read(actor=cast.principal(cast.bob), secret=stored(secret), reason=reason)
    with pytest.raises(Forbidden):
        guarded.request_read(actor=cast.principal(cast.vera), secret=stored(secret), reason=WHY)
    assert not Approval.objects.exists()


def test_a_flag_taken_away_in_the_database_opens_nothing(
    cast: Cast, secret: Secret, sql: Callable[..., None], signed_in: SignedIn
) -> None:
    sql("UPDATE secrets_app_secret SET guarded = NULL WHERE id = %s", secret.pk)
    answer = signed_in(cast.alice).post(f"/secrets/{secret.pk}/reveal")
    assert answer.status_code == 409
    assert VALUE.encode() not in answer.content


def test_the_pages_lead_from_the_reason_to_the_value(cast: Cast, secret: Secret, signed_in: SignedIn) -> None:
    bob, charlie = signed_in(cast.bob), signed_in(cast.charlie)
    page = bob.get(f"/secrets/{secret.pk}").content.decode()
    assert "This value needs a second person" in page
    assert f'action="/secrets/{secret.pk}/reveal"' not in page
    asked = bob.post(f"/secrets/{secret.pk}/request-read", {"reason": WHY})
    assert asked.status_code == 302
    where = asked["Location"]
    assert WHY in charlie.get(where).content.decode()
    charlie.post(f"{where}/approve", {"comment": ""})
    assert "Open the request" in bob.get(f"/secrets/{secret.pk}").content.decode()
    assert "Show once" in bob.get(where).content.decode()
    shown = bob.post(f"{where}/carry-out")
    assert VALUE in shown.content.decode()
    assert "no-store" in shown["Cache-Control"]
    again = bob.post(f"{where}/carry-out", follow=True).content.decode()
    assert VALUE not in again


def test_the_api_answers_with_the_request_and_then_the_value(
    cast: Cast, secret: Secret, signed_in: SignedIn
) -> None:
    bob = signed_in(cast.bob)
    refused = bob.get(f"/api/secrets/{secret.pk}")
    assert (refused.status_code, refused.json()["title"]) == (403, "A second person is needed")
    asked = send(bob, "POST", f"/api/secrets/{secret.pk}/request-read", {"reason": WHY, "version": 1})
    assert asked.status_code == 202
    approval = row(asked.json()["approval"])
    early = send(bob, "POST", f"/api/approvals/{approval.pk}/carry-out")
    assert early.status_code == 409
    approvals.approve(actor=cast.principal(cast.charlie), approval=approval)
    again = send(bob, "POST", f"/api/secrets/{secret.pk}/request-read", {"reason": WHY})
    assert again.json()["approval"] == approval.pk
    done = send(bob, "POST", f"/api/approvals/{approval.pk}/carry-out")
    assert done.json()["value"] == VALUE
    assert send(bob, "POST", f"/api/approvals/{approval.pk}/carry-out").status_code == 409


def test_no_writer_learns_that_a_value_is_equal(cast: Cast, secret: Secret) -> None:
    changed = change(cast, secret, VALUE)
    assert changed.current_number == 2
    for guess in (VALUE, "another"):
        entry = Entry(place=1, name="app/db", value=guess)
        plan = plan_import(actor=cast.principal(cast.alice), environment=cast.development, entries=[entry])
        assert [line.verdict for line in plan.lines] == [Verdict.CHANGED]


def test_no_dry_run_of_an_import_tells_what_a_value_equals(
    cast: Cast, secret: Secret, signed_in: SignedIn
) -> None:
    erin, shown = signed_in(cast.erin), set()
    for guess in (VALUE, VALUE[::-1]):
        body = {"format": "json", "content": json.dumps({"app/db": guess}), "dry_run": True}
        answer = send(erin, "POST", "/api/environments/development/import", body)
        shown.add(json.dumps(answer.json()["results"]))
    assert len(shown) == 1
    assert "app/db" in shown.pop()


def test_a_snapshot_from_before_the_guard_is_not_served(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment_snapshot, "MIN_SECRETS", 1)
    place, alice = cast.development, cast.principal(cast.alice)
    kept = keep(cast, "app/db")
    for _ in range(3):
        reveal_environment(actor=alice, environment=place)
        environment_snapshot.store_prepared()
    assert VALUE.encode() in (export_snapshot(actor=alice, environment=place) or b"")
    guarded.guard(actor=alice, secret=stored(kept))
    assert export_snapshot(actor=alice, environment=place) is None
    for _ in range(3):
        found = reveal_environment(actor=alice, environment=place)
        assert (list(found), found.left_out) == ([], ["app/db"])
        environment_snapshot.store_prepared()
    assert VALUE.encode() not in (export_snapshot(actor=alice, environment=place) or b"")


@pytest.mark.django_db(transaction=True)
def test_fifty_tries_at_once_show_it_once(cast: Cast, secret: Secret) -> None:
    approved = released(cast, secret)
    results = at_once(*[lambda: show(cast, approved)] * (50 if connection.vendor != "sqlite" else 8))
    assert [result for result in results if result == VALUE] == [VALUE]
    assert len(reveals(secret)) == 1


def test_a_release_of_a_clock_that_was_ahead_waits_for_its_start(cast: Cast, secret: Secret) -> None:
    approved = released(cast, secret)
    for ahead, opens in ((61, False), (4, True)):
        late = row(approved.pk)
        late.expires_at = timezone.now() + timedelta(hours=1, minutes=ahead)
        late.save(update_fields=["expires_at"])
        if opens:
            assert show(cast, late) == VALUE
        else:
            with pytest.raises(ApprovalVoid):
                show(cast, late)
            assert ask(cast.principal(cast.bob), secret).pk != approved.pk


def test_fewer_people_who_agree_take_a_second_person(cast: Cast, secret: Secret) -> None:
    alice, place = cast.principal(cast.alice), stored(secret).environment
    environments.update_environment(actor=alice, environment=place, approvals_required=2)
    place.refresh_from_db()
    with pytest.raises(ApprovalNeeded, match="second person"):
        environments.update_environment(actor=alice, environment=place, approvals_required=1)
    # A deleted one can be restored.
    lifecycle.delete(actor=alice, secret=stored(secret))
    with pytest.raises(ApprovalNeeded) as asked:
        environments.update_environment(actor=alice, environment=place, approvals_required=1)
    asked_for = row(asked.value.approval)
    assert asked_for.environment.approvals_needed == 2
    for approver in (cast.charlie, add_manager(cast, cast.erin)):
        approvals.approve(actor=cast.principal(approver), approval=row(asked_for.pk))
    approvals.carry_out(actor=alice, approval=row(asked_for.pk))
    assert stored(secret).environment.approvals_needed == 1
    # Where nothing is guarded, a manager lowers it alone.
    other = environments.create_environment(
        actor=cast.principal(cast.root), name="other", approvals_required=3
    )
    root = cast.principal(cast.root)
    lowered = environments.update_environment(actor=root, environment=other, approvals_required=1)
    assert lowered.approvals_needed == 1


def add_manager(cast: Cast, user: User) -> User:
    Membership.objects.filter(environment=cast.development, user=user).update(role=Role.MANAGER)
    for membership in Membership.objects.filter(environment=cast.development, user=user):
        membership.save()
    return user


def test_a_secret_that_is_guarded_while_fewer_approvals_are_set_counts(
    cast: Cast, secret: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, place = cast.principal(cast.alice), stored(secret).environment
    environments.update_environment(actor=alice, environment=place, approvals_required=2)
    place.refresh_from_db()
    # The first answer is from before the guard.
    answers, asked = [False], has_guarded
    monkeypatch.setattr(environments, "has_guarded", lambda where: answers.pop() if answers else asked(where))
    with pytest.raises(Conflict):
        environments.update_environment(actor=alice, environment=place, approvals_required=1)
    assert stored(secret).environment.approvals_needed == 2


def test_the_time_to_use_a_release_is_a_setting(cast: Cast, secret: Secret, settings: Settings) -> None:
    settings.KEEPER_READ_APPROVAL_MINUTES = 10
    approved = released(cast, secret)
    now = timezone.now()
    assert now + timedelta(minutes=9) < approved.expires_at <= now + timedelta(minutes=10)
    # A longer one from before the setting was lowered is not used.
    settings.KEEPER_READ_APPROVAL_MINUTES = 1
    with pytest.raises(ApprovalVoid):
        show(cast, approved)
    settings.KEEPER_READ_APPROVAL_MINUTES = 10
    assert show(cast, approved) == VALUE


def test_who_decides_sees_who_read_it_of_late(cast: Cast, secret: Secret, signed_in: SignedIn) -> None:
    approved = released(cast, secret)
    show(cast, approved)
    asked = ask(cast.principal(cast.erin), secret)
    page = signed_in(cast.charlie).get(f"/approvals/{asked.pk}").content.decode()
    assert "Who read it in the last 30 days" in page
    assert "<dt>bob</dt>" in page
    own = signed_in(cast.erin).get(f"/approvals/{asked.pk}").content.decode()
    assert "Who read it" not in own
    assert "within 1 hour" in own


def test_who_rolled_back_without_seeing_the_value_is_no_reader(
    cast: Cast, secret: Secret, signed_in: SignedIn
) -> None:
    show(cast, released(cast, secret))
    erin = cast.principal(cast.erin)
    write.update(actor=cast.principal(cast.alice), secret=stored(secret), value="another")
    write.rollback(actor=erin, secret=stored(secret), number=1)
    asked = ask(erin, secret)
    page = signed_in(cast.charlie).get(f"/approvals/{asked.pk}").content.decode()
    assert "<dt>bob</dt>" in page
    assert "<dt>erin</dt>" not in page
    alice = cast.principal(cast.alice)
    readers = {reader.name: reader for reader in usage_report(actor=alice, secret=stored(secret)).readers}
    assert (readers["erin"].last_at, readers["erin"].wrote_at is not None) == (None, True)
