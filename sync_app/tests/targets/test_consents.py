"""Consents that references take the values of an environment to a target of another."""

from collections.abc import Callable

import pytest

from audit_app.events.actions import Action
from audit_app.events.streams import environment_stream
from audit_app.models import AuditEvent
from environments_app.errors import BadName, InvalidField, Invisible, Tampered
from environments_app.tests.cast import Cast
from sync_app.errors import TargetConflict
from sync_app.models import ReferenceConsent, Target
from sync_app.targets import consents
from sync_app.tests.shown import make_target

pytestmark = pytest.mark.django_db
Events = Callable[..., list[AuditEvent]]


@pytest.fixture
def target(cast: Cast) -> Target:
    return make_target(cast.production)


def give(cast: Cast, target: Target, prefix: str = "") -> ReferenceConsent:
    return consents.give_consent(
        actor=cast.principal(cast.alice), environment=cast.development, target=target, prefix=prefix
    )


def test_it_is_on_record_where_the_values_are_and_where_they_may_go(
    cast: Cast, target: Target, events: Events
) -> None:
    consents.withdraw_consent(actor=cast.principal(cast.alice), consent=give(cast, target, "shared"))
    both = {environment_stream(each.uuid) for each in (cast.development, cast.production)}
    for action in (Action.CONSENT_GIVE, Action.CONSENT_WITHDRAW):
        assert {event.stream for event in events(action)} == both
    assert not ReferenceConsent.objects.exists()


def test_none_is_given_for_a_target_that_was_removed_or_that_keeper_did_not_write(
    cast: Cast, target: Target
) -> None:
    Target.objects.update(scope="edited")
    with pytest.raises(Tampered):
        give(cast, Target.objects.select_related("environment").get())
    target.live = None
    target.save()
    with pytest.raises(TargetConflict, match="removed"):
        give(cast, target)
    assert not ReferenceConsent.objects.exists()


def test_its_prefix_is_one(cast: Cast, target: Target) -> None:
    with pytest.raises((BadName, InvalidField)):
        give(cast, target, "../shared")
    assert give(cast, target, "shared").prefix == "shared"


def test_it_is_found_in_the_environment_that_gives(cast: Cast, target: Target) -> None:
    consent, alice = give(cast, target), cast.principal(cast.alice)
    assert consents.find_consent(actor=alice, environment=cast.development, id=consent.pk) == consent
    with pytest.raises(Invisible):
        consents.find_consent(actor=alice, environment=cast.production, id=consent.pk)
