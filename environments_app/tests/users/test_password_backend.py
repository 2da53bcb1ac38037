from collections.abc import Callable
from unittest import mock

import pytest
from django.contrib.auth import hashers

from environments_app.models import User
from environments_app.tests.cast import PASSWORD, Cast
from environments_app.users.password_backend import LocalBackend

enter = LocalBackend().authenticate


@pytest.mark.parametrize("name", ["alice", "Alice", "ＡＬＩＣＥ"])
def test_any_spelling_of_the_name_signs_in(cast: Cast, name: str) -> None:
    assert enter(None, username=name, password=PASSWORD) == cast.alice


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("alice", "wrong"),
        ("nobody", PASSWORD),
        ("аlice", PASSWORD),
        ("bob", PASSWORD),
        ("", ""),
        ("alice", None),
    ],
)
def test_nothing_else_does(cast: Cast, name: str, password: str | None) -> None:
    assert enter(None, username=name, password=password) is None


@pytest.mark.parametrize("name", ["alice", "nobody", "аlice", "bob"])
def test_the_hasher_runs_whoever_is_named(cast: Cast, name: str) -> None:
    hasher = hashers.get_hasher()
    with (
        mock.patch.object(type(hasher), "encode", autospec=True, side_effect=type(hasher).encode) as encode,
        mock.patch.object(type(hasher), "verify", autospec=True, side_effect=type(hasher).verify) as verify,
    ):
        enter(None, username=name, password="wrong-password")
    assert encode.call_count + verify.call_count >= 1


def test_someone_inactive_stays_outside(cast: Cast) -> None:
    cast.alice.is_active = False
    cast.alice.save()
    assert enter(None, username="alice", password=PASSWORD) is None
    assert LocalBackend().get_user(cast.alice.pk) is None


def test_a_planted_password_hash_lets_nobody_in(cast: Cast, sql: Callable[..., None]) -> None:
    planted = hashers.make_password("planted-password")
    sql("UPDATE environments_app_user SET password = %s WHERE id = %s", planted, cast.root.pk)
    assert enter(None, username="root", password="planted-password") is None
    assert LocalBackend().get_user(cast.root.pk) is None


def test_a_better_hash_never_makes_a_forged_row_genuine(cast: Cast, sql: Callable[..., None]) -> None:
    weak = hashers.make_password(PASSWORD)
    sql("UPDATE environments_app_user SET role = 'admin', password = %s WHERE id = %s", weak, cast.alice.pk)
    with mock.patch.object(type(hashers.get_hasher()), "must_update", return_value=True):
        assert enter(None, username="alice", password=PASSWORD) is None
    assert not User.objects.get(pk=cast.alice.pk).is_authentic()


def test_a_session_ends_with_the_account(cast: Cast, sql: Callable[..., None]) -> None:
    assert LocalBackend().get_user(cast.root.pk) == cast.root
    sql("UPDATE environments_app_user SET role = 'user' WHERE id = %s", cast.root.pk)
    assert LocalBackend().get_user(cast.root.pk) is None
    assert LocalBackend().get_user(0) is None
