"""Clients of an old Vault find under its paths what was carried from there, with only the address changed."""

from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from django.test import Client

from audit_app.integrity.check_registry import run_checks
from audit_app.verification.stream_verifier import verify
from environments_app.errors import Forbidden
from environments_app.models import Environment, Membership, Role, User
from environments_app.tests.cast import Cast
from environments_app.tokens import service as tokens
from secrets_app.models import Secret, SecretVersion, VersionOrigin
from secrets_app.services import write
from secrets_app.types.registry import SecretType
from sync_app.migration import service
from sync_app.migration.placing import How, Rule
from sync_app.models import Migration, MigrationLine, MountRule
from sync_app.models.migration import Word

pytestmark = pytest.mark.django_db


def mount(cast: Cast, *rules: Rule, who: User | None = None, carried: bool = True) -> Migration:
    """Make the rules of a migration, as the application of its plan does once something is carried."""
    actor = cast.principal(who or cast.alice)
    made = service.start(
        actor=actor,
        source="vault",
        settings={"address": "http://127.0.0.1:1"},
        credentials={"token": "t"},
        rules=rules,
    )
    service.store_plan(made, "0" * 64, lambda **_: None)
    Migration.objects.filter(pk=made.pk).update(state="planned")
    made.refresh_from_db()
    for rule in rules:
        for folder, uuid in rule.environments.items():
            MigrationLine.objects.create(
                migration=made,
                plan=made.plan,
                environment_uuid=uuid,
                place=rule.place,
                path=f"{folder}/x" if folder else "x",
                word=Word.SAME if carried else Word.REFUSED,
            )
    service.request_apply(actor=actor, migration=made, digest=made.plan_digest)
    service.finish_apply(made, lambda **_: None)
    return made


def by_folder(cast: Cast, place: str = "secret", prefix: str = "") -> Rule:
    found = {"dev": str(cast.development.uuid), "prod": str(cast.production.uuid)}
    return Rule(place=place, how=How.FIRST_FOLDER, environments=found, prefix=prefix)


def keep(cast: Cast, name: str, value: str, environment: Environment | None = None) -> Secret:
    return write.create(
        actor=cast.principal(cast.alice),
        environment=environment or cast.development,
        name=name,
        secret_type=SecretType.TEXT,
        value=value,
    )


def headers(cast: Cast, role: Role = Role.READER) -> dict[str, str]:
    _, secret = tokens.issue(
        actor=cast.principal(cast.alice), environment=cast.development, name=f"c-{uuid4().hex[:6]}", role=role
    )
    return {"X-Vault-Token": secret}


def value(client: Client, path: str, token: dict[str, str]) -> object:
    answer = client.get(f"/vault/v1/{path}", headers=token)
    return answer.json()["data"]["data"]["value"] if answer.status_code == 200 else answer.status_code


def test_a_path_of_the_old_vault_finds_what_came_from_there(cast: Cast, client: Client) -> None:
    keep(cast, "app/db", "here")
    keep(cast, "app/db", "not for this token", cast.production)
    token = headers(cast)
    assert value(client, "secret/data/dev/app/db", token) == 404
    mount(cast, by_folder(cast), by_folder(cast, "teams", "old"))
    assert value(client, "secret/data/dev/app/db", token) == "here"
    assert value(client, "secret/data/dev/app/db?version=1", token) == "here"
    assert value(client, "secret/data/prod/app/db", token) == 404
    keep(cast, "old/x", "prefixed")
    assert value(client, "teams/data/dev/x", token) == "prefixed"
    assert value(client, "teams/data/prod/x", token) == 403
    assert value(client, "secret/data/app/db", token) == "here"
    listed = client.get("/vault/v1/secret/metadata/dev/app?list=true", headers=token).json()["data"]["keys"]
    assert listed == ["db"]
    assert client.get("/vault/v1/secret/metadata/dev/app/db", headers=token).status_code == 200
    assert not [*verify(), *run_checks()]


def test_an_environment_of_the_name_and_a_secret_of_the_path_come_first(cast: Cast, client: Client) -> None:
    keep(cast, "app/db", "by the rule")
    keep(cast, "dev/app/db", "by its own path")
    mount(cast, by_folder(cast), by_folder(cast, "development"))
    token = headers(cast)
    assert value(client, "secret/data/dev/app/db", token) == "by its own path"
    assert value(client, "development/data/dev/app/db", token) == "by its own path"
    assert value(client, "development/data/app/db", token) == "by the rule"
    # A list below such a path is of the same place as the path itself.
    keep(cast, "app/db/ruled", "by the rule")
    keep(cast, "dev/app/db/own", "by its own path")
    listed = client.get("/vault/v1/secret/metadata/dev/app/db?list=true", headers=token).json()["data"]
    assert listed["keys"] == ["own"]


def test_a_rule_that_keeper_did_not_write_finds_nothing(cast: Cast, client: Client) -> None:
    keep(cast, "a", "here")
    mount(cast, by_folder(cast, "teams"))
    token = headers(cast)
    assert value(client, "teams/data/dev/a", token) == "here"
    MountRule.objects.filter(folder="dev").update(folder="x")
    assert value(client, "teams/data/x/a", token) == 403
    assert [problem.kind for problem in run_checks()] == ["edited"]


def test_writes_and_deletions_go_where_reads_do(cast: Cast, client: Client) -> None:
    mount(cast, by_folder(cast))
    token = headers(cast, Role.EDITOR)
    written = client.post(
        "/vault/v1/secret/data/dev/new/key", {"data": {"value": "v"}}, "application/json", headers=token
    )
    assert written.status_code == 200
    assert Secret.objects.get().name == "new/key"
    assert value(client, "secret/data/dev/new/key", token) == "v"
    client.delete("/vault/v1/secret/data/dev/new/key", headers=token)
    assert value(client, "secret/data/dev/new/key", token) == 404


def test_no_rule_is_made_before_the_approval(cast: Cast) -> None:
    cast.production.protected = True
    cast.production.save()
    mount(cast, by_folder(cast))
    assert [rule.environment for rule in MountRule.objects.all()] == [cast.development]


def test_mounts_are_shown_as_the_old_ones(cast: Cast, client: Client) -> None:
    mount(cast, by_folder(cast, "teams"))
    token = headers(cast)
    mounts = client.get("/vault/v1/sys/internal/ui/mounts", headers=token).json()["data"]["secret"]
    assert {"teams/", "development/", "secret/"} <= mounts.keys()
    facts = client.get("/vault/v1/sys/internal/ui/mounts/teams/dev/a", headers=token).json()["data"]
    assert (facts["path"], facts["options"]) == ("teams/", {"version": "2"})
    able = client.post(
        "/vault/v1/sys/capabilities-self", {"paths": ["teams/data/dev/a"]}, "application/json", headers=token
    ).json()
    assert able["data"]["teams/data/dev/a"] == ["read"]


def whole(environment: Environment, prefix: str = "", place: str = "teams") -> Rule:
    return Rule(place=place, how=How.ALL, environments={"": str(environment.uuid)}, prefix=prefix)


def limit_erin(cast: Cast, prefix: str = "evil") -> None:
    membership = Membership.objects.get(user=cast.erin, environment=cast.development)
    membership.prefix = prefix
    membership.save()


def test_who_is_limited_to_a_path_neither_makes_nor_changes_a_rule(cast: Cast, client: Client) -> None:
    keep(cast, "k/s1", "one")
    keep(cast, "evil/s1", "taken over")
    keep(cast, "evil/k/s1", "taken over")
    limit_erin(cast)
    token = headers(cast)
    made = mount(cast, whole(cast.development, "evil"), who=cast.erin)
    assert not MountRule.objects.exists()
    assert "not led to development: /evil" in service.led(made)[0]
    mount(cast, whole(cast.development))
    mount(cast, whole(cast.development, "evil"), who=cast.erin)
    assert value(client, "teams/data/k/s1", token) == "one"


def test_an_editor_does_not_lead_a_mount_elsewhere_and_a_manager_does(cast: Cast, client: Client) -> None:
    keep(cast, "k/s1", "one")
    keep(cast, "other/k/s1", "two")
    mount(cast, whole(cast.development), who=cast.erin)
    token = headers(cast)
    made = mount(cast, whole(cast.development, "other"), who=cast.erin)
    assert value(client, "teams/data/k/s1", token) == "one"
    assert "stays development: /: a manager" in service.led(made)[0]
    mount(cast, whole(cast.development, "other"))
    assert value(client, "teams/data/k/s1", token) == "two"
    assert not [*verify(), *run_checks()]


def test_a_migration_of_a_manager_is_applied_by_nobody_with_less(cast: Cast) -> None:
    limit_erin(cast)
    made = service.start(
        actor=cast.principal(cast.alice),
        source="vault",
        settings={"address": "http://127.0.0.1:1"},
        credentials={"token": "t"},
        rules=[whole(cast.development)],
    )
    service.store_plan(made, "0" * 64, lambda **_: None)
    Migration.objects.update(state="planned")
    made.refresh_from_db()
    with pytest.raises(Forbidden):
        service.request_apply(actor=cast.principal(cast.erin), migration=made, digest=made.plan_digest)


def test_no_rule_is_made_where_nothing_was_carried(cast: Cast) -> None:
    mount(cast, whole(cast.development), carried=False)
    assert not MountRule.objects.exists()


def test_a_right_that_is_lost_while_it_is_applied_makes_no_rule(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = service.finish_apply

    def finish(*given: Any) -> None:
        limit_erin(cast)
        real(*given)

    monkeypatch.setattr(service, "finish_apply", finish)
    mount(cast, whole(cast.development), who=cast.erin)
    assert not MountRule.objects.exists()


def carry(cast: Cast, name: str, value: str, path: str, place: str = "teams") -> Secret:
    """Keep a secret that has come from a path of an old mount."""
    secret = keep(cast, name, value)
    VersionOrigin.objects.create(
        version=SecretVersion.objects.get(secret=secret),
        migration=uuid4(),
        system="vault",
        place=place,
        path=path,
    )
    return secret


CHANGED = {
    "n/a_b": "n/a_b",
    "n/a|b": "n/a_b-13",
    "n/a b": "n/a_b-2",
    "n/a=20b": "n/a=20b",
    "n/é": "n/_",
    "n/=C3=A9": "n/=C3=A9",
    "my team/x": "my_team/x",
}


@pytest.mark.parametrize("place", ["teams", "secret"])
def test_a_changed_name_is_found_by_its_own_path_alone(cast: Cast, client: Client, place: str) -> None:
    for path, name in CHANGED.items():
        carry(cast, name, f"of {path}", path, place)
    mount(cast, whole(cast.development, place=place))
    token = headers(cast, Role.EDITOR)
    for path in CHANGED:
        assert value(client, f"{place}/data/{quote(path)}", token) == f"of {path}", path
    for path in ("n/a~b", "n/a_b-13", "n/a_b-2", "n/_", "n/è", "my_team/x", "n/a_b-3 "):
        assert value(client, f"{place}/data/{quote(path)}", token) == 404, path
        count = SecretVersion.objects.count()
        written = client.post(
            f"/vault/v1/{place}/data/{quote(path)}",
            {"data": {"value": "v"}},
            "application/json",
            headers=token,
        )
        assert (written.status_code, SecretVersion.objects.count()) == (404, count), path
    written = client.post(
        f"/vault/v1/{place}/data/n/a%7Cb", {"data": {"value": "v"}}, "application/json", headers=token
    )
    assert written.status_code == 200
    assert Secret.objects.get(name="n/a_b-13").current_number == 2
    assert value(client, f"{place}/data/n/a_b", token) == "of n/a_b"
    assert value(client, f"{place}/data/n/a%7Cb", token) == "v"
    client.delete(f"/vault/v1/{place}/data/n/a%7Cb", headers=token)
    assert value(client, f"{place}/data/n/a%7Cb", token) == 404
    back = {"versions": [2]}
    client.post(f"/vault/v1/{place}/undelete/n/a%7Cb", back, "application/json", headers=token)
    assert value(client, f"{place}/data/n/a%7Cb", token) == "v"

    def keys(path: str) -> list[str]:
        answer = client.get(f"/vault/v1/{place}/metadata/{quote(path)}?list=true", headers=token)
        found: list[str] = answer.json()["data"]["keys"] if answer.status_code == 200 else []
        return found

    assert keys("n") == sorted(path[2:] for path in CHANGED if path[:2] == "n/")
    assert (keys("my team"), keys("my_team")) == (["x"], [])


def test_a_newer_path_of_the_name_finds_its_own(cast: Cast, client: Client) -> None:
    carry(cast, "p_q", "of p|q", "p|q")
    carry(cast, "p_q-2", "of p_q", "p_q")
    mount(cast, whole(cast.development))
    token = headers(cast)
    assert value(client, "teams/data/p_q", token) == "of p_q"
    assert value(client, "teams/data/p%7Cq", token) == "of p|q"


def test_an_origin_that_keeper_did_not_write_finds_nothing(cast: Cast, client: Client) -> None:
    carry(cast, "a_b", "here", "a|b")
    mount(cast, whole(cast.development))
    VersionOrigin.objects.update(path="a~b")
    assert value(client, "teams/data/a~b", headers(cast)) == 404


def test_who_may_not_see_a_name_does_not_learn_whether_it_is_there(cast: Cast, client: Client) -> None:
    carry(cast, "n/a_b", "here", "n/a|b")
    mount(cast, whole(cast.development))
    _, secret = tokens.issue(
        actor=cast.principal(cast.alice), environment=cast.development, name="c", role=Role.READER, prefix="m"
    )
    token = {"X-Vault-Token": secret}
    asked = [value(client, f"teams/data/n/{path}", token) for path in ("a%7Cb", "a~b", "a_b", "none")]
    assert asked == [403] * 4


def test_lists_have_the_old_names_below_a_folder_and_a_prefix(cast: Cast, client: Client) -> None:
    carry(cast, "old/app/a_b", "one", "dev/app/a b")
    carry(cast, "old/my_team/x", "two", "dev/my team/x")
    keep(cast, "old/plain", "three")
    mount(cast, by_folder(cast, "teams", "old"))
    token = headers(cast)
    scanned = client.generic("SCAN", "/vault/v1/teams/metadata/dev", headers=token).json()["data"]["keys"]
    assert scanned == ["app/a b", "my team/x", "plain"]
    for path, keys in (("dev", ["app/", "my team/", "plain"]), ("dev/app", ["a b"]), ("dev/my team", ["x"])):
        answer = client.get(f"/vault/v1/teams/metadata/{quote(path)}?list=true", headers=token)
        assert answer.json()["data"]["keys"] == keys
