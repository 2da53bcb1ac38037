"""Single versions by KV v2: deleted, restored, destroyed; what every reader of Keeper does with them."""

import json
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.environments.memberships import grant
from environments_app.environments.service import update_environment
from environments_app.sessions.service import lock_row
from environments_app.tests.cast import Cast
from gateway_app.tests.kv2.conftest import Ask, token
from secrets_app.errors import ManagedValue, StaleVersion, VersionGone
from secrets_app.key_operations.reencrypt import legacy_rows, reencrypt
from secrets_app.maintenance import integrity_checks
from secrets_app.models import EnvironmentSnapshot, Secret, SecretVersion
from secrets_app.rows import environment_snapshot
from secrets_app.services import lifecycle, version_stages, versions, write
from secrets_app.services.read import reveal, reveal_environment
from secrets_app.services.share import open_share, share_once
from secrets_app.tests.kept import change, keep
from secrets_app.types.registry import SecretType

pytestmark = [pytest.mark.django_db]


def numbers(*given: Any) -> bytes:
    return json.dumps({"versions": given}).encode()


def put(value: str, **options: Any) -> bytes:
    return json.dumps({"data": {"value": value}, "options": options}).encode()


def value_of(answer: Any) -> Any:
    return answer.json()["data"]["data"]


@pytest.fixture
def secret(cast: Cast) -> Secret:
    """Return a secret of three versions: one, two, three."""
    found = keep(cast, "a", value="one")
    for value in ("two", "three"):
        change(cast, found, value=value)
    return Secret.objects.select_related("environment").get(pk=found.pk)


@pytest.fixture
def manager(cast: Cast) -> str:
    return token(cast, "manager")


def test_one_version_is_deleted_and_restored_and_the_others_stay(ask: Ask, secret: Secret) -> None:
    assert ask("POST", "secret/delete/a", numbers(1)).status_code == 204
    gone = ask("GET", "secret/data/a?version=1")
    assert (gone.status_code, value_of(gone)) == (404, None)
    assert gone.json()["data"]["metadata"]["deletion_time"]
    assert value_of(ask("GET", "secret/data/a")) == {"value": "three"}
    assert value_of(ask("GET", "secret/data/a?version=2")) == {"value": "two"}
    assert ask("POST", "secret/undelete/a", numbers(1)).status_code == 204
    assert value_of(ask("GET", "secret/data/a?version=1")) == {"value": "one"}


def test_without_its_current_version_a_secret_is_deleted_everywhere(
    cast: Cast, ask: Ask, secret: Secret
) -> None:
    assert ask("DELETE", "secret/data/a").status_code == 204
    secret.refresh_from_db()
    assert not secret.live
    actor = cast.principal(cast.alice)
    assert reveal_environment(actor=actor, environment=cast.development) == []
    with pytest.raises(StaleVersion):
        write.update(actor=actor, secret=secret, value="x")
    # Older versions are read by their numbers, through KV v2 alone.
    assert value_of(ask("GET", "secret/data/a?version=2")) == {"value": "two"}
    assert ask("GET", "secret/data/a").status_code == 404
    assert ask("LIST", "secret/metadata/").json()["data"]["keys"] == ["a"]
    assert ask("POST", "secret/undelete/a", numbers(3)).status_code == 204
    assert value_of(ask("GET", "secret/data/a")) == {"value": "three"}


def test_a_value_written_after_a_deletion_continues_the_secret(ask: Ask, secret: Secret) -> None:
    ask("DELETE", "secret/data/a")
    assert ask("POST", "secret/data/a", put("four", cas=0)).status_code == 400
    assert ask("POST", "secret/data/a", put("four", cas=3)).json()["data"]["version"] == 4
    assert ask("GET", "secret/data/a?version=3").status_code == 404
    assert value_of(ask("GET", "secret/data/a?version=1")) == {"value": "one"}
    secret.refresh_from_db()
    # The deleted version is at no stage.
    assert (secret.live, secret.current_number, secret.previous_number) == (True, 4, None)


def test_an_equal_value_makes_a_version_here_and_none_in_the_api(
    cast: Cast, ask: Ask, secret: Secret
) -> None:
    assert ask("POST", "secret/data/a", put("three")).json()["data"]["version"] == 4
    write.update(actor=cast.principal(cast.alice), secret=Secret.objects.get(pk=secret.pk), value="three")
    assert Secret.objects.get(pk=secret.pk).current_number == 4


def test_a_destroyed_version_has_no_value_left_and_keeps_row_and_events(
    cast: Cast, ask: Ask, secret: Secret, manager: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    actor = cast.principal(cast.alice)
    monkeypatch.setattr(environment_snapshot, "MIN_SECRETS", 1)
    # The second read makes a snapshot.
    for _ in range(2):
        reveal_environment(actor=actor, environment=cast.development)
        environment_snapshot.store_prepared()
    assert EnvironmentSnapshot.objects.exists()
    assert ask("POST", "secret/destroy/a", numbers(3), token=manager).status_code == 204
    row = SecretVersion.objects.get(secret=secret, number=3)
    assert (row.value.envelope, row.data_key_id) == (b"", None)
    assert row.destroyed_at
    assert not EnvironmentSnapshot.objects.exists()
    (event,) = AuditEvent.objects.filter(action=Action.SECRET_DESTROY)
    assert json.loads(event.details)["versions"] == [3]
    gone = ask("GET", "secret/data/a")
    assert gone.json()["data"]["metadata"]["destroyed"] is True
    assert ask("POST", "secret/undelete/a", numbers(3)).status_code == 204
    assert ask("GET", "secret/data/a").status_code == 404
    with pytest.raises(VersionGone, match="was destroyed"):
        lifecycle.restore(actor=actor, secret=Secret.objects.select_related("environment").get(pk=secret.pk))
    # It is verified, sealed again with the others, and counted among no older values.
    assert [*integrity_checks.versions(), *integrity_checks.secrets(), *integrity_checks.losses()] == []
    assert not legacy_rows().exists()
    progress = reencrypt(cast.development, progress=lambda *_: None)
    assert progress
    assert (progress.values, progress.broken) == (2, {})


def test_versions_of_a_secret_that_is_deleted_as_a_whole_are_destroyed(
    cast: Cast, ask: Ask, secret: Secret, manager: str
) -> None:
    lifecycle.delete(actor=cast.principal(cast.alice), secret=secret)
    # Its name is used again, with the number after.
    ask("POST", "secret/data/a", put("four"))
    assert ask("POST", "secret/destroy/a", numbers(2, 3), token=manager).status_code == 204
    kept = SecretVersion.objects.filter(destroyed_at=None).order_by("number")
    assert [*kept.values_list("number", flat=True)] == [1, 4]
    gone = SecretVersion.objects.exclude(destroyed_at=None)
    assert {bytes(row.value.envelope) for row in gone} == {b""}
    assert value_of(ask("GET", "secret/data/a")) == {"value": "four"}
    ask("DELETE", "secret/metadata/a")
    with pytest.raises(VersionGone):
        lifecycle.restore(actor=cast.principal(cast.alice), secret=Secret.objects.get(pk=secret.pk))


def test_a_version_is_destroyed_of_the_living_secret_and_not_of_a_deleted_one_as_well(
    cast: Cast, ask: Ask, secret: Secret, manager: str
) -> None:
    """One that was renamed keeps its numbers, which a deleted secret of the name may have too."""
    alice = cast.principal(cast.alice)
    lifecycle.delete(actor=alice, secret=secret)
    renamed = lifecycle.rename(actor=alice, secret=keep(cast, "b", value="of b"), name="a")
    assert ask("POST", "secret/destroy/a", numbers(1, 2), token=manager).status_code == 204
    gone = SecretVersion.objects.exclude(destroyed_at=None)
    assert {*gone.values_list("secret", "number")} == {(renamed.pk, 1), (secret.pk, 2)}


def test_versions_deleted_before_the_secret_was_are_restored_with_it(
    cast: Cast, ask: Ask, secret: Secret, manager: str
) -> None:
    ask("POST", "secret/delete/a", numbers(1, 2))
    ask("POST", "secret/destroy/a", numbers(2), token=manager)
    stored = Secret.objects.select_related("environment").get(pk=secret.pk)
    lifecycle.delete(actor=cast.principal(cast.alice), secret=stored)
    # Without the current one it stays deleted.
    assert ask("POST", "secret/undelete/a", numbers(1)).status_code == 204
    assert ask("GET", "secret/data/a").status_code == 404
    assert ask("POST", "secret/undelete/a", numbers(1, 2, 3)).status_code == 204
    found = [ask("GET", f"secret/data/a?version={number}").status_code for number in (1, 2, 3)]
    assert found == [200, 404, 200]


def test_the_page_offers_no_restore_where_the_current_version_was_destroyed(
    cast: Cast, ask: Ask, secret: Secret, manager: str, signed_in: Any
) -> None:
    page, button = signed_in(cast.alice), reverse("secret-restore", args=[secret.pk])
    address = reverse("secret-detail", args=[secret.pk])
    ask("POST", "secret/delete/a", numbers(3))
    assert button in page.get(address).content.decode()
    ask("POST", "secret/destroy/a", numbers(3), token=manager)
    assert button not in page.get(address).content.decode()


def test_a_value_put_back_into_a_destroyed_version_opens_nowhere_and_is_found(
    cast: Cast, ask: Ask, secret: Secret, manager: str
) -> None:
    before = SecretVersion.objects.filter(secret=secret, number=1).values("value", "data_key_id").get()
    ask("POST", "secret/destroy/a", numbers(1), token=manager)
    SecretVersion.objects.filter(secret=secret, number=1).update(
        value=before["value"], data_key_id=before["data_key_id"], destroyed_at=None
    )
    assert ask("GET", "secret/data/a?version=1").status_code == 404
    (problem,) = integrity_checks.versions()
    assert "destroyed" in problem.message


def test_a_deleted_version_is_restored_by_no_edit(cast: Cast, ask: Ask, secret: Secret) -> None:
    ask("POST", "secret/delete/a", numbers(1))
    Secret.objects.filter(pk=secret.pk).update(version_rules=None)
    answer = ask("GET", "secret/data/a?version=1")
    assert answer.status_code == 409
    assert [problem.kind for problem in integrity_checks.secrets()] == ["secret"]


@pytest.mark.parametrize(
    "rules", ["x", {"deleted": {"x": 1}}, {"destroyed": 5}, {"deleted": {"1": None}}, [1]]
)
def test_rules_that_keeper_never_wrote_prove_nothing(
    cast: Cast, ask: Ask, secret: Secret, rules: Any
) -> None:
    Secret.objects.filter(pk=secret.pk).update(version_rules=rules)
    for path in ("data/a", "data/a?version=1", "metadata/a", "subkeys/a"):
        assert ask("GET", f"secret/{path}").status_code == 409
    assert ask("POST", "secret/data/a", put("x")).status_code == 409
    assert ask("POST", "secret/delete/a", numbers(1)).status_code == 409


def test_no_reader_gets_a_gone_version(cast: Cast, ask: Ask, secret: Secret, manager: str) -> None:
    actor = cast.principal(cast.alice)
    share, link = share_once(actor=actor, secret=secret)
    change(cast, secret, value="four")
    ask("POST", "secret/delete/a", numbers(1))
    ask("POST", "secret/destroy/a", numbers(2, 3), token=manager)
    secret = Secret.objects.select_related("environment").get(pk=secret.pk)
    for number in (1, 2, 3):
        with pytest.raises(VersionGone):
            reveal(actor=actor, secret=secret, number=number)
        with pytest.raises(VersionGone):
            write.rollback(actor=actor, secret=secret, number=number)
    with pytest.raises(VersionGone):
        open_share(actor=cast.principal(cast.bob), link=link)
    share.refresh_from_db()
    assert share.opened_at is None
    headers = {"Authorization": f"Bearer {manager}"}
    listed = Client().get(reverse("api-versions", args=[secret.pk]), headers=headers).json()["results"]
    assert {each["number"]: each["state"] for each in listed} == {
        4: "readable", 3: "destroyed", 2: "destroyed", 1: "deleted",
    }  # fmt: skip
    both = Client().get(reverse("api-secret", args=[secret.pk]), {"stage": "both"}, headers=headers).json()
    assert [each["stage"] for each in both["stages"]] == ["current"]


def test_a_gone_version_is_never_served_again_by_a_rotation(cast: Cast, secret: Secret) -> None:
    """The previous stage is read before the version is deleted."""
    actor = cast.principal(cast.alice)
    versions.delete_versions(actor=actor, secret=secret, numbers=[2])
    secret.previous_number = 2
    with pytest.raises(VersionGone):
        version_stages.restore_previous(actor=actor, secret=secret, facts={}, details={})


def test_versions_of_a_rotated_secret_stay(
    cast: Cast, ask: Ask, secret: Secret, manager: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def guard(**_: Any) -> Any:
        raise ManagedValue("A rotation policy answers for this secret.")

    monkeypatch.setattr("secrets_app.services.versions.run_write_guards", guard)
    for method, path in (("POST", "delete"), ("POST", "destroy"), ("DELETE", "data"), ("DELETE", "metadata")):
        assert ask(method, f"secret/{path}/a", numbers(1), token=manager).status_code == 409, path
    assert value_of(ask("GET", "secret/data/a")) == {"value": "three"}


def test_a_reader_neither_restores_nor_destroys(cast: Cast, ask: Ask, secret: Secret) -> None:
    ask("POST", "secret/delete/a", numbers(1))
    reader, editor = token(cast, "reader"), token(cast, "editor")
    for path in ("undelete/a", "delete/a", "undelete/none", "delete/none", "destroy/none"):
        assert ask("POST", f"secret/{path}", numbers(1), token=reader).status_code == 403, path
    assert ask("DELETE", "secret/data/none", token=reader).status_code == 403
    assert ask("DELETE", "secret/metadata/none", token=reader).status_code == 403
    assert ask("PATCH", "secret/metadata/none", b"{}", token=reader).status_code == 403
    assert ask("POST", "secret/destroy/a", numbers(1), token=editor).status_code == 403
    assert ask("GET", "secret/data/a?version=1").status_code == 404


def test_a_secret_deleted_with_all_its_versions_is_absent_and_its_numbers_never_come_again(
    cast: Cast, ask: Ask, secret: Secret
) -> None:
    assert ask("DELETE", "secret/metadata/a").status_code == 204
    for path in ("data/a", "data/a?version=1", "metadata/a", "metadata/?list=true"):
        absent = ask("GET", f"secret/{path}")
        assert (absent.status_code, absent.json()) == (404, {"errors": []}), path
    assert ask("POST", "secret/undelete/a", numbers(3)).status_code == 204
    assert ask("GET", "secret/data/a").status_code == 404
    assert ask("POST", "secret/data/a", put("anew", cas=0)).json()["data"]["version"] == 4
    assert ask("GET", "secret/data/a?version=3").status_code == 404
    assert value_of(ask("GET", "secret/data/a")) == {"value": "anew"}
    # People can restore the former one.
    ask("DELETE", "secret/data/a")
    former = Secret.objects.select_related("environment").get(pk=secret.pk)
    restored = lifecycle.restore(actor=cast.principal(cast.alice), secret=former)
    assert restored.live
    assert value_of(ask("GET", "secret/data/a")) == {"value": "three"}


def test_metadata_are_written_on_condition_of_those_that_were_seen(
    ask: Ask, secret: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    def described(cas: Any, path: str = "secret/metadata/a", method: str = "POST") -> int:
        sent = {"metadata_cas": cas, "custom_metadata": {"seen": str(cas)}}
        return int(ask(method, path, json.dumps(sent).encode()).status_code)

    assert [described(cas) for cas in ("x", 1, True, 0, 0)] == [400, 400, 400, 204, 400]
    assert [described(cas) for cas in ("1", None)] == [204, 204]
    assert [described(cas, method="PATCH") for cas in (2, 3)] == [400, 204]
    assert [described(cas, "secret/metadata/new") for cas in (1, 0)] == [400, 204]
    update = write.update

    def meanwhile(**given: Any) -> Any:
        monkeypatch.undo()
        assert described(4) == 204
        return update(**given)

    monkeypatch.setattr(write, "update", meanwhile)
    assert described(4, method="PATCH") == 400
    assert ask("GET", "secret/metadata/a").json()["data"]["custom_metadata"] == {"seen": "4"}
    for wrong in ({"metadata_cas_required": True}, {"metadata_cas_required": "true"}):
        assert ask("POST", "secret/metadata/a", json.dumps(wrong).encode()).status_code == 400


@pytest.mark.parametrize("custom", [{"a": None}, {"a": [1]}, {"a": ""}, "x", [1]], ids=repr)
def test_a_description_without_a_text_is_refused(ask: Ask, secret: Secret, custom: Any) -> None:
    sent = json.dumps({"custom_metadata": custom}).encode()
    for path in ("secret/metadata/a", "secret/metadata/new"):
        assert ask("POST", path, sent).status_code == 400
    assert ask("GET", "secret/metadata/new").status_code == 404


def test_flags_and_numbers_are_read_as_go_reads_them(ask: Ask, secret: Secret) -> None:
    for flag, stored in (("true", True), (0, False), (1, True), ("F", False)):
        assert (
            ask("POST", "secret/metadata/a", json.dumps({"cas_required": flag}).encode()).status_code == 204
        )
        assert ask("GET", "secret/metadata/a").json()["data"]["cas_required"] is stored
    refused: tuple[Any, ...] = ("maybe", 1.5, [], {})
    for wrong in refused:
        sent = json.dumps({"cas_required": wrong}).encode()
        assert ask("POST", "secret/metadata/a", sent).status_code == 400
    number = ask("GET", "secret/metadata/a").json()["data"]["current_version"]
    sent = json.dumps({"versions": f"{number}, {number + 5}"}).encode()
    assert ask("POST", "secret/delete/a", sent, X_Vault_Namespace="root/").status_code == 204
    assert ask("GET", "secret/data/a").status_code == 404


@pytest.mark.parametrize("method", ["PATCH", "POST"])
def test_what_another_writer_described_meanwhile_is_merged_and_counted(
    ask: Ask, secret: Secret, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    def describe(method: str, name: str) -> int:
        sent = json.dumps({"custom_metadata": {name: "x"}}).encode()
        return int(ask(method, "secret/metadata/a", sent).status_code)

    assert describe("POST", "first") == 204
    update = write.update

    def meanwhile(**given: Any) -> Any:
        monkeypatch.undo()
        assert describe("PATCH", "theirs") == 204
        return update(**given)

    monkeypatch.setattr(write, "update", meanwhile)
    assert describe(method, "own") == 204
    found = ask("GET", "secret/metadata/a").json()["data"]
    kept = {"first", "theirs", "own"} if method == "PATCH" else {"own"}
    assert (found["custom_metadata"].keys(), found["current_metadata_version"]) == (kept, 3)


@pytest.mark.parametrize(("cas", "status"), [(None, 200), (3, 400), (4, 400)])
def test_a_change_of_members_is_merged_with_the_value_that_it_replaces(
    ask: Ask, secret: Secret, monkeypatch: pytest.MonkeyPatch, cas: int | None, status: int
) -> None:
    def meanwhile(**given: Any) -> Any:
        monkeypatch.undo()
        shown = reveal(**given)
        assert ask("POST", "secret/data/a", json.dumps({"data": {"theirs": "x"}}).encode()).status_code == 200
        return shown

    monkeypatch.setattr("gateway_app.kv2.data.reveal", meanwhile)
    options = {} if cas is None else {"cas": cas}
    change = json.dumps({"data": {"own": "x"}, "options": options}).encode()
    answer = ask("PATCH", "secret/data/a", change)
    assert answer.status_code == status, answer.json()
    own = {"own": "x"} if status == 200 else {}
    assert value_of(ask("GET", "secret/data/a")) == {"theirs": "x"} | own


OBJECT = '{"a":1}'
FIELDS: tuple[dict[str, Any], ...] = ({"value": OBJECT}, {"x": 1}, {"value": OBJECT}, {"value": "plain"})


def read_as_written(ask: Ask, path: str) -> list[Any]:
    """Return what each version of FIELDS is read as, if plainly, wrapped and by its members are the same."""
    found = []
    for number in range(1, len(FIELDS) + 1):
        version = f"{path}?version={number}"
        wrapped = ask("GET", f"secret/data/{version}", X_Vault_Wrap_TTL="60").json()["wrap_info"]["token"]
        plain = value_of(ask("GET", f"secret/data/{version}"))
        names = ask("GET", f"secret/subkeys/{version}").json()["data"]["subkeys"]
        opened = value_of(ask("POST", "sys/wrapping/unwrap", token=wrapped))
        found.append(plain if plain == opened and plain.keys() == names.keys() else (plain, opened, names))
    return found


def test_a_version_is_read_as_it_was_written_whatever_the_type_is_by_now(cast: Cast, ask: Ask) -> None:
    for fields in FIELDS:
        assert ask("POST", "secret/data/shape", json.dumps({"data": fields}).encode()).status_code == 200
    assert read_as_written(ask, "shape") == [*FIELDS]
    secret = Secret.objects.select_related("environment").get(name="shape")
    actor = cast.principal(cast.alice)
    write.update(actor=actor, secret=secret, secret_type=SecretType.TEXT, value='{"y":1}')
    assert read_as_written(ask, "shape") == [*FIELDS]
    assert value_of(ask("GET", "secret/data/shape")) == {"value": '{"y":1}'}
    # An equal value that is an object from now on is another version: the one before stays a text.
    write.update(actor=actor, secret=secret, secret_type=SecretType.JSON, value='{"y":1}')
    assert read_as_written(ask, "shape") == [*FIELDS]
    text = len(FIELDS) + 1
    assert value_of(ask("GET", f"secret/data/shape?version={text}")) == {"value": '{"y":1}'}
    assert value_of(ask("GET", f"secret/data/shape?version={text + 1}")) == {"y": 1}
    for number, fields in enumerate(FIELDS, start=1):
        rolled = Secret.objects.select_related("environment").get(pk=secret.pk)
        write.rollback(actor=actor, secret=rolled, number=number)
        assert value_of(ask("GET", "secret/data/shape")) == fields
    assert read_as_written(ask, "shape") == [*FIELDS]


def test_a_text_that_meets_an_object_is_stored_as_it_was_sent(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, first = put(OBJECT), write.update
    assert ask("POST", "secret/data/met", put("plain")).status_code == 200

    def meanwhile(**given: Any) -> Any:
        monkeypatch.undo()
        sent = json.dumps({"data": {"x": 1}}).encode()
        assert ask("POST", "secret/data/met", sent).status_code == 200
        return first(**given)

    monkeypatch.setattr(write, "update", meanwhile)
    assert ask("POST", "secret/data/met", text).json()["data"]["version"] == 3
    assert value_of(ask("GET", "secret/data/met")) == {"value": OBJECT}


def test_rules_of_a_mount_that_another_manager_set_meanwhile_stay(
    ask: Ask, secret: Secret, manager: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def configure(**rules: object) -> int:
        return int(ask("POST", "secret/config", json.dumps(rules).encode(), token=manager).status_code)

    assert configure(delete_version_after="1h") == 204

    def meanwhile(*given: Any) -> Any:
        monkeypatch.undo()
        assert configure(cas_required=True) == 204
        return lock_row(*given)

    monkeypatch.setattr("environments_app.environments.service.lock_row", meanwhile)
    assert configure(max_versions=2, delete_version_after="0s") == 204
    found = ask("GET", "secret/config").json()["data"]
    assert (found["cas_required"], found["max_versions"], found["delete_version_after"]) == (True, 2, "0s")


def test_metadata_is_written_read_and_merged(ask: Ask, secret: Secret) -> None:
    sent = {"custom_metadata": {"team": "a", "x": "1"}, "max_versions": 2, "cas_required": True}
    assert ask("POST", "secret/metadata/a", json.dumps(sent).encode()).status_code == 204
    patch = {"custom_metadata": {"x": None, "y": "2"}}
    assert ask("PATCH", "secret/metadata/a", json.dumps(patch).encode()).status_code == 204
    data = ask("GET", "secret/metadata/a").json()["data"]
    assert data["custom_metadata"] == {"team": "a", "y": "2"}
    assert (data["max_versions"], data["cas_required"], data["current_metadata_version"]) == (2, True, 2)
    assert ask("GET", "secret/data/a").json()["data"]["metadata"]["custom_metadata"] == {
        "team": "a",
        "y": "2",
    }
    refused = ask("POST", "secret/data/a", put("four"))
    assert (refused.status_code, refused.json()["errors"]) == (
        400, ["check-and-set parameter required for this call"],
    )  # fmt: skip
    assert ask("POST", "secret/data/a", put("four", cas=3)).status_code == 200
    # Of two versions the older ones are out of sight, and kept.
    assert [*ask("GET", "secret/metadata/a").json()["data"]["versions"]] == ["3", "4"]
    assert ask("GET", "secret/data/a?version=2").json() == {"errors": []}
    assert SecretVersion.objects.filter(secret=secret).count() == 4
    changes = AuditEvent.objects.filter(action=Action.SECRET_UPDATE, details__contains="custom_metadata")
    assert changes.count() == 2


@pytest.mark.parametrize(
    "sent",
    [
        {"custom_metadata": "x"},
        {"custom_metadata": {"a": {"b": 1}}},
        {"custom_metadata": {"a": "x" * 513}},
        {"custom_metadata": {"k" * 129: "x"}},
        {"custom_metadata": {str(n): "x" for n in range(65)}},
        {"cas_required": "cats"},
        {"max_versions": "many"},
        {"max_versions": -5},
        {"max_versions": 2**64 + 5},
        {"delete_version_after": "soon"},
        {"delete_version_after": []},
        {"delete_version_after": {}},
    ],
)
def test_metadata_that_is_not_kept_is_refused(ask: Ask, secret: Secret, manager: str, sent: Any) -> None:
    refused = ask("POST", "secret/metadata/a", json.dumps(sent).encode())
    assert (refused.status_code, [*refused.json()]) == (400, ["errors"])
    if "custom_metadata" not in sent:
        refused = ask("POST", "secret/config", json.dumps(sent).encode(), token=manager)
        assert (refused.status_code, [*refused.json()]) == (400, ["errors"])
    assert Secret.objects.get(pk=secret.pk).version_rules is None


@pytest.mark.parametrize("act", ["delete", "undelete", "destroy"])
def test_numbers_that_no_version_has_change_nothing(ask: Ask, secret: Secret, manager: str, act: str) -> None:
    unknown: tuple[Any, ...] = (2**63, 10**30, -(2**63), "9223372036854775808", 1.5, [], {}, True)
    for number in unknown:
        refused = ask("POST", f"secret/{act}/a", numbers(number), token=manager)
        assert (refused.status_code, [*refused.json()]) == (400, ["errors"]), number
    for number in (2**63 - 1, 2**31, 0, -1):
        assert ask("POST", f"secret/{act}/a", numbers(number), token=manager).status_code == 204, number
    assert Secret.objects.get(pk=secret.pk).version_rules is None


def test_a_scan_returns_what_lies_in_folders_as_well_and_no_more_than_a_list(cast: Cast, ask: Ask) -> None:
    for name in ("p/a", "p/c/d", "p/c/my=20e/=41", "q"):
        keep(cast, name)

    def scanned(path: str, **options: Any) -> tuple[int, Any]:
        told = [ask("SCAN", f"secret/metadata{path}", **options)]
        told += [ask("GET", f"secret/metadata{path}?scan={true}", **options) for true in ("true", "1")]
        (found,) = {(each.status_code, json.dumps(each.json().get("data"))) for each in told}
        return found[0], json.loads(found[1])

    everything = ["p/a", "p/c/d", "p/c/my e/=41", "q"]
    assert scanned("") == scanned("/") == (200, {"keys": everything})
    assert scanned("/p") == scanned("/p/") == (200, {"keys": [name[2:] for name in everything[:3]]})
    assert ask("LIST", "secret/metadata?scan=true").json()["data"]["keys"] == ["p/", "q"]
    assert ask("SCAN", "secret/metadata?after=p/a&limit=2").json()["data"]["keys"] == everything[1:3]
    assert scanned("/none") == (200, {})
    narrow = token(cast, "viewer", prefix="p/c")
    assert scanned("", token=narrow) == (200, {"keys": everything[1:3]})
    assert ask("SCAN", "production/metadata", token=narrow).status_code == 403
    assert ask("SCAN", "secret/data/p/a").status_code == 405


def test_names_are_listed_in_parts(cast: Cast, ask: Ask) -> None:
    for name in ("p/a", "p/b", "p/c/d", "p/e"):
        keep(cast, name)

    def keys(query: str) -> Any:
        return ask("GET", f"secret/metadata/p?list=true{query}").json()["data"]["keys"]

    assert keys("&limit=2") == ["a", "b"]
    assert keys("&after=b&limit=-1") == keys("&after=b&limit=0") == keys("&after=b")
    assert keys("&after=b") == ["c/", "e"]
    assert keys("&after=b&limit=1") == ["c/"]
    assert ask("GET", "secret/metadata/p?list=true&limit=x").status_code == 400


def test_in_a_protected_environment_each_act_asks_for_approval(
    cast: Cast, ask: Ask, secret: Secret, manager: str
) -> None:
    grant(actor=cast.principal(cast.alice), environment=cast.development, user=cast.charlie, role="manager")
    ask("POST", "secret/delete/a", numbers(1))
    update_environment(actor=cast.principal(cast.alice), environment=cast.development, protected=True)
    for method, path, body in (
        ("DELETE", "data/a", b""),
        ("POST", "delete/a", numbers(2)),
        ("POST", "undelete/a", numbers(1)),
        ("POST", "destroy/a", numbers(2)),
        ("DELETE", "metadata/a", b""),
        ("POST", "metadata/a", b'{"max_versions": 1}'),
        ("POST", "data/a", put("three")),
        ("POST", "config", b'{"max_versions": 1}'),
        ("POST", "config", b'{"cas_required": true}'),
    ):
        answer = ask(method, f"secret/{path}", body, token=manager)
        assert answer.status_code == 403, path
        assert "/approvals/" in answer.json()["errors"][0], path
    assert ask("POST", "secret/config", b'{"max_versions": 0}', token=manager).status_code == 204
    cast.development.refresh_from_db()
    assert cast.development.version_defaults is None
    assert SecretVersion.objects.filter(secret=secret, destroyed_at=None).count() == 3


def test_a_write_between_the_look_and_the_deletion_keeps_what_was_written(
    cast: Cast, ask: Ask, secret: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DELETE means the current version: of one that came meanwhile it is deleted, and the older one stays."""
    look, late = versions._stored, [True]

    def meanwhile(*given: Any) -> Any:
        if late:
            late.pop()
            change(cast, secret, value="four")
        return look(*given)

    monkeypatch.setattr(versions, "_stored", meanwhile)
    assert ask("DELETE", "secret/data/a").status_code == 204
    secret.refresh_from_db()
    assert (secret.live, secret.current_number, [*secret.rules.deleted]) == (None, 4, [4])


@pytest.mark.parametrize("act", ["delete", "undelete", "undelete of a whole secret", "destroy"])
def test_an_act_on_versions_that_meets_another_write_begins_again(
    cast: Cast, ask: Ask, secret: Secret, manager: str, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    number = 1
    if act == "undelete":
        assert ask("POST", "secret/delete/a", numbers(1)).status_code == 204
    elif "whole" in act:
        number = 3
        lifecycle.delete(actor=cast.principal(cast.alice), secret=secret)
    look = versions._stored
    # A secret that is deleted as a whole takes no metadata: another version of it is destroyed.
    other, sent = ("destroy", numbers(2)) if "whole" in act else ("metadata", b'{"max_versions": 9}')

    def meanwhile(*given: Any) -> Any:
        monkeypatch.undo()
        assert ask("POST", f"secret/{other}/a", sent, token=manager).status_code == 204
        return look(*given)

    monkeypatch.setattr(versions, "_stored", meanwhile)
    assert ask("POST", f"secret/{act.partition(' ')[0]}/a", numbers(number), token=manager).status_code == 204
    secret.refresh_from_db()
    assert (2 in secret.rules.destroyed, secret.max_versions) == ((True, 0) if "whole" in act else (False, 9))
    assert secret.rules.state(number) == {"delete": "deleted", "destroy": "destroyed"}.get(act, "")
    assert secret.live


def test_a_deletion_of_all_versions_that_meets_another_write_begins_again(
    cast: Cast, ask: Ask, secret: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_versions = versions._require_versions

    def meanwhile(seen: Secret) -> None:
        monkeypatch.undo()
        change(cast, secret, value="four")
        require_versions(seen)

    monkeypatch.setattr(versions, "_require_versions", meanwhile)
    assert ask("DELETE", "secret/metadata/a").status_code == 204
    secret.refresh_from_db()
    assert (secret.live, secret.rules.hidden, secret.current_number) == (None, True, 4)


def test_a_snapshot_that_is_stored_while_its_value_is_destroyed_does_not_stay(
    cast: Cast,
    secret: Secret,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: Any,
) -> None:
    """Another process reads the rows before the destruction is committed, and stores what it has sealed."""
    actor = cast.principal(cast.alice)
    monkeypatch.setattr(environment_snapshot, "MIN_SECRETS", 1)
    for _ in range(2):
        reveal_environment(actor=actor, environment=cast.development)
    forget = environment_snapshot.forget

    def meanwhile(environment_id: int) -> None:
        forget(environment_id)
        monkeypatch.setattr(environment_snapshot, "forget", forget)
        environment_snapshot.store_prepared()
        assert EnvironmentSnapshot.objects.exists()

    monkeypatch.setattr(environment_snapshot, "forget", meanwhile)
    with django_capture_on_commit_callbacks(execute=True):
        versions.destroy_versions(actor=actor, secret=secret, numbers=[3])
    assert not EnvironmentSnapshot.objects.exists()


def test_rules_of_a_mount_are_those_of_secrets_without_their_own(
    ask: Ask, secret: Secret, manager: str
) -> None:
    sent = json.dumps({"max_versions": 2, "cas_required": True}).encode()
    assert ask("POST", "secret/config", sent).status_code == 403
    assert ask("POST", "secret/config", sent, token=manager).status_code == 204
    found = ask("GET", "secret/config").json()["data"]
    assert (found["max_versions"], found["cas_required"], found["delete_version_after"]) == (2, True, "0s")
    assert [*ask("GET", "secret/metadata/a").json()["data"]["versions"]] == ["2", "3"]
    assert ask("GET", "secret/data/a?version=1").status_code == 404
    for path in ("a", "new"):
        assert ask("POST", f"secret/data/{path}", put("x")).status_code == 400
    assert ask("POST", "secret/data/new", put("x", cas=0)).status_code == 200
    off = json.dumps({"cas_required": False}).encode()
    assert ask("POST", "secret/config", off, token=manager).status_code == 204
    assert ask("POST", "secret/data/a", put("x")).status_code == 200
    assert ask("GET", "secret/config").json()["data"]["max_versions"] == 2
    assert ask("POST", "secret/config", b'{"delete_version_after": "soon"}', token=manager).status_code == 400


def test_what_changed_since_it_was_looked_at_is_not_destroyed(cast: Cast, secret: Secret) -> None:
    seen = Secret.objects.select_related("environment").get(pk=secret.pk)
    change(cast, secret, value="four")
    with pytest.raises(StaleVersion):
        versions.destroy_versions(actor=cast.principal(cast.alice), secret=seen, numbers=[1])
    row = SecretVersion.objects.get(secret=secret, number=1)
    assert row.value.envelope
    assert row.destroyed_at is None
    assert not AuditEvent.objects.filter(action=Action.SECRET_DESTROY).exists()
