"""How a value becomes the keys of a secret in Vault, and comes back, on a real OpenBao."""

import json
from collections.abc import Callable
from uuid import UUID

import pytest

from sync_app.backends.base import Backend
from sync_app.backends.objects import includes, objects_equal, parse_object
from sync_app.backends.observations import Mark
from sync_app.backends.vault.tests.world import VaultWorld
from sync_app.errors import ChangedSinceRead, RequestRefused, ValueUnusable

TOKEN = "0123456789abcdef0123456789abcdef"
MARK = Mark(deployment=UUID(int=1), target=UUID(int=2), secret=UUID(int=3))
LOGIN = '{ "username": "app",\n "password": "p\\u00e4ss" }'
RULES = ["keys", "merge", "value"]


@pytest.fixture(params=RULES)
def rule(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_target_that_is_older_than_the_rule_writes_one_text(vault: VaultWorld) -> None:
    with vault.backend() as backend:
        backend.create("a", LOGIN, mark=MARK, token=TOKEN)
    assert vault.content(f"{vault.prefix}/a") == {"value": LOGIN}


@pytest.mark.parametrize("chosen", ["keys", "merge"])
def test_the_members_of_an_object_are_keys(vault: VaultWorld, chosen: str) -> None:
    with vault.backend(objects=chosen) as backend:
        backend.create("a", LOGIN, mark=MARK, token=TOKEN)
        copy = backend.read_value("a")
    assert vault.content(f"{vault.prefix}/a") == {"username": "app", "password": "päss"}
    assert copy is not None
    assert copy.value == '{"password": "päss", "username": "app"}'
    assert backend.values_equal(LOGIN, copy.value)


VALUES = [
    "plain",
    "",
    "{no json",
    '{"a": 1, "a": 2}',
    '["a", 1]',
    '"text"',
    '{"value": "text"}',
    "{}",
    '{"value": 1}',
    '{"": "", "n": null, "b": [true, {"deep": 1.5}], "e": 1e3}',
]


@pytest.mark.parametrize("value", VALUES)
def test_every_value_comes_back(vault: VaultWorld, rule: str, value: str) -> None:
    with vault.backend(objects=rule) as backend:
        made = backend.create("a", "before", mark=MARK, token=TOKEN)
        backend.update(made, value, token=f"2{TOKEN}")
        copy = backend.read_value("a")
        assert copy is not None
        if rule == "merge" and parse_object(value) is not None:
            assert backend.values_equal(value, copy.value)
        elif parse_object(value) is None or rule == "value":
            assert copy.value == value
        else:
            assert json.loads(copy.value) == json.loads(value)


@pytest.mark.parametrize(
    "number", ["9007199254740993", "12345678901234567890", "0.1234567890123456789", "1e400", "1" * 5000]
)
def test_a_number_that_vault_would_round_is_refused(vault: VaultWorld, number: str) -> None:
    with vault.backend(objects="keys") as backend:
        with pytest.raises(ValueUnusable) as caught:
            backend.create("a", f'{{"id": {number}}}', mark=MARK, token=TOKEN)
        assert number not in str(caught.value)
        assert list(backend.list_secrets()) == []


def test_keys_of_other_writers_stay(vault: VaultWorld) -> None:
    path = f"{vault.prefix}/shared"
    vault.put(path, {"theirs": "1", "ours": "old"})
    with vault.backend(objects="merge") as backend:
        seen = backend.get_metadata("shared")
        backend.mark(seen, MARK)
        after = backend.update(backend.get_metadata("shared"), '{"ours": "new"}', token=TOKEN, known=True)
        assert vault.content(path) == {"theirs": "1", "ours": "new"}
        backend.update(after, "text", token=f"2{TOKEN}")
        assert vault.content(path) == {"theirs": "1", "ours": "new", "value": "text"}
        with pytest.raises(RequestRefused, match="Delete it in Vault"):
            backend.delete(backend.get_metadata("shared"))
    assert vault.content(path)["theirs"] == "1"


def test_a_key_that_came_between_is_not_lost(vault: VaultWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    path = f"{vault.prefix}/shared"
    with vault.backend(objects="merge") as backend:
        made = backend.create("shared", '{"ours": "1"}', mark=MARK, token=TOKEN)
        read: Callable[..., object] = backend._read_version  # type: ignore[attr-defined]

        def overtaken(name: str, **asked: str) -> object:
            found = read(name, **asked)
            vault.put(path, {"ours": "1", "theirs": "just now"})
            return found

        monkeypatch.setattr(backend, "_read_version", overtaken)
        with pytest.raises(ChangedSinceRead):
            backend.update(made, '{"ours": "2"}', token=f"2{TOKEN}", known=True)
    assert vault.content(path) == {"ours": "1", "theirs": "just now"}


def test_what_a_write_destroys_is_put_back_key_by_key(vault: VaultWorld) -> None:
    with vault.backend(objects="value") as backend:
        vault.put(f"{vault.prefix}/keys", {"a": "1", "b": "2"})
        vault.put(f"{vault.prefix}/text", {"value": '{"a": "1"}'})
        assert _kept(backend, "keys") == {"a": "1", "b": "2"}
        assert _kept(backend, "text") == {"value": '{"a": "1"}'}


def _kept(backend: Backend, name: str) -> object:
    from sync_app.backends.vault.content import to_kept_content

    copy = backend.read_value(name)
    assert copy is not None
    assert copy.value not in repr(copy)
    return to_kept_content(copy.raw)


def test_true_is_not_one() -> None:
    assert not objects_equal({"a": True}, {"a": 1})
    assert objects_equal({"a": 1, "b": [1.0]}, {"b": [1], "a": 1.0})
    assert not includes({"a": 1}, {"a": 1, "b": 2})
    assert includes({"a": 1, "b": 2}, {"a": 1})
