"""What counts as more access than before, and what an approver reads of a proposal."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from environments_app.approvals import access_proposals
from environments_app.approvals import service as approvals
from environments_app.approvals.access_proposals import duration_words, widens, widens_request
from environments_app.environments import service as environments
from environments_app.errors import ApprovalNeeded
from environments_app.models import AccessRequest, Approval, ApprovalState, Environment, Membership, Role
from environments_app.tests.cast import Cast

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("before", "changes", "wider"),
    [
        ({}, {}, False),
        ({}, {"role": "editor"}, True),
        ({}, {"role": "viewer"}, False),
        ({"prefix": "a"}, {"prefix": ""}, True),
        ({"prefix": "a"}, {"prefix": "b"}, True),
        ({"prefix": "a"}, {"prefix": "a/b"}, False),
        ({}, {"prefix": "a"}, False),
        ({"expires_at": NOW}, {"expires_at": None}, True),
        ({"expires_at": NOW}, {"expires_at": NOW + HOUR}, True),
        ({"expires_at": NOW}, {"expires_at": NOW}, False),
        ({"expires_at": NOW}, {"expires_at": NOW - HOUR}, False),
        ({"expires_at": NOW}, {"role": "viewer"}, False),
        ({}, {"expires_at": NOW}, False),
        ({"prefix": "a", "expires_at": NOW}, {"role": "viewer", "prefix": "a/b", "expires_at": None}, True),
    ],
)
def test_a_change_that_gives_more_in_one_respect_is_wider(
    before: dict[str, Any], changes: dict[str, Any], wider: bool
) -> None:
    membership = Membership(**{"role": Role.READER, "prefix": "", "expires_at": None, **before})
    assert widens(membership, changes) is wider


@pytest.mark.parametrize(
    ("granted", "wider"),
    [
        ({}, False),
        ({"role": Role.VIEWER, "prefix": "a/b", "minutes": 59}, False),
        ({"role": Role.EDITOR}, True),
        ({"prefix": ""}, True),
        ({"minutes": 61}, True),
        ({"minutes": None}, True),
    ],
)
def test_a_grant_of_more_than_was_asked_for_is_wider(granted: dict[str, Any], wider: bool) -> None:
    asked = AccessRequest(role=Role.READER, prefix="a", minutes=60)
    given: dict[str, Any] = {"role": Role.READER, "prefix": "a", "minutes": 60, **granted}
    assert widens_request(asked, **given) is wider
    without_end = AccessRequest(role=Role.READER, prefix="a", minutes=None)
    assert not widens_request(without_end, role=Role.READER, prefix="a", minutes=None)


def test_times_are_said_in_words() -> None:
    words = {minutes: duration_words(minutes) for minutes in (None, 1, 59, 60, 61, 120, 1440, 2880, 2881)}
    assert words.pop(None)
    assert words == {
        1: "1 minutes", 59: "59 minutes", 60: "1 hour", 61: "61 minutes", 120: "2 hours", 1440: "1 day",
        2880: "2 days", 2881: "2881 minutes",
    }  # fmt: skip
    told = [access_proposals._word(value) for value in (True, False, None, 0, "x")]
    assert told == ["yes", "no", "", "0", "x"]


@pytest.mark.django_db
def test_who_may_decide_now_and_what_stands_in_the_way(cast: Cast) -> None:
    Membership.objects.create(environment=cast.production, user=cast.erin, role=Role.MANAGER)
    cast.production.protected, cast.production.approvals_required = True, 2
    cast.production.save()
    with pytest.raises(ApprovalNeeded) as raised:
        environments.update_environment(
            actor=cast.principal(cast.alice),
            environment=Environment.objects.get(pk=cast.production.pk),
            protected=False,
        )
    asked = Approval.objects.select_related("environment").get(pk=raised.value.approval)
    alice, erin, bob = (cast.principal(user) for user in (cast.alice, cast.erin, cast.bob))
    assert [approvals.may_approve(actor, asked) for actor in (alice, erin, bob)] == [False, True, False]
    assert [approvals.is_approver(actor, asked) for actor in (alice, erin, bob)] == [False, True, False]
    assert approvals.obstacle(erin, asked) == approvals.obstacle(bob, asked) == ""
    approvals.approve(actor=erin, approval=asked)
    assert not approvals.may_approve(erin, asked)
    assert "erin" not in approvals.possible_approvers(asked)
    root = cast.principal(cast.root)
    assert approvals.may_approve(root, asked)
    for state, ends in ((ApprovalState.REJECTED, HOUR), (ApprovalState.PENDING, -HOUR)):
        asked.state, asked.expires_at = state, timezone.now() + ends
        asked.save()
        assert not approvals.may_approve(root, asked)
        assert approvals.is_approver(root, asked)
