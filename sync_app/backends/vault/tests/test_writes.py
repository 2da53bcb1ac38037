"""What is written over, deleted and found again in Vault: only the very secret and version that was seen."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from sync_app.backends.base import Backend
from sync_app.backends.capabilities import Grant
from sync_app.backends.observations import Mark, SecretMetadata
from sync_app.backends.vault.backend import VaultKv2
from sync_app.backends.vault.connection import VaultConnection
from sync_app.backends.vault.tests.world import VaultWorld
from sync_app.domain.reconciliation import Presence
from sync_app.errors import ChangedSinceRead, NameReserved, RequestRefused

MARK = Mark(deployment=UUID(int=1), target=UUID(int=2), secret=UUID(int=3))
OTHER = replace(MARK, target=UUID(int=4))


@pytest.fixture
def backend(vault: VaultWorld) -> Iterator[Backend]:
    with vault.backend() as made:
        yield made


def seen_of(backend: Backend, value: str = "one") -> SecretMetadata:
    return backend.create("db", value, mark=MARK, token="1")


def path(vault: VaultWorld, name: str = "db") -> str:
    return f"{vault.prefix}/{name}"


def theirs(vault: VaultWorld, value: str) -> None:
    vault.write(path(vault), value)


def test_a_deleted_name_is_reserved(vault: VaultWorld, backend: Backend) -> None:
    theirs(vault, "one")
    vault.remove(path(vault))
    with pytest.raises(NameReserved, match="undelete or remove"):
        backend.create("db", "ours", mark=MARK, token="1")
    assert vault.labels(path(vault)) == {}


def test_a_name_with_our_mark_that_others_wrote_on_is_no_attempt_of_ours(
    vault: VaultWorld, backend: Backend
) -> None:
    seen_of(backend)
    theirs(vault, "two")
    with pytest.raises(ChangedSinceRead) as caught:
        backend.create("db", "ours", mark=MARK, token="1")
    assert type(caught.value) is ChangedSinceRead
    assert vault.value(path(vault)) == "two"


@pytest.mark.parametrize(
    ("others", "found"),
    [
        # An earlier attempt got through.
        (["ours"], True),
        # The next version has another value, or the value is of a later one.
        (["theirs"], False),
        (["theirs", "ours"], False),
    ],
)
def test_a_repeated_write_finds_the_next_version_with_its_value_alone(
    vault: VaultWorld, backend: Backend, others: list[str], found: bool
) -> None:
    seen = seen_of(backend)
    for value in others:
        theirs(vault, value)
    if found:
        made = backend.update(seen, "ours", token="2", repeated=True)
        assert made.version.startswith("2")
    else:
        with pytest.raises(ChangedSinceRead):
            backend.update(seen, "ours", token="2", repeated=True)
    assert vault.value(path(vault)) == others[-1]


def test_the_value_of_a_repeated_write_under_another_mark_is_not_ours(
    vault: VaultWorld, backend: Backend
) -> None:
    seen = seen_of(backend)
    theirs(vault, "ours")
    backend.mark(seen, OTHER)
    with pytest.raises(ChangedSinceRead):
        backend.update(seen, "ours", token="2", repeated=True)


def test_a_version_that_was_destroyed_since_is_not_written_over(vault: VaultWorld, backend: Backend) -> None:
    seen = seen_of(backend)
    vault.kv.destroy_secret_versions(path(vault), [1], mount_point="secret")
    with pytest.raises(ChangedSinceRead):
        backend.update(seen, "ours", token="2")
    gone = backend.get_metadata("db")
    assert (gone.presence, gone.version) == (Presence.DELETED, seen.version)
    # Seen as deleted, it holds nothing that could be lost.
    assert backend.update(replace(seen, presence=Presence.DELETED), "ours", token="2").version.startswith("2")


def test_what_was_deleted_or_is_another_secret_by_now_is_not_deleted(
    vault: VaultWorld, backend: Backend
) -> None:
    seen = backend.get_metadata(seen_of(backend).name)
    for other in (replace(seen, remote_id="2020-01-01T00:00:00Z"), replace(seen, mark=OTHER)):
        with pytest.raises(ChangedSinceRead):
            backend.delete(other)
    assert vault.value(path(vault)) == "one"
    backend.delete(seen)
    with pytest.raises(ChangedSinceRead):
        backend.delete(seen)


def test_a_server_that_lists_no_metadata_is_asked_for_each_name(
    vault: VaultWorld, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"s{number}" for number in range(6)]
    for name in names:
        vault.write(path(vault, name), "x")
    asked: list[str] = []
    request = VaultConnection.request

    def without(self: VaultConnection, method: str, place: str, **options: Any) -> Any:
        if "/detailed-metadata/" in place:
            asked.append(place)
            raise RequestRefused("Vault refused GET (405)")
        return request(self, method, place, **options)

    monkeypatch.setattr(VaultConnection, "request", without)
    assert backend.batch_get_metadata(names) == {}
    assert sorted(each.name for each in backend.list_secrets()) == names
    # It is found out once.
    assert len(asked) == 1


def test_few_names_are_not_worth_a_list(vault: VaultWorld, backend: Backend) -> None:
    names = [f"s{number}" for number in range(4)]
    for name in names:
        vault.write(path(vault, name), "x")
    assert backend.batch_get_metadata(names[:3]) == {}
    assert backend.batch_get_metadata(names).keys() == {*names}


def test_a_token_that_may_not_ask_what_it_may_do_proves_nothing(vault: VaultWorld) -> None:
    made = vault.client.auth.token.create(policies=["none"], no_default_policy=True)
    rules = 'path "secret/*" { capabilities = ["read"] } path "auth/token/lookup-self" { capabilities = ["read"] }'
    vault.client.sys.create_or_update_policy("none", rules)
    with vault.backend(token=made["auth"]["client_token"]) as backend:
        assert {each.grant for each in backend.probe_permissions()} == {Grant.UNPROVEN}


@pytest.mark.parametrize(
    ("system", "namespace", "found"),
    [
        ("vault/c1/root/secret", "root", "vault/c1/secret"),
        ("vault/c1/root/secret", "root/", "vault/c1/secret"),
        ("vault/c1/secret", "root", "vault/c1/secret"),
        # A namespace, or a mount, of that name.
        ("vault/c1/root/secret", "", "vault/c1/root/secret"),
        ("vault/c1/team/secret", "team", "vault/c1/team/secret"),
        ("other/c1/root/secret", "root", "other/c1/root/secret"),
    ],
)
def test_the_namespace_root_is_none(system: str, namespace: str, found: str) -> None:
    assert VaultKv2.normalize_system_id(system, {"namespace": namespace}) == found


@pytest.mark.parametrize(
    ("rule", "remote", "may_differ"),
    [
        ("keys", '{"a": 1}', True),
        ("merge", '{"a": 1}', True),
        ("keys", "text", False),
        ("value", '{"a": 1}', False),
    ],
)
def test_vault_stores_the_members_of_an_object_without_their_form(
    rule: str, remote: str, may_differ: bool
) -> None:
    backend = VaultKv2(
        destination={"address": "https://vault.example", "objects": rule}, credentials={"token": "t"}
    )
    assert backend.reformats(remote) is may_differ
