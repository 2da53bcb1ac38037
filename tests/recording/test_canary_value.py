"""A value that goes through every face of Keeper, with success and failure, is left nowhere but sealed."""

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from pytest_django import Settings

from environments_app.models import User
from environments_app.tests.cast import PASSWORD, Cast
from operations_app.backup.create import back_up
from operations_app.tests.backup.making import OPERATOR
from secrets_app.maintenance import integrity_sweep
from secrets_app.models import Secret
from secrets_app.tests.kept import send
from secrets_app.webhooks import add_webhook
from tests.canary import CANARY, encodings, found_in, traces


def test_the_search_finds_each_encoding() -> None:
    for name, needle in encodings().items():
        assert name in found_in(b"before " + needle + b" after"), name
    assert found_in(b"nothing of the kind") == []


def test_the_search_looks_where_something_could_be_left(
    cast: Cast, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    User.objects.filter(pk=cast.bob.pk).update(display_name=CANARY)
    (tmp_path / "file").write_text(CANARY.encode().hex())
    import logging

    logging.getLogger("keeper").warning("%s", [CANARY])
    found = traces(caplog=caplog, folders=[tmp_path], answers=[CANARY.encode()])
    assert {place.split()[0] for place in found} == {"table", "file", "log", "answer"}


def test_it_is_left_nowhere(
    cast: Cast,
    signed_in: Callable[[User], Client],
    bearer: Callable[..., Client],
    settings: Settings,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings.KEEPER_DATA_DIR = tmp_path / "data"
    settings.KEEPER_BACKUP_DIR = str(tmp_path / "backups")
    settings.KEEPER_OUTBOUND_ALLOWED = []
    caplog.set_level("INFO")
    refused: list[bytes] = []
    api(cast, bearer, refused)
    pages(cast, signed_in, refused)
    administration(cast, signed_in, refused)
    # A webhook's address is a secret as well; nobody answers there.
    add_webhook(
        actor=cast.principal(cast.alice),
        environment=cast.development,
        name="chat",
        url=f"https://hooks.example/{CANARY.encode().hex()}",
    )
    commands(tmp_path)
    integrity_sweep.go_on()
    assert Secret.objects.filter(live=True).count() >= 2
    assert traces(caplog=caplog, folders=[tmp_path], answers=refused) == []


def api(cast: Cast, bearer: Callable[..., Client], refused: list[bytes]) -> None:
    place, client = cast.development, bearer("manager", cast.development)
    body = {"environment_id": place.pk, "name": "api/key", "secret_type": "TEXT", "value": CANARY}
    made = send(client, "POST", "/api/secrets", body).json()
    path = f"/api/secrets/{made['id']}"
    assert send(client, "GET", path).json()["value"] == CANARY
    send(client, "PUT", path, {"value": f"{CANARY} again"})
    assert CANARY in client.get(f"/api/environments/{place.name}/export").json()["api/key"]
    brought = send(
        client,
        "POST",
        f"/api/environments/{place.name}/import",
        {"format": "json", "content": json.dumps({"BROUGHT": CANARY})},
    )
    assert brought.status_code == 200
    refused.append(brought.content)
    other = bearer("viewer", place)
    wrong: tuple[tuple[Client, str, str, Any], ...] = (
        # Of the wrong type, too long, beside an unknown field, twice, as a name, as broken JSON, by somebody who may not.
        (client, "POST", "/api/secrets", body | {"name": "api/json", "secret_type": "JSON"}),
        (
            client,
            "POST",
            "/api/secrets",
            body | {"name": "api/yaml", "secret_type": "YAML", "value": f"&a [*a, {CANARY}"},
        ),
        (client, "POST", "/api/secrets", body | {"name": "api/pem", "secret_type": "CERTIFICATE"}),
        (client, "POST", "/api/secrets", body | {"name": "api/ssh", "secret_type": "SSH_KEY"}),
        (client, "POST", "/api/secrets", body | {"name": "api/long", "value": CANARY * 4000}),
        (client, "POST", "/api/secrets", body | {"name": "api/nul", "value": f"{CANARY}\0"}),
        (client, "POST", "/api/secrets", body | {"name": "api/more", "more": CANARY}),
        (client, "POST", "/api/secrets", body | {"name": "api/list", "value": [CANARY]}),
        (client, "POST", "/api/secrets", body),
        (client, "POST", "/api/secrets/bulk", {"secrets": [body, body | {"name": "///"}]}),
        (client, "PUT", path, {"value": {"nested": CANARY}}),
        (other, "PUT", path, {"value": CANARY}),
        (other, "GET", path, None),
        (other, "GET", f"/api/environments/{place.name}/export", None),
    )
    for who, method, where, content in wrong:
        response = send(who, method, where, content)
        assert response.status_code >= 400 or (who, method) == (other, "GET"), (
            method,
            where,
            response.status_code,
        )
        refused.append(response.content)
    broken = client.post("/api/secrets", data=f'{{"value": "{CANARY}', content_type="application/json")
    refused.append(broken.content)
    assert broken.status_code == 400


def pages(cast: Cast, signed_in: Callable[[User], Client], refused: list[bytes]) -> None:
    page = signed_in(cast.alice)
    form = {"environment": cast.development.name, "name": "page/key", "secret_type": "TEXT", "value": CANARY}
    assert page.post("/secrets/new", form).status_code == 302
    secret = Secret.objects.get(name="page/key")
    # Escaped as a page has to, or shown by another face: a reveal is what it is for.
    assert page.post(f"/secrets/{secret.pk}/reveal").status_code == 200
    refused.extend(
        page.get(where).content for where in (f"/secrets/{secret.pk}", "/secrets", "/activity", "/")
    )
    viewer = signed_in(cast.vera)
    refused.append(viewer.post(f"/secrets/{secret.pk}/reveal").content)
    # Whoever typed it gets the form back as it was; what else that leaves is looked for.
    assert viewer.post("/secrets/new", form | {"name": "page/other"}).status_code >= 400
    # A sign-in with it for a password.
    refused.append(Client().post("/sign-in", {"username": "alice", "password": CANARY}).content)
    refused.append(
        page.post("/profile/password", {"current": PASSWORD, "password": CANARY, "again": "another"}).content
    )


def administration(cast: Cast, signed_in: Callable[[User], Client], refused: list[bytes]) -> None:
    root = signed_in(cast.root)
    form = {"environment": cast.development.pk, "name": "admin/key", "secret_type": "TEXT", "value": CANARY}
    refused.append(root.post("/admin/secrets_app/secret/add/", form).content)
    secret = Secret.objects.get(name="page/key")
    shown = ("secret/", f"secret/{secret.pk}/change/", f"secret/{secret.pk}/history/", "secretversion/")
    refused.extend(root.get(f"/admin/secrets_app/{where}").content for where in shown)


def commands(folder: Path) -> None:
    out = StringIO()
    back_up(actor=OPERATOR, path=folder / "made.kbk")
    call_command("compliance_report", "--output", str(folder / "report.html"), "--format", "html")
    call_command("compliance_report", "--output", str(folder / "report.json"))
    call_command("compliance_report", "--output", str(folder / "report.csv"), "--format", "csv")
    call_command("restore", str(folder / "made.kbk"), "--verify", stdout=out)
    call_command("verify_audit", stdout=out)
    call_command("audit_export", str(folder / "trail"), stdout=out)
    (folder / "said").write_text(out.getvalue())
