"""Secrets of a real OpenBao with all their versions, carried here and asked for by their old clients' requests."""

import json
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Any
from uuid import uuid4

import hvac
import pytest
from django.test import Client
from django.utils import timezone

from audit_app.integrity.check_registry import run_checks
from audit_app.verification.stream_verifier import verify
from environments_app.models import Role
from environments_app.tests.cast import Cast
from environments_app.tokens import service as tokens
from secrets_app.models import Secret, VersionOrigin
from secrets_app.services import write
from sync_app.errors import PermissionMissing, TargetUnreachable
from sync_app.migration import service
from sync_app.migration.placing import How, Rule
from sync_app.migration.sources import vault
from sync_app.models import Migration, MigrationLine, MountRule, SourceCredentials
from sync_app.models.migration import Choice, LineState, MigrationState, Word
from sync_app.tests.migration.driving import apply, value, words, work

pytestmark = pytest.mark.every_database

UNICODE = 'pässwörd 🔑 \u2028 <&> "quoted" \\ \t'


class OldVault:
    """Two mounts of their own in a real OpenBao."""

    def __init__(self, url: str, token: str) -> None:
        self.url, self.token = url, token
        self.client = hvac.Client(url=url, token=token)
        self.kv, self.old = f"kv-{uuid4().hex[:8]}", f"old-{uuid4().hex[:8]}"
        self.client.sys.enable_secrets_engine("kv", path=self.kv, options={"version": "2"})
        self.client.sys.enable_secrets_engine("kv", path=self.old, options={"version": "1"})
        self._wait()

    def _wait(self) -> None:
        """Wait until the mount takes versions, which is a moment after it was made."""
        for _ in range(100):
            try:
                self.client.secrets.kv.v2.read_configuration(mount_point=self.kv)
                self.client.secrets.kv.v2.list_secrets("", mount_point=self.kv)
            except hvac.exceptions.InvalidPath:
                return
            except hvac.exceptions.VaultError:
                time.sleep(0.05)

    def put(self, path: str, *contents: dict[str, Any]) -> None:
        for content in contents:
            self.client.secrets.kv.v2.create_or_update_secret(path, content, mount_point=self.kv)

    def delete(self, path: str, *numbers: int) -> None:
        self.client.secrets.kv.v2.delete_secret_versions(path, list(numbers), mount_point=self.kv)

    def destroy(self, path: str, *numbers: int) -> None:
        self.client.secrets.kv.v2.destroy_secret_versions(path, list(numbers), mount_point=self.kv)

    def metadata(self, path: str) -> dict[str, Any]:
        reply = self.client.secrets.kv.v2.read_secret_metadata(path, mount_point=self.kv)
        return dict(reply["data"])

    def answer(self, path: str, number: int) -> tuple[int, Any]:
        reply = self.client.adapter.get(f"/v1/{self.kv}/data/{path}?version={number}", raise_exception=False)
        response = reply if not isinstance(reply, dict) else None
        return (
            (200, reply["data"]) if response is None else (response.status_code, response.json().get("data"))
        )


@pytest.fixture
def old(openbao: tuple[str, str]) -> Iterator[OldVault]:
    vault = OldVault(*openbao)
    yield vault
    for mount in (vault.kv, vault.old):
        vault.client.sys.disable_secrets_engine(mount)


def rules(cast: Cast, old: OldVault) -> list[Rule]:
    return [
        Rule(place=old.kv, how=How.FIRST_FOLDER, environments={"dev": str(cast.development.uuid)}),
        Rule(place=old.old, how=How.ALL, environments={"": str(cast.development.uuid)}, prefix="v1"),
    ]


def start(cast: Cast, old: OldVault, **given: Any) -> Migration:
    found: dict[str, Any] = {
        "actor": cast.principal(cast.erin),
        "source": "vault",
        "settings": {"address": old.url},
        "credentials": {"token": old.token},
        "rules": rules(cast, old),
        **given,
    }
    return service.start(**found)


def fill(old: OldVault) -> None:
    old.put("dev/app/text", {"value": "one"}, {"value": UNICODE}, {"value": "x" * 65_536})
    old.put("dev/app/json", {"user": "a", "nested": {"b": [1, None, True]}}, {"value": "was an object"})
    old.put("dev/app/numbers", {"a": 1.10, "b": 12345678901234567890123, "c": 1e3, "d": 10**18})
    old.put("dev/app/states", *({"value": f"v{number}"} for number in range(1, 6)))
    old.delete("dev/app/states", 2)
    old.destroy("dev/app/states", 3)
    old.put("dev/app/trimmed", *({"value": f"v{number}"} for number in range(1, 14)))
    old.put("dev/app/empty", {"value": ""}, {})
    old.put("dev/app", {"value": "a name that is a folder as well"})
    old.put("dev/sp ace", {"value": "renamed"})
    old.put("dev/sp_ace", {"value": "not renamed"})
    old.put("dev/gone", {"value": "deleted"})
    old.delete("dev/gone", 1)
    old.put("top", {"value": "in no folder"})
    old.put("other/x", {"value": "in a folder without a rule"})
    old.put("dev/big", {"value": "x" * 65_537})
    old.client.secrets.kv.v2.update_metadata(
        "dev/app/text",
        mount_point=old.kv,
        custom_metadata={"owner": "shop", "tier": "Gold", "note": "the text"},
    )
    old.client.secrets.kv.v1.create_or_update_secret("one", {"value": "first"}, mount_point=old.old)
    old.client.secrets.kv.v1.create_or_update_secret("a/two", {"k": "v", "ttl": "1h"}, mount_point=old.old)


def same(source: Any, here: Any) -> bool:
    """Compare trees, numbers by their text."""
    return json.dumps(source, sort_keys=True) == json.dumps(here, sort_keys=True)


def test_every_version_is_what_the_old_vault_answers(cast: Cast, old: OldVault, client: Client) -> None:
    fill(old)
    migration = work(start(cast, old))
    assert (migration.state, migration.error) == (MigrationState.PLANNED, "")
    words = {line.path: (line.word, line.reason) for line in MigrationLine.objects.filter(place=old.kv)}
    assert words["dev/sp ace"][0] == Word.RENAMED
    assert words["dev/gone"] == (Word.SKIPPED, "its current version is deleted in the source")
    assert [words[path][0] for path in ("top", "other/x", "dev/big")] == [Word.REFUSED] * 3
    assert not Secret.objects.exists()
    migration = apply(cast, migration)
    assert (migration.state, migration.error) == (MigrationState.DONE, "")
    _, secret = tokens.issue(
        actor=cast.principal(cast.alice), environment=cast.development, name="old-client", role=Role.READER
    )
    headers = {"X-Vault-Token": secret}
    compared = 0
    for path in ("app/text", "app/json", "app/numbers", "app/states", "app/trimmed", "app/empty", "app"):
        facts = old.metadata(f"dev/{path}")
        ours = client.get(f"/vault/v1/development/metadata/{path}", headers=headers).json()["data"]
        assert ours["current_version"] == facts["current_version"]
        assert ours["versions"].keys() == facts["versions"].keys()
        for number, version in facts["versions"].items():
            told = ours["versions"][number]
            assert told["created_time"][:26] == version["created_time"][:26].rstrip("Z").ljust(26, "0")
            assert told["destroyed"] == version["destroyed"]
            assert bool(told["deletion_time"]) == bool(version["deletion_time"])
        for number in range(1, facts["current_version"] + 1):
            status, data = old.answer(f"dev/{path}", number)
            answer = client.get(f"/vault/v1/development/data/{path}?version={number}", headers=headers)
            assert answer.status_code == status, (path, number)
            if status == 200:
                assert same(data["data"], answer.json()["data"]["data"])
                assert answer.json()["data"]["metadata"]["version"] == number
                compared += 1
    assert compared == 22
    plain = client.get("/vault/v1/development/data/app/text", headers=headers).json()["data"]["metadata"]
    there = old.metadata("dev/app/text")
    assert plain["created_time"][:26] == there["versions"]["3"]["created_time"][:26]
    text = Secret.objects.get(name="app/text")
    assert (text.owner, text.description, text.tags) == ("shop", "the text", ["tier:gold"])
    assert text.custom_metadata == {"owner": "shop", "tier": "Gold", "note": "the text"}
    assert {each.name for each in Secret.objects.filter(name__startswith="v1/")} == {"v1/one", "v1/a/two"}
    origins = dict(VersionOrigin.objects.values_list("path", "version__secret__name"))
    assert (origins["dev/sp_ace"], origins["dev/sp ace"]) == ("sp_ace", "sp_ace-2")
    assert not SourceCredentials.objects.exists()
    assert not [*verify(), *run_checks()]


def test_repeated_it_carries_what_is_newer_and_overwrites_nothing(cast: Cast, old: OldVault) -> None:
    for number in range(6):
        old.put(f"dev/s{number}", {"value": "one"}, {"value": "two"})
    old.client.secrets.kv.v1.create_or_update_secret("one", {"value": "first"}, mount_point=old.old)
    assert apply(cast, work(start(cast, old))).state == MigrationState.DONE
    alice = cast.principal(cast.alice)
    old.put("dev/s1", {"value": "three"}, {"value": "four"})
    write.update(actor=alice, secret=Secret.objects.get(name="s2"), value="Keeper's")
    old.put("dev/s3", {"value": "three"})
    write.update(actor=alice, secret=Secret.objects.get(name="s3"), value="Keeper's")
    old.client.secrets.kv.v2.delete_metadata_and_all_versions("dev/s4", mount_point=old.kv)
    old.put("dev/s4", {"value": "another one"})
    old.put("dev/new", {"value": "new"})
    old.client.secrets.kv.v1.create_or_update_secret("one", {"value": "second"}, mount_point=old.old)
    migration = work(start(cast, old))
    words = dict(MigrationLine.objects.filter(migration=migration).values_list("path", "word"))
    assert words == {
        "dev/s0": Word.SAME, "dev/s1": Word.NEWER, "dev/s2": Word.SAME, "dev/s3": Word.CHANGED,
        "dev/s4": Word.CHANGED, "dev/s5": Word.SAME, "dev/new": Word.NEW, "one": Word.NEWER,
    }  # fmt: skip
    taken = MigrationLine.objects.get(migration=migration, path="dev/s4")
    service.choose(actor=cast.principal(cast.erin), migration=migration, line=taken, choice=Choice.TAKE)
    assert apply(cast, migration).state == MigrationState.DONE
    numbers = {
        secret.name: [*secret.versions.order_by("number").values_list("number", flat=True)]
        for secret in Secret.objects.all()
    }
    assert numbers == {
        "s0": [1, 2], "s1": [1, 2, 3, 4], "s2": [1, 2, 3], "s3": [1, 2, 3], "s4": [1, 2, 3], "s5": [1, 2],
        "new": [1], "v1/one": [1, 2],
    }  # fmt: skip
    assert not VersionOrigin.objects.filter(version__secret__name="s3", version__number=3).exists()
    assert VersionOrigin.objects.get(version__secret__name="s4", version__number=3).number == 1
    again = work(start(cast, old))
    assert set(MigrationLine.objects.filter(migration=again).values_list("path", "word")) == {
        *((f"dev/s{number}", Word.SAME) for number in (0, 1, 2, 4, 5)),
        ("dev/s3", Word.CHANGED), ("dev/new", Word.SAME), ("one", Word.SAME),
    }  # fmt: skip
    assert not [*verify(), *run_checks()]


def test_what_changed_since_the_plan_is_left(cast: Cast, old: OldVault) -> None:
    for name in ("a", "b", "c", "d"):
        old.put(f"dev/{name}", {"value": "one"})
    migration = work(start(cast, old))
    old.put("dev/b", {"value": "two"})
    write.create(
        actor=cast.principal(cast.alice),
        environment=cast.development,
        name="c",
        secret_type=None,
        value="mine",
    )
    MigrationLine.objects.filter(path="dev/d").update(name="elsewhere")
    apply(cast, migration)
    states = dict(MigrationLine.objects.values_list("path", "state"))
    assert states == {
        "dev/a": LineState.CARRIED, "dev/b": LineState.LEFT, "dev/c": LineState.LEFT, "dev/d": LineState.LEFT,
    }  # fmt: skip
    assert {*Secret.objects.values_list("name", flat=True)} == {"a", "c"}
    assert Secret.objects.get(name="c").current_number == 1


def start_by_fields(cast: Cast, old: OldVault, *rules: Rule) -> Migration:
    everything = [Rule(place=old.kv, how=How.ALL, environments={"": str(cast.development.uuid)})]
    return service.start(
        actor=cast.principal(cast.alice), source="vault", settings={"address": old.url, "fields": "each"},
        credentials={"token": old.token}, rules=[*rules] or everything,
    )  # fmt: skip


def test_each_field_becomes_a_secret_with_the_versions_that_have_it(cast: Cast, old: OldVault) -> None:
    old.put("app/db", {"user": "a"}, {"user": "a", "pass": "one"}, {"user": "b", "pass": "two", "gone": "x"})
    nested = {"host": "h", "ports": [1, 2.5], "deep": {"a": {"b": None}}}
    old.put("app/db", {"user": "b", "pass": "three", "nested": nested, "n": 7, "on": True, "a/b%2F": UNICODE})
    old.delete("app/db", 3)
    old.put("app/none", {})
    old.put("app/empty", {"text": "", "null": None})
    old.put("gone", {"a": "1"})
    old.delete("gone", 1)
    migration = work(start_by_fields(cast, old))
    lines = {line.path: (str(line.word), line.reason) for line in MigrationLine.objects.all()}
    assert lines["app/none/"] == (Word.SKIPPED, "it has no fields")
    assert lines["gone/"] == (Word.SKIPPED, "its current version is deleted in the source")
    assert {lines[f"app/empty/{each}"][0] for each in ("text", "null")} == {Word.REFUSED}
    apply(cast, migration)
    carried = {each.name: each for each in Secret.objects.filter(live=True).select_related("environment")}
    assert carried.keys() == {
        "app/db/user", "app/db/pass", "app/db/nested", "app/db/n", "app/db/on", "app/db/a_2Fb_252F",
    }  # fmt: skip

    def values(name: str) -> dict[int, str]:
        secret = carried[name]
        numbers = secret.versions.order_by("number").values_list("number", flat=True)
        return {number: value(cast, name, number) for number in numbers if not secret.rules.state(number)}

    assert values("app/db/user") == {1: "a", 2: "a", 4: "b"}
    assert values("app/db/pass") == {2: "one", 4: "three"}
    assert values("app/db/a_2Fb_252F") == {4: UNICODE}
    assert (values("app/db/n"), values("app/db/on")) == ({4: "7"}, {4: "true"})
    assert json.loads(values("app/db/nested")[4]) == nested
    assert (carried["app/db/nested"].secret_type, carried["app/db/pass"].rules.state(3)) == (
        "JSON",
        "destroyed",
    )
    # Nothing is known of the deleted version from before the field.
    assert [*carried["app/db/n"].versions.values_list("number", flat=True)] == [4]
    assert not MountRule.objects.exists()
    # Again: what is newer, field by field, and no field that has gone.
    assert set(words(work(start_by_fields(cast, old))).values()) <= {Word.SAME, Word.SKIPPED, Word.REFUSED}
    old.put("app/db", {"pass": "four"})
    write.update(actor=cast.principal(cast.alice), secret=carried["app/db/n"], value="8")
    again = work(start_by_fields(cast, old))
    assert words(again)["app/db/pass"] == Word.NEWER
    assert "app/db/n" not in words(again)
    apply(cast, again)
    assert value(cast, "app/db/pass", 5) == "four"
    assert not [*verify(), *run_checks()]


def test_an_older_version_in_which_a_field_is_empty_is_none_of_its_secret(cast: Cast, old: OldVault) -> None:
    old.put("db", {"pass": ""}, {"pass": "one"}, {"pass": None}, {"pass": "two"})
    migration = apply(cast, work(start_by_fields(cast, old)))
    assert words(migration) == {"db/pass": "new"}
    numbers = Secret.objects.get(name="db/pass").versions.order_by("number").values_list("number", flat=True)
    assert {number: value(cast, "db/pass", number) for number in numbers} == {2: "one", 4: "two"}


def test_two_fields_do_not_become_one_secret(cast: Cast, old: OldVault) -> None:
    old.put("app", {"x": "ours", "b/c": "1"})
    old.put("app/b", {"c": "2"})
    old.client.secrets.kv.v1.create_or_update_secret("app", {"x": "theirs"}, mount_point=old.old)
    rules = [
        Rule(place=place, how=How.ALL, environments={"": str(cast.development.uuid)})
        for place in (old.kv, old.old)
    ]
    apply(cast, work(start_by_fields(cast, old, *rules)))
    (refused,) = MigrationLine.objects.filter(word=Word.REFUSED)
    assert (refused.place, refused.path) == (old.old, "app/x")
    assert "another path of the source has this name" in refused.reason
    found = {each.name: value(cast, each.name) for each in Secret.objects.all()}
    assert found == {"app/x": "ours", "app/b/c": "2", "app/b_2Fc": "1"}


def test_a_field_that_changes_or_goes_between_plan_and_apply_is_left(cast: Cast, old: OldVault) -> None:
    old.put("app", {"same": "1", "other": "1"})
    migration = work(start_by_fields(cast, old))
    old.put("app", {"same": "1"})
    apply(cast, migration)
    states = set(MigrationLine.objects.values_list("path", "state"))
    assert states == {("app/same", LineState.LEFT), ("app/other", LineState.LEFT)}
    assert not Secret.objects.exists()


def test_a_version_that_will_be_deleted_there_is_deleted_here_then(cast: Cast, old: OldVault) -> None:
    old.client.secrets.kv.v2.update_metadata("dev/ends", delete_version_after="1h", mount_point=old.kv)
    old.put("dev/ends", {"value": "one"})

    def ends(number: int) -> datetime:
        text = old.metadata("dev/ends")["versions"][str(number)]["deletion_time"]
        return datetime.fromisoformat(f"{text.rstrip('Z')[:26].ljust(26, '0')}+00:00")

    apply(cast, work(start(cast, old)))
    first = Secret.objects.get(name="ends")
    assert (first.rules.deleted, first.version_ends_at, first.rules.state(1)) == ({1: ends(1)}, ends(1), "")
    old.put("dev/ends", {"value": "two"})
    # Where versions end earlier here, the earlier time counts.
    cast.development.version_defaults = {"delete_version_after": 60}
    cast.development.seal_row()
    cast.development.save()
    apply(cast, work(start(cast, old)))
    second = Secret.objects.get(name="ends")
    assert second.rules.deleted.keys() == {1, 2}
    assert second.version_ends_at == second.rules.deleted[2] < ends(2) - timedelta(minutes=50)
    assert (value(cast, "ends", 1), value(cast, "ends", 2)) == ("one", "two")
    # Where none ends, these do not.
    cast.development.version_defaults = {"delete_version_after": -1}
    cast.development.seal_row()
    cast.development.save()
    old.put("dev/ends", {"value": "three"})
    apply(cast, work(start(cast, old)))
    third = Secret.objects.get(name="ends")
    assert (third.current_number, third.version_ends_at, 3 in third.rules.deleted) == (3, None, False)


def test_a_version_that_ends_later_is_not_deleted_yet() -> None:
    for days, state in ((1, ""), (-1, "deleted")):
        ends = timezone.now() + timedelta(days=days)
        assert vault._version(1, {"deletion_time": f"{ends:%Y-%m-%dT%H:%M:%S}Z"}).state == state


def test_engines_of_key_and_value_are_places_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    source = vault.VaultSource(settings={"address": "https://vault.example"}, credentials={"token": "t"})
    mounts = {
        "new/": {"type": "kv", "options": {"version": "2"}},
        "first/": {"type": "kv", "options": None},
        # What KV version 1 is called where it was made before Vault 0.8.
        "oldest/": {"type": "generic", "options": None},
        "transit/": {"type": "transit", "options": None},
        "sys/": {"type": "system"},
    }
    asked: list[str] = []

    def request(_method: str, path: str, **_: Any) -> Any:
        asked.append(path)
        return {"data": mounts if path == "sys/mounts" else {"keys": []}}

    monkeypatch.setattr(source._vault, "request", request)
    assert source.places() == ["first", "new", "oldest"]
    assert [path for place in source.places() for path in source.paths(place)] == []
    assert asked == ["sys/mounts", "first/", "new/metadata/", "oldest/"]


def test_a_vault_that_is_away_while_fields_are_listed_loses_none(
    cast: Cast, old: OldVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    old.put("app", {"a": "1", "b": "2"})
    read, answers = vault._Mounts.data, iter([raising(TargetUnreachable("away"))])

    def back_at_once(*given: Any) -> Any:
        return next(answers, read)(*given)

    with monkeypatch.context() as patched:
        patched.setattr(vault._Mounts, "data", back_at_once)
        migration = work(start_by_fields(cast, old))
    assert (migration.state, migration.error) == (MigrationState.PLANNING, "away")
    Migration.objects.filter(pk=migration.pk).update(due_at=None)
    assert words(work(migration)) == {"app/a": "new", "app/b": "new"}
    # What the policy does not let it read is one line, which tells why.
    with monkeypatch.context() as patched:
        patched.setattr(vault._Mounts, "data", raising(PermissionMissing("read is missing")))
        migration = work(start_by_fields(cast, old))
    line = MigrationLine.objects.get(migration=migration)
    assert (line.path, str(line.word), line.reason) == ("app/", "unreadable", "read is missing")


def raising(error: Exception) -> Any:
    def request(*_: Any, **__: Any) -> None:
        raise error

    return request


def test_folders_without_an_end_are_followed_to_a_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    source = vault.VaultSource(settings={"address": "https://vault.example"}, credentials={"token": "t"})
    monkeypatch.setattr(source, "_versions", {"kv": 2})
    answer = {"data": {"keys": ["a/", "key"]}}
    monkeypatch.setattr(source._vault, "request", lambda *_, **__: answer)
    assert len([*islice(source.paths("kv"), 100)]) == vault._MAX_DEPTH + 1
