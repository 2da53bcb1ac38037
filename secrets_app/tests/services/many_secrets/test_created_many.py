"""What the audit log has of secrets that were created in bulk: found, compared with the rows, and verified."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from django.test import Client
from pytest_django import Settings

from audit_app.checkpoints.schedule import anchor_log
from audit_app.checkpoints.signing import signed
from audit_app.errors import BadBundle
from audit_app.events.actions import Action
from audit_app.integrity.check_registry import run_checks
from audit_app.models import AuditEvent, Checkpoint, ReadManifest, ReadManifestItem
from audit_app.queries import search
from audit_app.retention.bundles import bundle_until, require_whole
from audit_app.verification.stream_verifier import verify
from environments_app.models import User
from environments_app.tests.cast import Cast
from secrets_app.exposure import known_to, seen_by
from secrets_app.maintenance import integrity_checks
from secrets_app.models import Secret, SecretVersion
from secrets_app.rows.bulk_insert import CreatedSecret
from secrets_app.services import bulk_create, lifecycle, read, write
from secrets_app.services.bulk_create import NewSecret
from secrets_app.tests.kept import keep
from secrets_app.types.registry import SecretType

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]

OFFLINE = Path(__file__).resolve().parents[4] / "docs" / "verify_offline.py"
Sql = Callable[..., None]
Tamper = Callable[[Sql, UUID], None]


def create(cast: Cast, *names: str) -> list[CreatedSecret]:
    items = [
        NewSecret(environment=cast.development, name=name, secret_type=SecretType.TEXT, value=f"of {name}")
        for name in names
    ]
    return bulk_create.create_many(actor=cast.principal(cast.erin), items=items)


def stored(created: CreatedSecret) -> Secret:
    return Secret.objects.select_related("environment").get(pk=created.pk)


def found() -> set[tuple[str, str]]:
    return {(problem.kind, problem.message) for problem in [*verify(), *run_checks()]}


def test_each_secret_leads_to_the_one_who_created_it(cast: Cast, signed_in: Callable[[User], Client]) -> None:
    keep(cast, "other")
    first, _, last = create(cast, "app/a", "app/b", "app/c")
    alice = cast.principal(cast.alice)
    for secret in (first, last):
        (event,) = search.events(viewer=alice, object_uuid=secret.uuid)
        assert (event.action, event.actor_name) == (Action.SECRET_CREATE, "erin")
        assert search.read_versions([event], secret_uuid=secret.uuid) == {event.pk: [1]}
        (by_name,) = search.find(viewer=alice, object_name=secret.name).events
        assert by_name.pk == event.pk
    page = signed_in(cast.alice).get(f"/secrets/{last.pk}").content.decode()
    assert "<b>erin</b> created secrets in" in page


def test_who_creates_knows_the_values_and_has_not_been_shown_them(cast: Cast) -> None:
    created = create(cast, "app/a", "app/b")
    known = known_to(cast.erin.uuid)
    assert [(each.secret.name, each.numbers, each.stands) for each in known] == [
        ("app/a", (1,), True),
        ("app/b", (1,), True),
    ]
    assert seen_by(actor=cast.principal(cast.alice), secret=stored(created[0])) == []


def test_later_changes_and_reads_follow_what_the_manifest_has(cast: Cast) -> None:
    renamed, written, purged, _ = create(cast, "a", "b", "c", "d")
    erin, alice = cast.principal(cast.erin), cast.principal(cast.alice)
    lifecycle.rename(actor=erin, secret=stored(renamed), name="z")
    write.update(actor=erin, secret=stored(written), value="another")
    lifecycle.delete(actor=erin, secret=stored(purged))
    lifecycle.purge(actor=alice, secret=stored(purged))
    read.reveal_environment(actor=alice, environment=cast.development)
    assert found() == set()


def edit_author(sql: Sql, uuid: UUID) -> None:
    sql("UPDATE secrets_app_secretversion SET author = 'mallory' WHERE secret_id = %s", pk_of(uuid))


def drop_secret(sql: Sql, uuid: UUID) -> None:
    sql("DELETE FROM secrets_app_secretversion WHERE secret_id = %s", pk_of(uuid))
    sql("DELETE FROM secrets_app_secret WHERE id = %s", pk_of(uuid))


def drop_version(sql: Sql, uuid: UUID) -> None:
    sql("DELETE FROM secrets_app_secretversion WHERE secret_id = %s", pk_of(uuid))


def swap_values(sql: Sql, uuid: UUID) -> None:
    other = SecretVersion.objects.exclude(secret_id=pk_of(uuid)).values_list("uuid", flat=True)[0]
    version = SecretVersion.objects.get(secret_id=pk_of(uuid))
    SecretVersion.objects.filter(uuid=other)._raw_delete("default")
    sql("UPDATE secrets_app_secretversion SET uuid = %s WHERE id = %s", other.hex, version.pk)


def pk_of(uuid: UUID) -> int:
    return int(Secret.objects.get(uuid=uuid).pk)


@pytest.mark.parametrize(
    ("tamper", "problem"),
    [
        (edit_author, ("version", "the version is not the one that its event says was written")),
        (swap_values, ("version", "the version is not the one that its event says was written")),
        (drop_secret, ("missing", "the trail says that the row stands, and it is gone")),
    ],
)
def test_a_row_that_is_not_what_the_manifest_has_is_found(
    cast: Cast, sql: Sql, tamper: Tamper, problem: tuple[str, str]
) -> None:
    created = create(cast, "a", "b")
    assert found() == set()
    tamper(sql, created[0].uuid)
    assert problem in found()


def test_a_secret_that_is_gone_is_told_by_its_name(cast: Cast, sql: Sql) -> None:
    created = create(cast, "a", "b")
    drop_secret(sql, created[1].uuid)
    (missing,) = (problem for problem in run_checks() if problem.kind == "missing")
    assert missing.object == f"secret b ({created[1].uuid})"


def test_a_version_that_is_gone_is_found(cast: Cast, sql: Sql) -> None:
    created = create(cast, "a", "b")
    assert list(integrity_checks.losses()) == []
    drop_version(sql, created[0].uuid)
    assert [(each.kind, each.object) for each in integrity_checks.losses()] == [
        ("loss", "version 1 of secret a")
    ]


def test_an_old_state_that_is_put_back_is_found(cast: Cast, sql: Sql) -> None:
    (created,) = create(cast, "a")
    old = bytes(stored(created).row_mac)
    lifecycle.delete(actor=cast.principal(cast.erin), secret=stored(created))
    assert found() == set()
    sql("UPDATE secrets_app_secret SET live = %s, row_mac = %s WHERE id = %s", 1, old, created.pk)
    assert {kind for kind, _ in found()} == {"replayed"}


def test_a_row_of_another_state_is_found_beside_its_manifest(cast: Cast, sql: Sql) -> None:
    """Without the later event, the creation is the newest state on record."""
    (created,) = create(cast, "a")
    with_rename = stored(created)
    lifecycle.rename(actor=cast.principal(cast.erin), secret=with_rename, name="b")
    sql("UPDATE audit_app_auditevent SET details = '{}' WHERE action = 'secret.rename'")
    assert "replayed" in {kind for kind, _ in found()}


ITEMS = "audit_app_readmanifestitem (manifest_id, secret_uuid, number, name, row_digest, version_digest)"
ADDED = f"""INSERT INTO {ITEMS}
SELECT manifest_id, secret_uuid, 2, name, row_digest, version_digest
FROM audit_app_readmanifestitem WHERE name = 'a'"""
EDITED = ("edited", "the list of what was read or created is not the one that was recorded")


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM audit_app_readmanifestitem WHERE name = 'a'",
        "UPDATE audit_app_readmanifestitem SET name = 'x' WHERE name = 'a'",
        "UPDATE audit_app_readmanifestitem SET row_digest = 'x' WHERE name = 'a'",
        "UPDATE audit_app_readmanifestitem SET version_digest = 'x' WHERE name = 'a'",
        "UPDATE audit_app_readmanifestitem SET row_digest = NULL WHERE name = 'a'",
        "UPDATE audit_app_readmanifestitem SET version_digest = NULL WHERE name = 'a'",
        "UPDATE audit_app_readmanifestitem SET row_digest = NULL, version_digest = NULL WHERE name = 'a'",
        (
            "INSERT INTO audit_app_readmanifestitem (manifest_id, secret_uuid, number, name, row_digest, "
            "version_digest) SELECT manifest_id, secret_uuid, 2, name, row_digest, version_digest "
            "FROM audit_app_readmanifestitem WHERE name = 'a'"
        ),
    ],
)
def test_a_manifest_that_was_edited_is_found(cast: Cast, sql: Sql, statement: str) -> None:
    create(cast, "a", "b")
    sql(statement)
    assert EDITED in {(problem.kind, problem.message) for problem in verify()}


def test_an_event_whose_manifest_was_replaced_is_found(cast: Cast, sql: Sql) -> None:
    create(cast, "a")
    create(cast, "b")
    newest, other = ReadManifest.objects.order_by("-pk")
    sql("UPDATE audit_app_auditevent SET manifest_id = %s WHERE manifest_id = %s", other.pk, newest.pk)
    assert "edited" in {problem.kind for problem in verify()}


def test_the_record_shows_what_was_created_page_by_page(
    cast: Cast, signed_in: Callable[[User], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audit_app.views.ITEMS_SHOWN", 2)
    create(cast, "app/a", "app/b", "app/c")
    event = AuditEvent.objects.get(action=Action.SECRET_CREATE)
    alice = signed_in(cast.alice)
    pages = [alice.get(f"/activity/{event.pk}{query}").content.decode() for query in ("", "?page=2")]
    shown = [[name for name in "abc" if f"app/<wbr>{name}<" in page] for page in pages]
    assert shown == [["a", "b"], ["c"]]
    for page in pages:
        assert "3 values" in page
        assert "Created secrets" in page
        assert '<span class="quiet">verified</span>' in page
    assert 'href="?page=2"' in pages[0]
    assert 'href="?page=1"' in pages[1]


def test_the_api_lists_what_an_event_is_about(cast: Cast, bearer: Callable[..., Client]) -> None:
    created = create(cast, "app/a", "app/b", "app/c")
    manager = bearer("manager", cast.development)
    (listed,) = manager.get("/api/events?object=app/b").json()["results"]
    assert (listed["action"], listed["items"], listed["details"]["count"]) == ("secret.create", 3, 3)
    path = f"/api/events/{listed['stream']}/{listed['sequence']}/items"
    first = manager.get(f"{path}?limit=2").json()
    rest = manager.get(first["next"]).json()
    assert [*first["results"], *rest["results"]] == [
        {"secret_uuid": str(each.uuid), "version": 1, "name": each.name} for each in created
    ]
    assert bearer("editor", cast.development).get(path).status_code == 404
    assert manager.get(f"/api/events/{listed['stream']}/987654/items").status_code == 404


def test_a_bundle_holds_the_manifest_and_is_verified_without_keeper(
    cast: Cast, settings: Settings, tmp_path: Path
) -> None:
    settings.KEEPER_AUDIT_SINKS = [f"file:{tmp_path / 'sink'}"]
    create(cast, "a", "b")
    read.reveal_environment(actor=cast.principal(cast.alice), environment=cast.development)
    anchor_log(at_once=True)
    checkpoint = signed(Checkpoint.objects.latest("number"))
    bundle, edited = tmp_path / "bundle", tmp_path / "edited"
    lines = list(bundle_until(checkpoint))
    bundle.write_bytes(b"".join(lines))
    assert require_whole(bundle, checkpoint=checkpoint, cuts={})
    assert offline(bundle) == 0
    listed = next(place for place, line in enumerate(lines) if b'"kind":"manifest"' in line)
    read_line = json.loads(lines[listed])
    assert [len(item) for item in read_line["read"]] == [5, 5]
    read_line["read"][0][4] = read_line["read"][1][4]
    lines[listed] = json.dumps(read_line, separators=(",", ":")).encode() + b"\n"
    edited.write_bytes(b"".join(lines))
    with pytest.raises(BadBundle):
        require_whole(edited, checkpoint=checkpoint, cuts={})
    assert offline(edited) == 1


def offline(bundle: Path) -> int:
    return subprocess.run([sys.executable, "-I", str(OFFLINE), str(bundle)], check=False).returncode


def test_the_manifest_has_no_value(cast: Cast) -> None:
    create(cast, "a")
    (item,) = ReadManifestItem.objects.values_list()
    assert "of a" not in map(str, item)
