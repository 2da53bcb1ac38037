"""`keeper export-all vault` into a real OpenBao, and back from there."""

import io
import json
from pathlib import Path
from typing import Any

import hvac
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from environments_app.tests.cast import Cast
from operations_app.management.confirmation import database_name
from operations_app.tests.export_all.test_export_all import UNICODE, furnish
from secrets_app.models import Secret, SecretVersion
from secrets_app.models.version_rules import VersionRules
from secrets_app.services import write
from secrets_app.services.read import reveal
from secrets_app.tests.kept import change, keep
from secrets_app.types.registry import SecretType
from sync_app.backends.vault.connection import VaultConnection
from sync_app.errors import TargetUnreachable
from sync_app.migration import service
from sync_app.migration.placing import How, Rule
from sync_app.tests.migration.driving import apply, work
from sync_app.tests.migration.test_vault import OldVault, old
from tests.servers.fixtures import openbao

__all__ = ["old", "openbao"]


@pytest.fixture(autouse=True)
def _typed(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    settings.KEEPER_OUTBOUND_ALLOWED = ["127.0.0.0/8"]
    monkeypatch.setattr("builtins.input", lambda _question: database_name())


@pytest.fixture
def token(old: OldVault, tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(f"{old.token}\n", encoding="utf-8")
    return file


def run(old: OldVault, token: Path, *more: str) -> str:
    out = io.StringIO()
    call_command(
        "export_all", "vault", old.url, "--mount", old.kv, "--token-file", str(token), *more, stdout=out
    )
    return out.getvalue()


def value(old: OldVault, path: str, number: int | None = None) -> Any:
    reply = old.client.secrets.kv.v2.read_secret_version(
        path, version=number, mount_point=old.kv, raise_on_deleted_version=True
    )
    return reply["data"]["data"]


def living_values(cast: Cast) -> dict[str, dict[int, Any]]:
    """Return the values of each living secret by number; JSON as what it means."""
    found: dict[str, dict[int, Any]] = {}
    for secret in Secret.objects.filter(live=True).select_related("environment"):
        numbers = SecretVersion.objects.filter(secret=secret).values_list("number", flat=True)
        readable = [number for number in numbers if not secret.rules.state(number)]
        texts = {
            each: reveal(actor=cast.principal(cast.alice), secret=secret, number=each).value
            for each in readable
        }
        is_json = secret.secret_type == SecretType.JSON
        found[secret.name] = {number: json.loads(text) if is_json else text for number, text in texts.items()}
    return found


def test_each_version_has_its_number_there_and_comes_back_from_there(
    cast: Cast, old: OldVault, token: Path
) -> None:
    furnish(cast)
    said = run(old, token)
    assert said.splitlines()[-1] == "3 secrets, 7 versions."
    metadata = old.metadata("development/shop/db")
    assert metadata["current_version"] == 5
    assert {number for number, each in metadata["versions"].items() if each["destroyed"]} == {"2", "4"}
    labels = metadata["custom_metadata"]
    assert (labels["owner"], labels["keeper-tags"], labels["keeper-type"]) == ("shop", "team:shop", "TEXT")
    assert [value(old, "development/shop/db", number)["value"] for number in (1, 3, 5)] == [
        "one", UNICODE, "five",
    ]  # fmt: skip
    assert value(old, "development/json") == {"a": 1.1, "b": "ü"}
    # Again into the same mount: only on purpose, and then nothing is written twice.
    with pytest.raises(CommandError, match="--continue"):
        run(old, token)
    run(old, token, "--continue")
    assert old.metadata("development/shop/db")["current_version"] == 5
    before = living_values(cast)
    assert len(before) == 3
    Secret.objects.all().update(live=None)
    # Each into the other one: the deleted secrets keep the numbers of their names.
    places = {"development": str(cast.production.uuid), "production": str(cast.development.uuid)}
    rule = Rule(place=old.kv, how=How.FIRST_FOLDER, environments=places)
    migration = service.start(
        actor=cast.principal(cast.alice), source="vault", settings={"address": old.url},
        credentials={"token": old.token}, rules=[rule],
    )  # fmt: skip
    apply(cast, work(migration), who=cast.alice)
    # Vault rounds numbers and sorts keys.
    assert living_values(cast) == before
    back = Secret.objects.get(name="shop/db", live=True)
    assert (back.current_number, back.owner, back.description) == (5, "shop", "the database")
    assert back.tags == ["team:shop"]
    assert [back.rules.state(number) for number in range(1, 6)] == ["", "destroyed", "", "destroyed", ""]


def test_a_version_is_there_as_clients_of_the_protocol_read_it_here(
    cast: Cast, old: OldVault, token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    actor, json_type = cast.principal(cast.alice), SecretType.JSON
    write.update(actor=actor, secret=keep(cast, "shape", '{"a":1}'), secret_type=json_type, value='{"b":2}')
    # As an earlier release has left it.
    monkeypatch.setattr(VersionRules, "retyped", lambda rules, *_, **__: rules)
    write.update(actor=actor, secret=keep(cast, "earlier", "plain"), secret_type=json_type, value='{"b":2}')
    run(old, token)
    assert [value(old, "development/shape", number) for number in (1, 2)] == [{"value": '{"a":1}'}, {"b": 2}]
    assert [value(old, "development/earlier", number) for number in (1, 2)] == [{"value": "plain"}, {"b": 2}]


def test_an_interrupted_export_goes_on(
    cast: Cast, old: OldVault, token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    furnish(cast)
    request, left = VaultConnection.request, [6]

    def cut(self: Any, method: str, path: str, **options: Any) -> Any:
        if "/data/" in path and method == "POST":
            left[0] -= 1
            if not left[0]:
                raise TargetUnreachable("the line is cut")
        return request(self, method, path, **options)

    with monkeypatch.context() as patched:
        patched.setattr("operations_app.export_all.vault.VaultConnection.request", cut)
        with pytest.raises(CommandError, match="the line is cut"):
            run(old, token)
    assert old.metadata("development/shop/db")["current_version"] == 4
    assert run(old, token, "--continue").splitlines()[-1] == "3 secrets, 7 versions."
    assert value(old, "development/shop/db", 3)["value"] == UNICODE
    metadata = old.metadata("development/shop/db")
    assert (metadata["current_version"], metadata["versions"]["4"]["destroyed"]) == (5, True)


def test_what_others_have_there_stays(cast: Cast, old: OldVault, token: Path) -> None:
    keep(cast, "shop/db", "ours")
    old.put("development/shop/db", {"value": "theirs"})
    with pytest.raises(CommandError, match="not empty"):
        run(old, token)
    with pytest.raises(CommandError, match="not from this Keeper"):
        run(old, token, "--continue")
    assert value(old, "development/shop/db") == {"value": "theirs"}


def test_what_others_write_meanwhile_stays(
    cast: Cast, old: OldVault, token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(cast, "shop/db", "ours")
    request = VaultConnection.request

    def overtaken(self: Any, method: str, path: str, **options: Any) -> Any:
        if "/data/" in path and method == "POST":
            old.put("development/shop/db", {"value": "theirs"})
        return request(self, method, path, **options)

    monkeypatch.setattr("operations_app.export_all.vault.VaultConnection.request", overtaken)
    with pytest.raises(CommandError, match="changed in Vault"):
        run(old, token)
    assert value(old, "development/shop/db") == {"value": "theirs"}


def test_a_secret_that_was_changed_there_since_stays(cast: Cast, old: OldVault, token: Path) -> None:
    secret = keep(cast, "shop/db", "one")
    run(old, token)
    old.put("development/shop/db", {"value": "theirs"})
    change(cast, secret, "two")
    with pytest.raises(CommandError, match="changed in Vault"):
        run(old, token, "--continue")
    assert value(old, "development/shop/db") == {"value": "theirs"}


def test_a_wrong_token_or_mount_is_an_error(cast: Cast, old: OldVault, tmp_path: Path, token: Path) -> None:
    keep(cast)
    wrong = tmp_path / "wrong"
    wrong.write_text("hvs.nothing", encoding="utf-8")
    with pytest.raises(CommandError, match="token"):
        run(old, wrong)
    with pytest.raises(CommandError, match="KV version 2"):
        call_command("export_all", "vault", old.url, "--mount", old.old, "--token-file", str(token))
    with pytest.raises(CommandError, match="token"):
        call_command("export_all", "vault", old.url, "--mount", old.kv)
    assert isinstance(old.client, hvac.Client)
