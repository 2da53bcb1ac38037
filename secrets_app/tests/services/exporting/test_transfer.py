from collections.abc import Callable

import pytest

from audit_app.events.actions import Action
from audit_app.integrity.check_registry import run_checks
from audit_app.models import AuditEvent
from audit_app.verification.stream_verifier import verify
from environments_app.errors import Forbidden, Invisible
from environments_app.models import Membership
from environments_app.tests.cast import Cast
from secrets_app.errors import InvalidName, NameTaken
from secrets_app.models import Secret, SecretVersion
from secrets_app.services import read as read_service
from secrets_app.services import transfer
from secrets_app.tests.kept import change, keep, version

pytestmark = pytest.mark.every_database_weekly

Events = Callable[..., list[AuditEvent]]


def stored(secret: Secret) -> Secret:
    return Secret.objects.select_related("environment").get(pk=secret.pk)


def test_a_copy_holds_the_current_value_sealed_anew_and_no_history(cast: Cast, events: Events) -> None:
    secret = change(cast, keep(cast, description="d", tags=["t"], owner="o"), "second")
    alice = cast.principal(cast.alice)
    copied = transfer.copy(actor=alice, secret=stored(secret), environment=cast.production)
    assert (copied.name, copied.current_number, copied.description, copied.tags, copied.owner) == (
        "payments/key",
        1,
        "d",
        ["t"],
        "o",
    )
    assert read_service.reveal(actor=alice, secret=stored(copied)).value == "second"
    there, here = version(copied), version(secret, 2)
    assert there.value.envelope != here.value.envelope
    assert there.data_key_id != here.data_key_id
    assert there.comment == "copied"
    (read,) = events(Action.SECRET_COPY)
    assert (read.object_uuid, '"to":"production/payments/key"' in read.details) == (secret.uuid, True)
    assert stored(secret).live is True
    assert not [*verify(), *run_checks()]


def test_a_move_leaves_the_source_deleted_with_its_history(cast: Cast, events: Events) -> None:
    secret = change(cast, keep(cast), "second")
    alice = cast.principal(cast.alice)
    moved = transfer.move(actor=alice, secret=stored(secret), environment=cast.production, name="moved")
    assert read_service.reveal(actor=alice, secret=stored(moved)).value == "second"
    assert stored(secret).live is None
    assert SecretVersion.objects.filter(secret=secret).count() == 2
    assert len(events(Action.SECRET_MOVE)) == len(events(Action.SECRET_DELETE)) == 1
    assert not [*verify(), *run_checks()]


def test_a_taken_name_keeps_the_source(cast: Cast) -> None:
    secret = keep(cast)
    keep(cast, environment=cast.production)
    alice = cast.principal(cast.alice)
    for act in (transfer.copy, transfer.move):
        with pytest.raises(NameTaken):
            act(actor=alice, secret=stored(secret), environment=cast.production)
        with pytest.raises(NameTaken):
            act(actor=alice, secret=stored(secret), environment=cast.development)
    assert stored(secret).live is True
    assert Secret.objects.count() == 2


@pytest.mark.parametrize("name", ["", "a//b", "../a"])
def test_a_name_that_cannot_be_is_refused(cast: Cast, name: str) -> None:
    with pytest.raises(InvalidName):
        transfer.copy(
            actor=cast.principal(cast.alice), secret=keep(cast), environment=cast.production, name=name
        )
    assert Secret.objects.count() == 1


def test_a_copy_takes_the_right_to_reveal_here_and_to_write_there(cast: Cast, events: Events) -> None:
    secret = keep(cast)
    for user, role in ((cast.vera, "editor"), (cast.erin, "viewer")):
        Membership.objects.create(environment=cast.production, user=user, role=role)
    for user, refusal in (
        (cast.vera, Forbidden),
        (cast.erin, Forbidden),
        (cast.bob, Forbidden),
        (cast.root, Forbidden),
        (cast.charlie, Invisible),
    ):
        for act in (transfer.copy, transfer.move):
            with pytest.raises(refusal):
                act(actor=cast.principal(user), secret=stored(secret), environment=cast.production)
    assert Secret.objects.count() == 1
    assert not [event for event in events(Action.SECRET_COPY) if event.outcome == "allowed"]
    assert stored(secret).live is True
