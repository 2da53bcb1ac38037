"""What was ended, and whose older row SQL put back, comes into force by no restore and stays reported."""

from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django import Settings

from audit_app.integrity.row_authentication import AuthenticatedRow
from environments_app.authorization.rows import access_rows
from environments_app.environments import memberships
from environments_app.environments.restore_suspension import MEMBERSHIPS, RestoreSuspension
from environments_app.errors import Conflict
from environments_app.models import Membership
from environments_app.sessions.service import revoke_token
from environments_app.single_sign_on.group_mapping import map_group, unmap_group
from environments_app.tests.cast import Cast
from environments_app.tests.trusts.issuer import Issuer
from environments_app.tests.trusts.made import make_trust
from environments_app.tokens import service as tokens
from environments_app.tokens.personal import issue_personal
from environments_app.trusts import service as trusts
from operations_app.backup.create import back_up
from operations_app.backup.restore import restore, suspendables
from operations_app.tests.backup.making import OPERATOR

Ended = tuple[AuthenticatedRow, Callable[[], Any]]
pytestmark = pytest.mark.every_database


def a_membership(cast: Cast) -> Ended:
    alice = cast.principal(cast.alice)
    row = memberships.grant(actor=alice, environment=cast.development, user=cast.charlie, role="reader")
    return row, lambda: memberships.revoke_membership(actor=cast.principal(cast.alice), membership=row)


def a_wider_membership(cast: Cast) -> Ended:
    alice = cast.principal(cast.alice)
    row = memberships.grant(actor=alice, environment=cast.development, user=cast.charlie, role="editor")
    return row, lambda: memberships.change_membership(
        actor=cast.principal(cast.alice), membership=row, role="viewer"
    )


def a_service_token(cast: Cast) -> Ended:
    alice = cast.principal(cast.alice)
    row, _ = tokens.issue(actor=alice, environment=cast.development, role="reader", name="ci")
    return row, lambda: tokens.revoke(actor=cast.principal(cast.alice), token=row)


def a_personal_token(cast: Cast) -> Ended:
    row, _ = issue_personal(actor=cast.principal(cast.bob), name="laptop")
    return row, lambda: revoke_token(actor=cast.principal(cast.bob), token=row)


def a_trust(cast: Cast) -> Ended:
    row = make_trust(cast, Issuer())
    return row, lambda: trusts.delete(actor=cast.principal(cast.alice), trust=row)


def a_disabled_trust(cast: Cast) -> Ended:
    row = make_trust(cast, Issuer())
    return row, lambda: trusts.change(actor=cast.principal(cast.alice), trust=row, enabled=False)


def a_group_mapping(cast: Cast) -> Ended:
    row = map_group(
        actor=cast.principal(cast.root), group="developers", environment=cast.development, role="viewer"
    )
    return row, lambda: unmap_group(actor=cast.principal(cast.root), mapping=row)


def put_back(old: Any, model: type[AuthenticatedRow]) -> None:
    """Let SQL give a row the columns that it had, its MAC among them."""
    if not model._base_manager.filter(pk=old["id"]).update(**old):
        model(**old).save(force_insert=True)


every_kind = pytest.mark.parametrize(
    "made",
    [
        a_membership,
        a_wider_membership,
        a_service_token,
        a_personal_token,
        a_trust,
        a_disabled_trust,
        a_group_mapping,
    ],
)


def kind_of(model: type[AuthenticatedRow]) -> RestoreSuspension:
    (kind,) = [each for each in suspendables() if each._model is model]
    return kind


def reported(row: AuthenticatedRow) -> list[str]:
    return [problem.kind for problem in access_rows() if str(row.uuid) in problem.object]


@every_kind
def test_an_older_state_that_was_put_back_is_never_released(
    cast: Cast, tmp_path: Path, settings: Settings, made: Callable[[Cast], Ended]
) -> None:
    settings.KEEPER_DATA_DIR = tmp_path / "data"
    row, end = made(cast)
    model = type(row)
    old = model._base_manager.values().get(pk=row.pk)
    end()
    put_back(old, model)
    backup = back_up(actor=OPERATOR, path=tmp_path / "made.kbk").path
    restore(backup, replace=True, despite_damage=True)

    kind = kind_of(model)
    # It is suspended like the others, and not on the list of what may be released.
    assert model._base_manager.filter(**{kind._field: None}).count() == 0
    out = StringIO()
    call_command("release", stdout=out)
    assert str(row.uuid) not in out.getvalue()
    with pytest.raises(CommandError, match="does not wait"):
        call_command("release", kind.kind, str(row.uuid), stdout=StringIO())
    assert reported(row) == ["replayed"]


@every_kind
def test_what_waited_and_was_ended_later_is_not_released_again(
    cast: Cast, made: Callable[[Cast], Ended]
) -> None:
    row, end = made(cast)
    model, root, since = type(row), cast.principal(cast.root), timezone.now()
    kind = kind_of(model)
    kind.suspend(actor=root, at=since, states={})
    waited = model._base_manager.values().get(pk=row.pk)
    kind.release(actor=root, uuid=row.uuid, since=since)
    for each in Membership.objects.filter(suspended_at=since):
        MEMBERSHIPS.release(actor=root, uuid=each.uuid, since=since)
    row.refresh_from_db()
    end()
    put_back(waited, model)
    with pytest.raises(Conflict, match="put back"):
        kind.release(actor=root, uuid=row.uuid, since=since)
    assert reported(row) == ["replayed"]
