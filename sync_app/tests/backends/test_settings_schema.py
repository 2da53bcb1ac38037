"""Settings of targets and rotators: described for each kind in OpenAPI and in the docs, and refused by name."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from drf_spectacular.generators import SchemaGenerator

from environments_app.tests.cast import Cast
from sync_app.backends.registry import BACKENDS
from sync_app.backends.vault.backend import VaultKv2
from sync_app.rotators.registry import ROTATORS
from sync_app.tests import settings_tables

Bearer = Callable[..., Client]


def schemas() -> dict[str, Any]:
    document: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    found: dict[str, Any] = document["components"]["schemas"]
    return found


def test_each_kind_has_a_schema_of_its_settings() -> None:
    found = schemas()
    for body, selector, registry in (
        ("NewTargetRequest", "backend", BACKENDS),
        ("DraftTestRequest", "backend", BACKENDS),
        ("NewPolicyRequest", "rotator", ROTATORS),
    ):
        assert found[body]["discriminator"]["propertyName"] == selector
        assert found[body]["discriminator"]["mapping"].keys() == registry.keys()
    vault = found["VaultKv2Destination"]
    assert vault["properties"].keys() == {field.name for field in VaultKv2.destination_fields}
    assert (vault["required"], vault["additionalProperties"]) == (["address"], False)
    mysql = found["MysqlSettings"]["properties"]
    assert mysql["tls"]["enum"] == ["verify-identity", "verify-ca", "off"]
    assert found["MysqlCredentials"]["properties"]["password"]["writeOnly"] is True
    assert found["MysqlNewPolicyRequest"]["properties"]["settings"]["$ref"].endswith("/MysqlSettings")


def test_a_new_backend_appears_without_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKENDS, "another", VaultKv2)
    found = schemas()
    assert found["NewTargetRequest"]["discriminator"]["mapping"].keys() >= {"another", "vault_kv2"}
    assert "AnotherDestination" in found


@pytest.mark.parametrize("page", settings_tables.PAGES)
def test_the_docs_have_the_tables(page: str) -> None:
    assert settings_tables.tables(page) in (settings_tables.DOCS / page).read_text(), (
        "run: python -m sync_app.tests.settings_tables"
    )


@pytest.mark.django_db
def test_an_unknown_setting_is_a_fault_of_the_settings(cast: Cast, bearer: Bearer) -> None:
    from secrets_app.tests.kept import keep

    keep(cast, "db/login")
    manager = bearer("manager", cast.development)
    body = {"secret": "db/login", "rotator": "generated", "settings": {"unheard_of": "x"}}
    path = "/api/environments/development/rotation-policies"
    answer = manager.post(path, body, content_type="application/json")
    assert [error["field"] for error in answer.json()["errors"]] == ["settings"]
    body |= {"settings": {}, "credentials": {"unheard_of": "x"}}
    answer = manager.post(path, body, content_type="application/json")
    assert [error["field"] for error in answer.json()["errors"]] == ["credentials"]
