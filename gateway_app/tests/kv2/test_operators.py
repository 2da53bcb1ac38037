"""What operators ask, request by request as their sources have it: External Secrets, PushSecret, Terraform."""

import json
import os
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from audit_app.integrity.check_registry import run_checks
from environments_app.models import ServiceToken
from environments_app.tests.cast import Cast
from environments_app.tests.trusts.issuer import Issuer
from environments_app.tests.trusts.made import make_trust
from gateway_app.tests.kv2.conftest import Ask
from secrets_app.errors import VersionGone
from secrets_app.importing.formats.registry import Entry
from secrets_app.importing.plan import Verdict, plan_import
from secrets_app.models import Secret, SecretVersion
from secrets_app.rows import store
from secrets_app.services import lifecycle, write
from secrets_app.tests.kept import keep

pytestmark = [pytest.mark.django_db(transaction=True)]
ISSUER = Issuer()
EXTERNAL_SECRETS: Final = 67
# Two hours of it: OPERATOR_MINUTES=120.
MINUTES: Final = int(os.environ.get("OPERATOR_MINUTES", "2"))
Told = Callable[..., Any]


@pytest.fixture
def told(ask: Ask) -> Told:
    """Send a request, and return its status and what its body has."""

    def send(method: str, path: str, body: Any = None, **options: Any) -> tuple[int, Any]:
        answer = ask(method, path, b"" if body is None else json.dumps(body).encode(), **options)
        return answer.status_code, json.loads(answer.content or b"{}")

    return send


def test_external_secrets_signs_in_reads_and_revokes_for_each_secret_each_minute(
    cast: Cast, told: Told, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    make_trust(cast, ISSUER, environment=cast.development)
    keep(cast, "app/db", value="s3cret")
    settings.KEEPER_TRUST_MAX_TOKENS = 1_000 if MINUTES > 2 else EXTERNAL_SECRETS + 1
    real, clock = timezone.now, time.time
    refused = []
    for minute in range(MINUTES):
        ahead = timedelta(minutes=minute)
        monkeypatch.setattr(timezone, "now", lambda ahead=ahead: real() + ahead)
        monkeypatch.setattr(time, "time", lambda ahead=ahead: clock() + ahead.total_seconds())
        for _ in range(EXTERNAL_SECRETS):
            signed = {"role": "ci", "jwt": ISSUER.sign()}
            status, entered = told("PUT", "auth/kubernetes/login", signed, token="")
            own = entered["auth"]["client_token"] if status == 200 else ""
            answers = [
                told("GET", "auth/token/lookup-self", token=own),
                told("GET", "secret/data/app/db", token=own),
                told("PUT", "auth/token/revoke-self", token=own),
            ]
            if [status, *(each for each, _ in answers)] != [200, 200, 200, 204]:
                refused.append((minute, status, answers))
    assert refused == []
    assert ServiceToken.objects.filter(trust_uuid__isnull=False).count() == EXTERNAL_SECRETS * MINUTES


def test_push_secret_writes_its_mark_before_the_first_value(cast: Cast, told: Told) -> None:
    mark = {"custom_metadata": {"managed-by": "external-secrets"}}
    assert told("GET", "secret/data/app/pushed") == (404, {"errors": []})
    assert told("PUT", "secret/metadata/app/pushed", mark)[0] == 204
    described = told("GET", "secret/metadata/app/pushed")[1]["data"]
    assert (described["current_version"], described["versions"]) == (0, {})
    assert told("LIST", "secret/metadata/app")[1]["data"]["keys"] == ["pushed"]
    assert told("GET", "secret/data/app/pushed") == (404, {"errors": []})
    written = {"data": {"password": "one"}, "options": {"cas": 0}}
    assert told("PUT", "secret/data/app/pushed", written)[1]["data"]["version"] == 1
    # The next time, and a change.
    assert told("GET", "secret/data/app/pushed")[1]["data"]["data"] == {"password": "one"}
    assert told("GET", "secret/metadata/app/pushed")[1]["data"]["custom_metadata"] == mark["custom_metadata"]
    changed = {"data": {"password": "two"}, "options": {"cas": 1}}
    assert told("PUT", "secret/data/app/pushed", changed)[1]["data"]["version"] == 2
    # Its deletion.
    assert told("DELETE", "secret/data/app/pushed")[0] == 204
    assert told("DELETE", "secret/metadata/app/pushed")[0] == 204
    assert told("GET", "secret/metadata/app/pushed")[0] == 404
    # And the same name again: numbers go on.
    assert told("PUT", "secret/metadata/app/pushed", mark)[0] == 204
    again = {"data": {"password": "three"}, "options": {"cas": 0}}
    assert told("PUT", "secret/data/app/pushed", again)[1]["data"]["version"] == 3


def test_terraform_makes_reads_changes_and_deletes_with_all_versions(cast: Cast, told: Told) -> None:
    # The provider makes a child for its run.
    made = told("PUT", "auth/token/create", {"ttl": "20m", "explicit_max_ttl": "20m", "renewable": False})
    own = made[1]["auth"]["client_token"]
    assert told("GET", "sys/seal-status", token="")[1]["version"].count(".") == 2
    # `vault_kv_secret_v2` with custom_metadata and delete_all_versions.
    first = {"data": {"zip": "zap"}, "options": {"cas": 0}}
    assert told("PUT", "secret/data/tf/app", first, token=own)[0] == 200
    rules = {
        "cas_required": False, "custom_metadata": {"by": "terraform"}, "delete_version_after": "0s", "max_versions": 5,
    }  # fmt: skip
    assert told("PUT", "secret/metadata/tf/app", rules, token=own)[0] == 204
    assert told("GET", "secret/data/tf/app", token=own)[1]["data"]["metadata"]["version"] == 1
    read = told("GET", "secret/metadata/tf/app", token=own)[1]["data"]
    assert (read["max_versions"], read["custom_metadata"]) == (5, {"by": "terraform"})
    assert told("PUT", "secret/data/tf/app", {"data": {"zip": "zoo"}}, token=own)[1]["data"]["version"] == 2
    # Data sources: a secret, its version, a list, its subkeys.
    for path, status in (
        ("data/tf/app?version=1", 200),
        ("subkeys/tf/app", 200),
        ("metadata?list=true", 200),
    ):
        assert told("GET", f"secret/{path}", token=own)[0] == status
    assert told("DELETE", "secret/metadata/tf/app", token=own)[0] == 204
    assert told("GET", "secret/data/tf/app", token=own)[0] == 404
    assert told("PUT", "auth/token/revoke-self", token=own)[0] == 204


def test_what_was_only_described_is_no_secret_yet(
    cast: Cast, told: Told, signed_in: Callable[[Any], Client]
) -> None:
    assert told("PUT", "secret/metadata/later", {}) == (204, {})
    assert not Secret.objects.exists()
    assert told("PUT", "secret/metadata/later", {"cas_required": True, "max_versions": 3})[0] == 204
    secret = Secret.objects.get(name="later")
    assert (secret.live, secret.current_number, secret.is_withdrawn) == (None, 0, True)
    for act in ("undelete", "delete", "destroy"):
        told("PUT", f"secret/{act}/later", {"versions": [0, 1]})
    assert not Secret.objects.get(name="later").live
    assert list(run_checks()) == []
    pages = signed_in(cast.alice)
    assert pages.get(reverse("secret-detail", args=[secret.pk])).status_code == 200
    with pytest.raises(VersionGone, match="no version yet"):
        lifecycle.restore(actor=cast.principal(cast.alice), secret=Secret.objects.get(name="later"))
    entries = [Entry(place=1, name="later", value="imported")]
    plan = plan_import(actor=cast.principal(cast.alice), environment=cast.development, entries=entries)
    assert [line.verdict for line in plan.lines] == [Verdict.CHANGED]
    assert told("PUT", "secret/data/later", {"data": {"a": "b"}})[0] == 400
    patches = [told("PATCH", "secret/data/later", {"data": {}, "options": {"cas": cas}})[0] for cas in (2, 0)]
    assert patches == [400, 404]
    written = {"data": {"a": "b"}, "options": {"cas": 0}}
    assert told("PUT", "secret/data/later", written)[1]["data"]["version"] == 1
    assert told("GET", "secret/metadata/later")[1]["data"]["max_versions"] == 3
    assert SecretVersion.objects.filter(secret=secret).count() == 1


def test_of_two_that_describe_a_path_at_once_both_are_kept(
    cast: Cast, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = store.insert
    for number, meanwhile in enumerate(("metadata", "data")):
        path = f"twice/{number}"
        sent = {"data": {"a": "b"}} if meanwhile == "data" else {"max_versions": 2}

        def first(_path: str = path, _kind: str = meanwhile, _sent: Any = sent, **options: Any) -> None:
            monkeypatch.setattr(write, "insert", taken)
            assert told("PUT", f"secret/{_kind}/{_path}", _sent)[0] in {200, 204}
            taken(**options)

        monkeypatch.setattr(write, "insert", first)
        assert told("PUT", f"secret/metadata/{path}", {"cas_required": True})[0] == 204
        assert Secret.objects.filter(name=path).count() == 1
        found = told("GET", f"secret/metadata/{path}")[1]["data"]
        kept = (0, 1) if meanwhile == "data" else (2, 0)
        assert (found["cas_required"], found["max_versions"], found["current_version"]) == (True, *kept)
