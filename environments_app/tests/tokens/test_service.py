import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.authorization.policy import Principal, allows
from environments_app.authorization.principals import system_principal
from environments_app.errors import BadName, BadToken, Forbidden, InvalidField, Invisible
from environments_app.models import Role, ServiceToken
from environments_app.tests.cast import Cast
from environments_app.tokens import authentication
from environments_app.tokens import service as tokens

Events = Callable[..., list[AuditEvent]]
ADDRESS = "192.0.2.7"


def issue(cast: Cast, **options: object) -> tuple[ServiceToken, str]:
    fields = {"environment": cast.development, "role": "reader", "name": "ci"} | options
    return tokens.issue(actor=cast.principal(cast.alice), **fields)  # type: ignore[arg-type]


def enter(text: str, address: str = ADDRESS) -> Principal:
    return authentication.authenticate(text, address=address, request_id="r1")


def refused(text: str, address: str = ADDRESS) -> str:
    with pytest.raises(BadToken) as refusal:
        enter(text, address)
    assert str(refusal.value) == "The token is not valid."
    return refusal.value.reason


def test_it_lets_its_bearer_in(cast: Cast) -> None:
    token, text = issue(cast, prefix="pay")
    principal = enter(text)
    assert (principal.kind, principal.uuid, principal.name) == ("token", token.uuid, "ci")
    assert (principal.address, principal.request_id) == (ADDRESS, "r1")
    assert allows(principal, Action.SECRET_REVEAL, environment_id=cast.development.pk, name="pay/db")
    assert not allows(principal, Action.SECRET_REVEAL, environment_id=cast.development.pk, name="x")
    assert not allows(principal, Action.SECRET_REVEAL, environment_id=cast.production.pk, name="pay/db")


def test_its_secret_is_kept_nowhere(cast: Cast, events: Events) -> None:
    token, text = issue(cast)
    assert re.fullmatch(r"kpr_[A-Za-z0-9_-]{22}_[A-Za-z0-9_-]{43}", text)
    secret = text[-43:]
    stored = ServiceToken.objects.filter(pk=token.pk).values().get()
    assert secret not in str(stored)
    (event,) = events(Action.TOKEN_ISSUE)
    assert secret not in str(vars(event))
    assert token.secret_hash not in str(vars(event))


@pytest.mark.every_database
def test_it_takes_one_query(cast: Cast, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    _, text = issue(cast)
    enter(text)
    with django_assert_num_queries(1):
        enter(text)


def test_the_last_use_is_written_at_most_once_a_minute(
    cast: Cast, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    token, text = issue(cast)
    enter(text)
    token.refresh_from_db()
    assert token.last_used_address == ADDRESS
    assert token.is_authentic()
    earlier = timezone.now() - timedelta(seconds=61)
    ServiceToken.objects.update(last_used_at=earlier)
    with django_assert_num_queries(2):
        enter(text, "192.0.2.8")
    token.refresh_from_db()
    assert token.last_used_address == "192.0.2.8"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "kpr_",
        "kpr_a_b",
        "Bearer x",
        "kpr_" + "a" * 22 + "_" + "b" * 44,
        "kpr_" + "ä" * 22 + "_" + "b" * 43,
    ],
)
def test_malformed_text_opens_nothing(db: None, text: str) -> None:
    assert refused(text) == "malformed-token"


def test_an_unknown_or_wrong_secret_opens_nothing(cast: Cast) -> None:
    _, text = issue(cast)
    assert refused("kpr_" + "a" * 22 + text[-44:]) == "unknown-token"
    assert refused(text[:-43] + "b" * 43) == "unknown-token"


@pytest.mark.every_database
def test_the_public_id_is_compared_byte_for_byte(cast: Cast) -> None:
    _, text = issue(cast)
    assert refused("kpr_" + text[4:26].swapcase() + text[26:]) == "unknown-token"


def test_revoking_takes_effect_on_the_next_call(cast: Cast, events: Events) -> None:
    token, text = issue(cast)
    enter(text)
    tokens.revoke(actor=cast.principal(cast.alice), token=token)
    assert refused(text) == "revoked-token"
    tokens.revoke(actor=cast.principal(cast.alice), token=token)
    assert len(events(Action.TOKEN_REVOKE)) == 1


def test_it_expires(cast: Cast) -> None:
    token, text = issue(cast, expires_at=timezone.now() + timedelta(hours=1))
    enter(text)
    token.expires_at = timezone.now()
    token.save()
    assert refused(text) == "expired-token"


@pytest.mark.parametrize(
    ("cidrs", "address", "inside"),
    [
        (["192.0.2.0/24"], "192.0.2.7", True),
        (["192.0.2.0/24"], "198.51.100.1", False),
        (["192.0.2.0/24"], "::ffff:192.0.2.7", True),
        (["198.51.100.1", "2001:db8::/32"], "2001:db8::1", True),
        (["192.0.2.0/24"], "", False),
        (["192.0.2.0/24"], "unix", False),
    ],
)
def test_it_is_good_in_its_networks_only(cast: Cast, cidrs: list[str], address: str, inside: bool) -> None:
    _, text = issue(cast, cidrs=cidrs)
    if inside:
        assert enter(text, address).name == "ci"
    else:
        assert refused(text, address) == "token-from-elsewhere"


@pytest.mark.every_database
@pytest.mark.parametrize(
    ("column", "value"),
    [("role", "manager"), ("prefix", "x"), ("cidrs", "[]"), ("expires_at", None), ("revoked_at", None), ("name", "root"), ("pepper_id", "p2")],
)  # fmt: skip
def test_an_edited_row_opens_nothing_and_is_recorded(
    cast: Cast, events: Events, sql: Callable[..., None], settings: Settings, column: str, value: object
) -> None:
    settings.KEEPER_TOKEN_PEPPERS = ["p1:" + "a" * 32, "p2:" + "a" * 32]
    token, text = issue(cast, cidrs=["192.0.2.0/24"], expires_at=timezone.now() + timedelta(hours=1))
    if column == "revoked_at":
        tokens.revoke(actor=cast.principal(cast.alice), token=token)
    sql(f"UPDATE environments_app_servicetoken SET {column} = %s WHERE id = %s", value, token.pk)
    assert refused(text) == "forged-token"
    assert events(Action.INTEGRITY_VIOLATION, object_kind="service-token")


def test_a_planted_hash_opens_nothing(cast: Cast, sql: Callable[..., None]) -> None:
    token, _ = issue(cast)
    other, text = issue(cast, name="other")
    sql(
        "UPDATE environments_app_servicetoken SET secret_hash = %s WHERE id = %s", other.secret_hash, token.pk
    )
    assert refused(f"kpr_{token.public_id}_{text[-43:]}") == "forged-token"


def test_peppers_are_rotated_by_their_ids(cast: Cast, settings: Settings) -> None:
    settings.KEEPER_TOKEN_PEPPERS = ["old:" + "a" * 32]
    _, old = issue(cast)
    settings.KEEPER_TOKEN_PEPPERS = ["new:" + "b" * 32, "old:" + "a" * 32]
    token, new = issue(cast)
    assert token.pepper_id == "new"
    assert enter(old).name == "ci"
    assert enter(new).name == "ci"
    settings.KEEPER_TOKEN_PEPPERS = ["new:" + "b" * 32]
    assert refused(old) == "unknown-token"


def test_the_admin_role_reads_no_value(cast: Cast) -> None:
    _, text = tokens.issue(actor=cast.principal(cast.root), environment=None, role="admin", name="ops")
    principal = enter(text)
    assert principal.is_admin
    assert allows(principal, Action.MEMBER_GRANT, environment_id=cast.development.pk)
    assert not allows(principal, Action.SECRET_REVEAL, environment_id=cast.development.pk, name="a")


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"role": "admin"}, "role"),
        ({"role": "owner"}, "role"),
        ({"name": ""}, "name"),
        ({"name": " ci"}, "name"),
        ({"name": "c\ni"}, "name"),
        ({"name": "c" * 101}, "name"),
        ({"cidrs": ["10.0.0.1/8"]}, "cidrs"),
        ({"cidrs": ["10.0.0.0/8"] * 51}, "cidrs"),
        ({"expires_at": timezone.now() - timedelta(hours=1)}, "expires_at"),
        ({"expires_at": (timezone.now() + timedelta(hours=1)).replace(tzinfo=None)}, "expires_at"),
    ],
)
def test_it_refuses_what_makes_no_token(cast: Cast, options: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidField) as refusal:
        issue(cast, **options)
    assert refusal.value.field == field
    assert not ServiceToken.objects.exists()


def test_it_refuses_a_prefix_that_is_no_path(cast: Cast) -> None:
    with pytest.raises(BadName):
        issue(cast, prefix="a//b")


def test_who_may_issue(cast: Cast) -> None:
    with pytest.raises(Forbidden):
        tokens.issue(actor=cast.principal(cast.erin), environment=cast.development, role="viewer", name="x")
    with pytest.raises(Invisible):
        tokens.issue(
            actor=cast.principal(cast.charlie), environment=cast.development, role="viewer", name="x"
        )
    with pytest.raises(Forbidden):
        tokens.issue(actor=cast.principal(cast.alice), environment=None, role="admin", name="x")


def test_an_administrator_who_makes_a_key_to_values_breaks_the_glass(cast: Cast, events: Events) -> None:
    root = cast.principal(cast.root)
    tokens.issue(actor=root, environment=cast.development, role="viewer", name="names")
    assert not events(Action.BREAK_GLASS)
    tokens.issue(actor=root, environment=cast.development, role="reader", name="values")
    (event,) = events(Action.BREAK_GLASS)
    assert event.object_name == "values"


def test_a_token_issues_on_behalf_of_its_environment(cast: Cast) -> None:
    actor = system_principal(is_admin=True)
    token, _ = tokens.issue(actor=actor, environment=cast.development, role=Role.MANAGER, name="boss")
    assert token.created_by is None


def test_it_is_found_within_its_environment_only(cast: Cast) -> None:
    token, _ = issue(cast)
    alice = cast.principal(cast.alice)
    assert tokens.find_token(actor=alice, environment=cast.development, id=token.pk) == token
    with pytest.raises(Invisible):
        tokens.find_token(actor=alice, environment=cast.production, id=token.pk)


@pytest.mark.parametrize("name", ["system", "Keeper", "ａｎｏｎｙｍｏｕｓ", "identity provider", "(System)"])
def test_no_token_is_called_as_keeper_itself(cast: Cast, name: str) -> None:
    with pytest.raises(BadName):
        issue(cast, name=name)
    assert not ServiceToken.objects.exists()
