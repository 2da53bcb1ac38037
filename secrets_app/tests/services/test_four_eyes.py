"""Approvals under attack: by oneself, by tokens, by who lost the right, by edits of the database."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from audit_app.models import AuditEvent
from audit_app.tests.trail import take_away
from environments_app.approvals import service as approvals
from environments_app.approvals.approvers import why_not_approver
from environments_app.approvals.gate import ApprovalGrant
from environments_app.authorization.credential_custody import CustodyGraph
from environments_app.authorization.principals import load_principal, system_principal, token_principal
from environments_app.environments import memberships
from environments_app.environments import service as environments
from environments_app.errors import ApprovalNeeded, ApprovalVoid, Forbidden, Invisible, Tampered
from environments_app.models import Approval, ApprovalState, Environment, Membership, Role, User, UserRole
from environments_app.tests.cast import Cast
from environments_app.tokens.service import issue
from secrets_app.errors import EnvelopeError, StaleVersion
from secrets_app.models import PendingValue, Secret
from secrets_app.services import lifecycle, transfer, write
from secrets_app.tests.at_once import at_once
from secrets_app.tests.kept import keep

pytestmark = [pytest.mark.django_db, pytest.mark.every_database_weekly]

NEW = "proposed-9c2e-value"


@pytest.fixture
def secret(cast: Cast) -> Secret:
    """A secret in protected production, which alice and erin manage and bob edits."""
    place = cast.production
    for user, role in ((cast.erin, Role.MANAGER), (cast.bob, Role.EDITOR)):
        Membership.objects.create(environment=place, user=user, role=role)
    kept = keep(cast, environment=place)
    environments.update_environment(actor=cast.principal(cast.alice), environment=place, protected=True)
    place.refresh_from_db()
    return kept


def fresh(secret: Secret) -> Secret:
    return Secret.objects.select_related("environment").get(pk=secret.pk)


def ask(cast: Cast, secret: Secret, value: str = NEW, *, actor: Any = None) -> Approval:
    with pytest.raises(ApprovalNeeded) as raised:
        write.update(actor=actor or cast.principal(cast.bob), secret=fresh(secret), value=value)
    return Approval.objects.select_related("environment").get(pk=raised.value.approval)


def approved(cast: Cast, secret: Secret, **options: Any) -> Approval:
    asked = ask(cast, secret, **options)
    return approvals.approve(actor=cast.principal(cast.erin), approval=asked)


def carried(cast: Cast, approval: Approval) -> Any:
    return approvals.carry_out(actor=cast.principal(cast.bob), approval=approval)


def test_the_page_of_a_secret_leads_those_who_may_see_it_to_the_request(
    cast: Cast, secret: Secret, signed_in: Callable[[User], Client]
) -> None:
    Membership.objects.create(environment=cast.production, user=cast.vera, role=Role.VIEWER)
    asked = ask(cast, secret)
    pages = {user: signed_in(user).get(f"/secrets/{secret.pk}") for user in (cast.bob, cast.erin, cast.vera)}
    shown = {user.username: page.context["pending"] for user, page in pages.items()}
    assert shown == {"bob": [asked], "erin": [asked], "vera": []}
    assert f'href="/approvals/{asked.pk}"' in pages[cast.erin].content.decode()
    approvals.reject(actor=cast.principal(cast.erin), approval=asked)
    assert signed_in(cast.bob).get(f"/secrets/{secret.pk}").context["pending"] == []


def test_a_request_stores_the_use_of_references_by_its_first_name_and_carries_it_out(
    cast: Cast, secret: Secret
) -> None:
    source = keep(cast, "source", "text", environment=cast.development)
    with pytest.raises(ApprovalNeeded) as raised:
        write.update(
            actor=cast.principal(cast.bob),
            secret=fresh(secret),
            value=f"${{development/{source.name}}}",
            uses_references=True,
        )
    asked = Approval.objects.select_related("environment").get(pk=raised.value.approval)
    assert asked.arguments["metadata"] == {"resolves_references": True}
    carried(cast, approvals.approve(actor=cast.principal(cast.erin), approval=asked))
    assert fresh(secret).uses_references


def test_nobody_approves_their_own(cast: Cast, secret: Secret, events: Callable[..., list[Any]]) -> None:
    asked = ask(cast, secret, actor=cast.principal(cast.alice))
    with pytest.raises(Forbidden):
        approvals.approve(actor=cast.principal(cast.alice), approval=asked)
    assert events("approval.decide", outcome="denied")
    # That two accounts are one person would refuse it as well, and say another reason.
    assert why_not_approver(cast.principal(cast.alice), asked, CustodyGraph()) == "requester"


@pytest.mark.parametrize("who", ["bob", "charlie", "root"])
def test_who_does_not_manage_the_environment_does_not_approve(cast: Cast, secret: Secret, who: str) -> None:
    asked = ask(cast, secret, actor=cast.principal(cast.alice))
    with pytest.raises((Forbidden, Invisible)):
        approvals.approve(actor=cast.principal(getattr(cast, who)), approval=asked)
    asked.refresh_from_db()
    assert asked.state == ApprovalState.PENDING


@pytest.mark.parametrize("role", ["manager", "admin"])
def test_no_token_approves(cast: Cast, secret: Secret, role: str) -> None:
    place = None if role == "admin" else cast.production
    token, _ = issue(actor=system_principal(is_admin=True), environment=place, role=role, name="t")
    with pytest.raises(Forbidden):
        approvals.approve(actor=token_principal(token), approval=ask(cast, secret))


def test_whoever_made_a_token_does_not_approve_what_it_asks(cast: Cast) -> None:
    Membership.objects.create(environment=cast.production, user=cast.erin, role=Role.MANAGER)
    kept = keep(cast, environment=cast.production)
    alice = cast.principal(cast.alice)
    token, _ = issue(actor=alice, environment=cast.production, role="editor", name="ci")
    environments.update_environment(actor=alice, environment=cast.production, protected=True)
    asked = ask(cast, kept, actor=token_principal(token))
    with pytest.raises(Forbidden):
        approvals.approve(actor=cast.principal(cast.alice), approval=asked)
    done = approvals.approve(actor=cast.principal(cast.erin), approval=asked)
    approvals.carry_out(actor=token_principal(token), approval=done)
    assert fresh(kept).current_number == 2


def test_another_value_needs_another_approval(cast: Cast, secret: Secret) -> None:
    first = approved(cast, secret)
    other = ask(cast, secret, "another value")
    assert other.pk != first.pk
    with pytest.raises(ApprovalVoid):
        carried(cast, other)


def test_an_approval_holds_for_one_state_of_the_secret(cast: Cast, secret: Secret) -> None:
    first, second = approved(cast, secret), approved(cast, secret, value="another value")
    carried(cast, second)
    with pytest.raises(Exception, match=r"now \d+-2-2"):
        carried(cast, first)
    assert fresh(secret).current_number == 2


@pytest.mark.parametrize(
    ("what", "refusal"), [("deleted", StaleVersion), ("purged", ApprovalVoid), ("place", ApprovalVoid)]
)
def test_what_is_gone_by_the_time_it_is_carried_out_is_not_taken_elsewhere(
    cast: Cast, secret: Secret, what: str, refusal: type[Exception]
) -> None:
    """A second person approved it; the secret, or the environment that it was to go to, is gone since."""
    erin, alice = partial(cast.principal, cast.erin), partial(cast.principal, cast.alice)
    source = keep(cast, "plain")
    place = Environment.objects.create(name="elsewhere")
    member = Membership.objects.create(environment=place, user=cast.erin, role=Role.EDITOR)
    take, taken, there = (
        (transfer.move, secret, place) if what == "place" else (transfer.copy, source, cast.production)
    )
    with pytest.raises(ApprovalNeeded) as raised:
        take(actor=erin(), secret=fresh(taken), environment=there)
    asked = Approval.objects.select_related("environment").get(pk=raised.value.approval)
    approval = approvals.approve(actor=alice(), approval=asked)
    if what == "place":
        take_away(Membership.objects.filter(pk=member.pk))
        take_away(Environment.objects.filter(pk=place.pk))
    else:
        lifecycle.delete(actor=alice(), secret=fresh(source))
    if what == "purged":
        lifecycle.purge(actor=alice(), secret=fresh(source))
    before = set(Secret.objects.values_list("pk", "live"))

    with pytest.raises(refusal):
        approvals.carry_out(actor=erin(), approval=approval)

    assert set(Secret.objects.values_list("pk", "live")) == before
    assert not AuditEvent.objects.filter(
        action__in=["secret.copy", "secret.move"], outcome="allowed"
    ).exists()


def test_another_requester_needs_another_approval(cast: Cast, secret: Secret) -> None:
    first = approved(cast, secret)
    with pytest.raises(Forbidden):
        approvals.carry_out(actor=cast.principal(cast.alice), approval=first)
    pretending = replace(cast.principal(cast.alice), approval=first.uuid)
    with pytest.raises(ApprovalVoid):
        write.update(actor=pretending, secret=fresh(secret), value=NEW)


def test_the_same_act_repeated_by_its_requester_carries_it_out(cast: Cast, secret: Secret) -> None:
    approval = approved(cast, secret)
    write.update(actor=cast.principal(cast.bob), secret=fresh(secret), value=NEW)
    approval.refresh_from_db()
    assert (approval.state, PendingValue.objects.count()) == (ApprovalState.EXECUTED, 0)
    assert ask(cast, secret, "a third").state == ApprovalState.PENDING


def test_an_approver_who_lost_the_role_a_second_ago_counts_no_more(cast: Cast, secret: Secret) -> None:
    approval = approved(cast, secret)
    take_away(Membership.objects.filter(environment=cast.production, user=cast.erin))
    with pytest.raises(ApprovalVoid):
        carried(cast, approval)
    assert fresh(secret).current_number == 1
    assert ask(cast, secret).pk != approval.pk


@pytest.mark.parametrize("change", [{"is_active": False}, {"suspended_at": timezone.now()}])
def test_an_approver_who_is_off_counts_no_more(cast: Cast, secret: Secret, change: dict[str, Any]) -> None:
    approval = approved(cast, secret)
    for name, value in change.items():
        setattr(cast.erin, name, value)
    cast.erin.save()
    with pytest.raises(ApprovalVoid):
        carried(cast, approval)


def test_an_approver_who_loses_the_role_at_the_last_moment_counts_no_more(
    cast: Cast, secret: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    approval = approved(cast, secret)
    consume = ApprovalGrant.consume_approval

    def late(self: ApprovalGrant, environment: Environment, **options: Any) -> Any:
        take_away(Membership.objects.filter(environment=cast.production, user=cast.erin))
        return consume(self, environment, **options)

    monkeypatch.setattr(ApprovalGrant, "consume_approval", late)
    with pytest.raises(ApprovalVoid):
        carried(cast, approval)
    assert fresh(secret).current_number == 1


def test_an_approval_whose_time_ends_at_the_last_moment_is_not_spent(
    cast: Cast, secret: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    approval = approved(cast, secret)
    consume = ApprovalGrant.consume_approval
    ended = timezone.now() + timedelta(hours=73)

    def late(self: ApprovalGrant, environment: Environment, **options: Any) -> Any:
        monkeypatch.setattr("django.utils.timezone.now", lambda: ended)
        return consume(self, environment, **options)

    monkeypatch.setattr(ApprovalGrant, "consume_approval", late)
    with pytest.raises(ApprovalVoid, match="not approved"):
        carried(cast, approval)
    assert fresh(secret).current_number == 1


@pytest.mark.parametrize("act", ["create", "update"])
def test_an_environment_that_is_protected_at_the_last_moment_takes_nothing_without_approval(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    kept, alice = keep(cast), cast.principal(cast.alice)
    consume = ApprovalGrant.consume_approval

    def late(self: ApprovalGrant, environment: Environment, **options: Any) -> Any:
        place = Environment.objects.get(pk=environment.pk)
        place.protected = True
        place.save()
        return consume(self, environment, **options)

    monkeypatch.setattr(ApprovalGrant, "consume_approval", late)
    name = kept.name if act == "update" else "new"
    with pytest.raises(ApprovalVoid, match="turned on"):
        write.put(actor=alice, environment=kept.environment, name=name, value=NEW)
    assert (fresh(kept).current_number, Secret.objects.count()) == (1, 1)


def test_a_requester_who_lost_the_right_a_second_ago_does_nothing(cast: Cast, secret: Secret) -> None:
    approval = approved(cast, secret)
    take_away(Membership.objects.filter(environment=cast.production, user=cast.bob))
    with pytest.raises((Forbidden, Invisible)):
        carried(cast, approval)
    approval.refresh_from_db()
    assert (approval.state, fresh(secret).current_number) == (ApprovalState.APPROVED, 1)


@pytest.mark.parametrize("decided", [False, True])
def test_time_ends_a_request(cast: Cast, secret: Secret, decided: bool, monkeypatch: Any) -> None:
    approval = approved(cast, secret) if decided else ask(cast, secret)
    later = timezone.now() + timedelta(hours=73)
    monkeypatch.setattr("django.utils.timezone.now", lambda: later)
    late = partial(carried, cast) if decided else partial(approvals.approve, actor=cast.principal(cast.erin))
    with pytest.raises(ApprovalVoid):
        late(approval=approval)
    assert approval.shown_state == ApprovalState.EXPIRED
    assert approvals.expire_due() == 1
    assert not PendingValue.objects.exists()
    assert Approval.objects.get(pk=approval.pk).state == ApprovalState.EXPIRED


@pytest.mark.parametrize("end", ["reject", "withdraw"])
def test_what_is_refused_or_withdrawn_is_over_and_its_value_destroyed(
    cast: Cast, secret: Secret, end: str
) -> None:
    asked = ask(cast, secret)
    who = cast.erin if end == "reject" else cast.bob
    getattr(approvals, end)(actor=cast.principal(who), approval=asked)
    assert not PendingValue.objects.exists()
    with pytest.raises(ApprovalVoid):
        approvals.approve(actor=cast.principal(cast.erin), approval=asked)
    with pytest.raises(ApprovalVoid):
        carried(cast, Approval.objects.select_related("environment").get(pk=asked.pk))


def test_only_the_requester_withdraws(cast: Cast, secret: Secret) -> None:
    with pytest.raises(Forbidden):
        approvals.withdraw(actor=cast.principal(cast.alice), approval=ask(cast, secret))


@pytest.mark.parametrize(
    "edit",
    [
        "state = 'approved', decided_by_uuid = '{erin}'",
        "requester_uuid = '{alice}'",
        "action = 'secret.delete'",
        "digest = x'00'",
        "summary = '[]'",
        "arguments = '{{}}'",
        "expires_at = '2999-01-01 00:00:00'",
        "environment_id = {development}",
    ],
)
def test_a_request_that_was_edited_in_the_database_does_nothing(
    cast: Cast, secret: Secret, sql: Callable[..., None], edit: str
) -> None:
    asked = ask(cast, secret)
    text = edit.format(erin=cast.erin.uuid.hex, alice=cast.alice.uuid.hex, development=cast.development.pk)
    sql(f"UPDATE environments_app_approval SET {text} WHERE id = %s", asked.pk)
    forged = Approval.objects.select_related("environment").get(pk=asked.pk)
    with pytest.raises((Tampered, Forbidden, ApprovalVoid)):
        carried(cast, forged)
    with pytest.raises((Tampered, Forbidden, Invisible)):
        approvals.approve(actor=cast.principal(cast.erin), approval=forged)
    assert fresh(secret).current_number == 1
    assert AuditEvent.objects.filter(action="integrity.violation").exists()


@pytest.mark.parametrize("column", ["value", "approval_id"])
def test_a_proposed_value_that_was_swapped_opens_nowhere(
    cast: Cast, secret: Secret, sql: Callable[..., None], column: str
) -> None:
    mine, other = approved(cast, secret), ask(cast, secret, "evil")
    rows = {row.approval_id: row.pk for row in PendingValue.objects.all()}
    if column == "approval_id":
        sql("UPDATE secrets_app_pendingvalue SET `index` = 9 WHERE id = %s", rows[mine.pk])
        sql("UPDATE secrets_app_pendingvalue SET approval_id = %s WHERE id = %s", mine.pk, rows[other.pk])
        sql("UPDATE secrets_app_pendingvalue SET approval_id = %s WHERE id = %s", other.pk, rows[mine.pk])
    else:
        sql(
            "UPDATE secrets_app_pendingvalue SET value = "
            "(SELECT v FROM (SELECT value AS v FROM secrets_app_pendingvalue WHERE id = %s) AS o) WHERE id = %s",
            rows[other.pk],
            rows[mine.pk],
        )
    with pytest.raises(EnvelopeError):
        carried(cast, mine)
    assert fresh(secret).current_number == 1
    assert AuditEvent.objects.filter(action="integrity.violation").exists()


def test_a_change_that_fails_leaves_the_approval_as_it_was(
    cast: Cast, secret: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    approval = approved(cast, secret)

    def broken(*_what: object) -> None:
        raise RuntimeError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr("secrets_app.rows.store.notify_listeners", broken)
        with pytest.raises(RuntimeError):
            carried(cast, approval)
    approval.refresh_from_db()
    assert (approval.state, PendingValue.objects.count()) == (ApprovalState.APPROVED, 1)
    carried(cast, approval)
    assert fresh(secret).current_number == 2


def test_the_trail_names_both_people(
    cast: Cast, secret: Secret, events: Callable[..., list[AuditEvent]]
) -> None:
    approval = approved(cast, secret)
    carried(cast, approval)
    told = events("secret.update")[-1]
    assert (told.actor_name, '"approved_by":"erin"' in told.details) == ("bob", True)
    names = ["approval.ask", "approval.decide", "approval.open", "approval.carry_out"]
    assert [len(events(name)) for name in names] == [1, 1, 1, 1]
    assert NEW not in "".join(AuditEvent.objects.values_list("details", flat=True))


def test_keeper_itself_needs_nobody(cast: Cast, secret: Secret) -> None:
    from secrets_app.services.lifecycle import purge_expired

    deleted = keep_deleted(cast, secret)
    Secret.objects.filter(pk=deleted.pk).update(deleted_at=timezone.now() - timedelta(days=400))
    assert purge_expired() == 1


def keep_deleted(cast: Cast, secret: Secret) -> Secret:
    with pytest.raises(ApprovalNeeded) as raised:
        lifecycle.delete(actor=cast.principal(cast.bob), secret=fresh(secret))
    asked = Approval.objects.select_related("environment").get(pk=raised.value.approval)
    carried(cast, approvals.approve(actor=cast.principal(cast.erin), approval=asked))
    return fresh(secret)


def test_an_administrators_way_in_takes_a_second_person(cast: Cast, secret: Secret) -> None:
    with pytest.raises(ApprovalNeeded) as raised:
        memberships.grant(
            actor=cast.principal(cast.root), environment=cast.production, user=cast.root, role="reader"
        )
    asked = Approval.objects.select_related("environment").get(pk=raised.value.approval)
    with pytest.raises(Forbidden):
        approvals.approve(actor=cast.principal(cast.root), approval=asked)
    done = approvals.approve(actor=cast.principal(cast.alice), approval=asked)
    approvals.carry_out(actor=cast.principal(cast.root), approval=done)
    assert Membership.objects.filter(environment=cast.production, user=cast.root).exists()


def test_who_writes_is_told_beforehand_that_a_second_person_decides(
    cast: Cast, secret: Secret, signed_in: Callable[..., Client]
) -> None:
    open_to_all = keep(cast, "open", environment=cast.development)
    bob = signed_in(cast.bob)
    assert "need approval" in bob.get(f"/secrets/{secret.pk}/edit").content.decode()
    erin = signed_in(cast.erin)
    assert "need approval" not in erin.get(f"/secrets/{open_to_all.pk}/edit").content.decode()
    # She may write in development as well, where nobody else decides.
    assert "Changes to production need approval." in erin.get("/secrets/new").content.decode()


def test_another_administrator_is_a_second_person_for_access_and_not_for_values(
    cast: Cast, secret: Secret
) -> None:
    cast.charlie.role = UserRole.ADMIN
    cast.charlie.save()
    with pytest.raises(ApprovalNeeded) as raised:
        memberships.grant(
            actor=cast.principal(cast.root), environment=cast.production, user=cast.root, role="reader"
        )
    asked = Approval.objects.select_related("environment").get(pk=raised.value.approval)
    assert approvals.possible_approvers(asked) == ["alice", "charlie", "erin"]
    assert approvals.possible_approvers(ask(cast, secret)) == ["alice", "erin"]


def test_who_decides_about_a_copy_is_not_told_what_it_is_called_where_it_comes_from(
    cast: Cast, secret: Secret, signed_in: Callable[..., Client]
) -> None:
    source = keep(cast, "hr/zebra-crossing", environment=cast.development)
    with pytest.raises(ApprovalNeeded):
        transfer.copy(
            actor=cast.principal(cast.alice), secret=source, environment=cast.production, name="plain"
        )
    Membership.objects.create(environment=cast.production, user=cast.charlie, role=Role.MANAGER)
    charlie = signed_in(cast.charlie)
    (row,) = charlie.get("/api/approvals").json()["results"]
    assert row["object"] == "plain"
    for path in ("/api/approvals", f"/api/approvals/{row['id']}", "/notifications"):
        page = charlie.get(path)
        assert (page.status_code, "zebra-crossing" in page.content.decode()) == (200, False)
    approved = approvals.approve(actor=cast.principal(cast.erin), approval=Approval.objects.get(pk=row["id"]))
    approvals.carry_out(actor=cast.principal(cast.alice), approval=approved)
    assert Secret.objects.filter(environment=cast.production, name="plain").exists()


def test_the_api_answers_202_and_leads_to_the_request(
    cast: Cast, secret: Secret, signed_in: Callable[..., Client]
) -> None:
    bob, erin = signed_in(cast.bob), signed_in(cast.erin)
    path = f"/api/secrets/{secret.pk}"
    response = bob.put(path, {"value": NEW}, content_type="application/json")
    assert response.status_code == 202
    place = response["Location"]
    assert bob.get(place).json()["state"] == "pending"
    assert NEW not in bob.get(place).content.decode()
    assert bob.post(f"{place}/approve", {}, content_type="application/json").status_code == 403
    decided = erin.post(f"{place}/approve", {"comment": "fine"}, content_type="application/json")
    assert (decided.status_code, decided.json()["decided_by"]) == (200, "erin")
    # The approval applies the change.
    assert erin.post(f"{place}/carry-out").status_code == 403
    assert bob.get(place).json()["state"] == "executed"
    assert bob.get(path).json()["value"] == NEW
    assert bob.post(f"{place}/carry-out").status_code == 409
    assert len(bob.get("/api/approvals?state=executed").json()["results"]) == 1


def test_a_principal_asked_again_carries_no_approval(cast: Cast, secret: Secret) -> None:
    approval = approved(cast, secret)
    again = load_principal(replace(cast.principal(cast.bob), approval=approval.uuid))
    assert again.approval is None


@pytest.mark.django_db(transaction=True)
@pytest.mark.every_database
def test_of_several_carriers_at_once_one_does_it(transactional_db: None, cast: Cast, secret: Secret) -> None:
    done = approved(cast, secret)
    bob = cast.principal(cast.bob)

    def carry() -> Any:
        row = Approval.objects.select_related("environment").get(pk=done.pk)
        return approvals.carry_out(actor=bob, approval=row)

    results = at_once(*[carry] * 4)
    assert sum(not isinstance(result, Exception) for result in results) == 1, results
    assert {type(result) for result in results if isinstance(result, Exception)} <= {
        ApprovalVoid,
        StaleVersion,
    }
    assert fresh(secret).current_number == 2
    outcomes = AuditEvent.objects.filter(action="approval.carry_out").values_list("outcome", flat=True)
    assert sorted(outcomes) == ["allowed", "failed", "failed", "failed"]
    assert not PendingValue.objects.exists()


def test_how_many_wait_costs_the_same_whatever_asked(
    cast: Cast, secret: Secret, django_assert_num_queries: Any
) -> None:
    operator = system_principal(is_admin=True)
    for number in range(3):
        # By the system, which needs nobody: the environment is protected.
        token, _ = issue(actor=operator, environment=cast.production, role="editor", name=f"ci-{number}")
        ask(cast, secret, f"value {number}", actor=token_principal(token))
    erin = cast.principal(cast.erin)
    with django_assert_num_queries(3):
        assert len(approvals.waiting_for(erin)) == 3
