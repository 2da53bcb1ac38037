"""What was loaded before somebody else changed it: the rule of the moment counts, and nothing is done twice."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db.models.query import QuerySet
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.approvals import service as approvals
from environments_app.authorization.principals import system_principal
from environments_app.authorization.rows import access_rows
from environments_app.environments import memberships, restore_suspension
from environments_app.environments import service as environments
from environments_app.errors import ApprovalNeeded, ApprovalVoid, Conflict, Forbidden, Invisible
from environments_app.models import Approval, ApprovalState, Environment, Membership, Role, Trust
from environments_app.single_sign_on.group_mapping import map_group
from environments_app.tests.cast import Cast
from environments_app.tests.trusts.issuer import Issuer
from environments_app.tests.trusts.made import make_trust
from environments_app.tokens.service import issue
from environments_app.trusts import service as trusts
from environments_app.users import suspensions

pytestmark = [pytest.mark.django_db, pytest.mark.every_database_weekly]


def protect(place: Environment) -> None:
    """Protect it without the knowledge of what is loaded already."""
    stored = Environment.objects.get(pk=place.pk)
    stored.protected = True
    stored.save()


def loaded(row: Any) -> Any:
    return type(row).objects.select_related("environment").get(pk=row.pk)


def test_a_membership_is_not_widened_in_an_environment_that_is_protected_since(cast: Cast) -> None:
    membership = loaded(Membership.objects.get(environment=cast.development, user=cast.vera))
    protect(cast.development)
    alice = cast.principal(cast.alice)
    with pytest.raises(Conflict):
        memberships.change_membership(actor=alice, membership=membership, role="editor")
    assert loaded(membership).role == Role.VIEWER
    # Less needs nobody else.
    editor = loaded(Membership.objects.get(environment=cast.development, user=cast.erin))
    assert memberships.change_membership(actor=alice, membership=editor, role="reader").role == Role.READER


def test_a_trust_is_not_widened_in_an_environment_that_is_protected_since(cast: Cast) -> None:
    trust = loaded(make_trust(cast, Issuer(), prefix="shop"))
    protect(cast.production)
    alice = cast.principal(cast.alice)
    with pytest.raises(Conflict):
        trusts.change(actor=alice, trust=trust, prefix="")
    assert loaded(trust).prefix == "shop"
    assert trusts.change(actor=alice, trust=trust, prefix="shop/one").prefix == "shop/one"


def test_a_trust_that_was_narrowed_since_is_not_widened_by_what_the_page_showed(cast: Cast) -> None:
    trust, alice = make_trust(cast, Issuer(), role="editor", prefix="shop"), cast.principal(cast.alice)
    protect(cast.production)
    shown = loaded(trust)
    trusts.change(actor=alice, trust=loaded(trust), prefix="shop/one")
    with pytest.raises(Conflict):
        trusts.change(actor=alice, trust=shown, prefix="shop", role="reader")
    assert (loaded(trust).prefix, loaded(trust).role) == ("shop/one", Role.EDITOR)


def test_settings_do_not_weaken_an_environment_that_is_protected_since(cast: Cast) -> None:
    place = Environment.objects.get(pk=cast.development.pk)
    protect(cast.development)
    alice = cast.principal(cast.alice)
    rules: dict[str, Any] = {"version_defaults": {"max_versions": 1}}
    for changes in ({"protected": False}, {"offline_hours": 24}, rules):
        with pytest.raises(Conflict, match="turned on"):
            environments.update_environment(actor=alice, environment=place, **changes)
    stored = Environment.objects.get(pk=place.pk)
    assert (stored.protected, stored.offline_hours) == (True, place.offline_hours)
    assert stored.version_defaults is None


def test_a_trust_that_was_deleted_meanwhile_is_deleted_and_recorded_once(cast: Cast) -> None:
    trust = make_trust(cast, Issuer())
    alice = cast.principal(cast.alice)
    for _ in range(2):
        trusts.delete(actor=alice, trust=loaded_or(trust))
    assert AuditEvent.objects.filter(action=Action.TRUST_DELETE).count() == 1
    with pytest.raises(Invisible):
        trusts.find_trust(actor=alice, environment=cast.production, id=trust.pk)


def loaded_or(trust: Trust) -> Trust:
    return Trust.objects.select_related("environment").filter(pk=trust.pk).first() or trust


def test_a_trust_of_another_environment_is_not_found(cast: Cast) -> None:
    trust = make_trust(cast, Issuer())
    with pytest.raises(Invisible):
        trusts.find_trust(actor=cast.principal(cast.alice), environment=cast.development, id=trust.pk)


def test_a_mapping_is_confirmed_once_where_it_waits_and_by_a_person(cast: Cast) -> None:
    root, alice = cast.principal(cast.root), cast.principal(cast.alice)
    mapping = map_group(actor=root, group="ops", environment=cast.development, role="reader")
    assert mapping.suspended_at is not None
    with pytest.raises(Invisible):
        suspensions.find_suspended_mapping(actor=alice, environment=cast.production, id=mapping.pk)
    found = suspensions.find_suspended_mapping(actor=alice, environment=cast.development, id=mapping.pk)
    assert suspensions.confirm_mapping(actor=alice, mapping=found).suspended_at is None
    with pytest.raises(Conflict, match="already confirmed"):
        suspensions.confirm_mapping(actor=alice, mapping=found)
    assert AuditEvent.objects.filter(action=Action.ACCESS_CONFIRM, outcome="allowed").count() == 1
    with pytest.raises(Invisible):
        suspensions.find_suspended_mapping(actor=alice, environment=cast.development, id=mapping.pk)
    everywhere = map_group(actor=root, group="admins", environment=None, role="admin")
    with pytest.raises(Conflict, match="nothing to confirm"):
        suspensions.confirm_mapping(actor=root, mapping=everywhere)


def test_what_a_restore_suspended_is_released_once_and_by_that_restore(cast: Cast) -> None:
    token, _ = issue(actor=cast.principal(cast.alice), environment=cast.development, role="reader", name="ci")
    revoked, _ = issue(
        actor=cast.principal(cast.alice), environment=cast.development, role="reader", name="old"
    )
    revoked.revoked_at = timezone.now()
    revoked.save()
    since, kind = timezone.now(), restore_suspension.TOKENS
    system, root = system_principal(is_admin=True), cast.principal(cast.root)
    assert kind.suspend(actor=system, at=since, states={}) == 1
    assert AuditEvent.objects.get(action=Action.RESTORE_SUSPEND).object_uuid == token.uuid
    assert str(token.uuid) not in str(list(access_rows()))
    # What is suspended already stays suspended by the earlier restore.
    assert kind.suspend(actor=system, at=since + timedelta(minutes=1), states={}) == 0
    with pytest.raises(Forbidden):
        kind.release(actor=cast.principal(cast.alice), uuid=token.uuid, since=since)
    with pytest.raises(Conflict):
        kind.release(actor=root, uuid=token.uuid, since=since + timedelta(minutes=1))
    for unknown in (cast.root.uuid, revoked.uuid):
        with pytest.raises(Invisible):
            kind.release(actor=root, uuid=unknown, since=since)
    assert [each.uuid for each in kind.waiting(since)] == [token.uuid]
    assert (kind.count(since), kind.suspended(), kind.acting()) == (1, 1, 0)
    kind.release(actor=root, uuid=token.uuid, since=since)
    with pytest.raises(Conflict):
        kind.release(actor=root, uuid=token.uuid, since=since)
    assert (kind.count(since), kind.suspended(), kind.acting()) == (0, 0, 1)
    assert AuditEvent.objects.filter(action=Action.RESTORE_RELEASE, outcome="allowed").count() == 1


def asked(cast: Cast) -> Approval:
    Membership.objects.create(environment=cast.production, user=cast.erin, role=Role.MANAGER)
    protect(cast.production)
    place = Environment.objects.get(pk=cast.production.pk)
    with pytest.raises(ApprovalNeeded) as raised:
        environments.update_environment(actor=cast.principal(cast.alice), environment=place, protected=False)
    row: Approval = Approval.objects.select_related("environment").get(pk=raised.value.approval)
    return row


@pytest.mark.parametrize("state", [ApprovalState.REJECTED, ApprovalState.WITHDRAWN, ApprovalState.EXECUTED])
def test_a_request_that_is_over_is_neither_withdrawn_explained_nor_decided_again(
    cast: Cast, state: ApprovalState
) -> None:
    approval = asked(cast)
    stored = loaded(approval)
    stored.state = state
    stored.save()
    alice, erin = cast.principal(cast.alice), cast.principal(cast.erin)
    acts: tuple[Callable[[], object], ...] = (
        lambda: approvals.withdraw(actor=alice, approval=approval),
        lambda: approvals.explain(actor=alice, approval=approval, reason="why", held=True),
        lambda: approvals.approve(actor=erin, approval=approval),
        lambda: approvals.reject(actor=erin, approval=approval),
    )
    for act in acts:
        with pytest.raises(ApprovalVoid):
            act()
    after = loaded(approval)
    assert (after.state, after.reason, after.held, after.decided_at) == (state, "", "", None)
    assert approvals.note_failure(approval, "too late") == ""
    assert loaded(approval).failure == ""


def test_a_request_whose_time_is_over_is_neither_withdrawn_nor_decided(cast: Cast) -> None:
    approval = asked(cast)
    stored = loaded(approval)
    stored.expires_at = timezone.now() - timedelta(seconds=1)
    stored.save()
    alice, erin = cast.principal(cast.alice), cast.principal(cast.erin)
    assert approvals.waiting_for(erin) == approvals.pending_about(erin, approval.object_uuid) == []
    acts: tuple[Callable[[], object], ...] = (
        lambda: approvals.withdraw(actor=alice, approval=approval),
        lambda: approvals.approve(actor=erin, approval=approval),
        lambda: approvals.explain(actor=alice, approval=approval, reason="why"),
    )
    for act in acts:
        with pytest.raises(ApprovalVoid):
            act()
    assert loaded(approval).state == ApprovalState.PENDING


def test_two_managers_do_not_remove_each_other(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment is locked first: of two at once, one waits for what the other leaves."""
    locked: list[type] = []
    lock = QuerySet.select_for_update

    def noted(self: Any, *given: Any, **options: Any) -> Any:
        locked.append(self.model)
        return lock(self, *given, **options)

    monkeypatch.setattr(QuerySet, "select_for_update", noted)
    erin = Membership.objects.create(environment=cast.production, user=cast.erin, role=Role.MANAGER)
    memberships.revoke_membership(actor=cast.principal(cast.alice), membership=loaded(erin))
    assert Environment in locked
