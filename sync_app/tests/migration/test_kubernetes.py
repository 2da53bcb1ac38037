"""Kubernetes as source: a strict stand-in of an API server, written from its documentation."""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from environments_app.tests.cast import Cast
from secrets_app.models import Secret, VersionOrigin
from sync_app.backends.kubernetes.connection import KubernetesConnection
from sync_app.backends.kubernetes.tests.strict_server import TOKEN, Cluster, serving
from sync_app.errors import BadDestination
from sync_app.migration import service
from sync_app.migration.placing import How, Rule
from sync_app.migration.sources import kubernetes as source_module
from sync_app.migration.sources.kubernetes import Kubernetes
from sync_app.models import Migration, MigrationLine, MountRule
from sync_app.models.migration import MigrationState, Word
from sync_app.tests.migration.driving import apply, value, words, work


class Namespace:
    """The namespace `default` of a stand-in."""

    def __init__(self, url: str, cluster: Cluster) -> None:
        self.url, self.cluster = url, cluster

    def put(self, name: str, data: dict[str, str | bytes], **more: Any) -> None:
        encoded = {
            key: base64.b64encode(text.encode() if isinstance(text, str) else text).decode()
            for key, text in data.items()
        }
        metadata = {"name": name, **more.pop("metadata", {})}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": encoded, **more}
        self.cluster.store.create("default", body, "kubectl")


@pytest.fixture
def there() -> Iterator[Namespace]:
    with serving() as (url, cluster):
        yield Namespace(url, cluster)


def start(cast: Cast, there: Namespace, **credentials: str) -> Migration:
    rule = Rule(place="default", how=How.ALL, environments={"": str(cast.development.uuid)}, prefix="k8s")
    migration = service.start(
        actor=cast.principal(cast.erin), source="kubernetes",
        settings={"address": there.url, "namespaces": "default"},
        credentials=credentials or {"token": TOKEN}, rules=[rule],
    )  # fmt: skip
    return work(migration)


def test_keys_labels_and_binary_values_are_carried(
    cast: Cast, there: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Three pages.
    monkeypatch.setattr(source_module, "_PAGE", 3)
    there.put(
        "db", {"user": "a", "password": "pässwörd 🔑"}, metadata={"labels": {"team": "shop", "App": "x"}}
    )
    there.put("alone", {"value": "one text"})
    there.put("tls", {"tls.crt": "cert", "tls.key": "key"}, type="kubernetes.io/tls")
    there.put("binary", {"keystore": bytes(range(256)), "password": "p"})
    there.put("app.nested-name", {"a": ""})
    there.put("large", {"a": "x" * 70_000})
    there.put("empty", {})
    migration = apply(cast, start(cast, there))
    assert words(migration) == {
        "db": "new", "alone": "new", "tls": "new", "binary": "new", "app.nested-name": "new",
        "large": "refused", "empty": "skipped",
    }  # fmt: skip
    assert (migration.state, MountRule.objects.count()) == (MigrationState.DONE, 0)
    assert json.loads(value(cast, "k8s/db")) == {"user": "a", "password": "pässwörd 🔑"}
    assert value(cast, "k8s/alone") == "one text"
    assert json.loads(value(cast, "k8s/binary"))["keystore"] == base64.b64encode(bytes(range(256))).decode()
    assert Secret.objects.get(name="k8s/binary").tags == ["binary:base64"]
    secret = Secret.objects.get(name="k8s/db")
    assert (secret.owner, secret.tags, secret.secret_type) == ("shop", ["app:x"], "JSON")
    origin = VersionOrigin.objects.get(version__secret=secret)
    assert (origin.system, origin.place, origin.path) == ("kubernetes", "default", "db")


def test_what_the_cluster_or_keeper_makes_stays_there(cast: Cast, there: Namespace) -> None:
    there.put("token", {"token": "x"}, type="kubernetes.io/service-account-token")
    there.put("sh.helm.release.v1.x", {"release": "x"}, type="helm.sh/release.v1")
    owner = {"kind": "ExternalSecret", "name": "db", "controller": True, "apiVersion": "v1", "uid": "u"}
    there.put("owned", {"a": "b"}, metadata={"ownerReferences": [owner]})
    there.put("listed", {"a": "b"}, metadata={"ownerReferences": [{**owner, "controller": False}]})
    mark = "00000000-0000-4000-8000-000000000000"
    names = ("keeper-deployment", "keeper-target", "keeper-secret")
    there.put("ours", {"a": "b"}, metadata={"labels": dict.fromkeys(names, mark)})
    migration = start(cast, there)
    made = dict.fromkeys(("token", "sh.helm.release.v1.x", "owned", "ours"), "skipped")
    # An owner that does not control it only takes it along when it is deleted.
    assert words(migration) == {**made, "listed": "new"}
    reasons = {line.path: line.reason for line in MigrationLine.objects.filter(migration=migration)}
    assert reasons["owned"] == "ExternalSecret db makes it"


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("2026-02-03T04:05:06Z", datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)),
        # Neither names a moment.
        ("2026-02-03T04:05:06", None),
        ("lately", None),
    ],
)
def test_when_a_key_was_last_set_is_when_it_was_written(
    cast: Cast, there: Namespace, given: str, written: datetime | None
) -> None:
    there.put("db", {"password": "one"})
    stored = there.cluster.store.secrets["default", "db"]
    stored["metadata"]["managedFields"] = [
        {"time": "2026-01-01T00:00:00Z", "fieldsV1": {"f:data": {}}},
        {"time": given, "fieldsV1": {"f:data": {}}},
        {"time": "2026-09-09T00:00:00Z", "fieldsV1": {"f:metadata": {}}},
    ]
    apply(cast, start(cast, there))
    assert VersionOrigin.objects.get().written_at == written


def test_a_repeat_appends_what_is_another_value(cast: Cast, there: Namespace) -> None:
    there.put("db", {"password": "one"})
    apply(cast, start(cast, there))
    assert words(start(cast, there)) == {"db": "same"}
    data = {"password": base64.b64encode(b"two").decode()}
    there.cluster.store.merge("default", "db", {"data": data}, "kubectl")
    migration = start(cast, there)
    assert words(migration) == {"db": "newer"}
    apply(cast, migration)
    assert json.loads(value(cast, "k8s/db")) == {"password": "two"}
    assert Secret.objects.get().current_number == 2


def test_each_key_may_be_a_secret(cast: Cast, there: Namespace) -> None:
    there.put(
        "db",
        {"user": "a", "pass.word": "one", "blob": bytes(range(200, 256))},
        metadata={"labels": {"team": "x"}},
    )
    there.put("helm", {"release": "x"}, type="helm.sh/release.v1")
    there.put("empty", {})
    settings = {"address": there.url, "namespaces": "default", "keys": "each"}
    rule = Rule(place="default", how=How.ALL, environments={"": str(cast.development.uuid)})
    given: dict[str, Any] = {"actor": cast.principal(cast.erin), "source": "kubernetes", "settings": settings,
                             "credentials": {"token": TOKEN}, "rules": [rule]}  # fmt: skip
    migration = apply(cast, work(service.start(**given)))
    assert words(migration) == {
        "db/user": "new", "db/pass.word": "new", "db/blob": "new", "helm": "skipped", "empty": "skipped",
    }  # fmt: skip
    assert (value(cast, "db/user"), value(cast, "db/pass.word")) == ("a", "one")
    assert base64.b64decode(value(cast, "db/blob")) == bytes(range(200, 256))
    assert Secret.objects.get(name="db/blob").tags == ["binary:base64"]
    assert {each.owner for each in Secret.objects.all()} == {"x"}
    # A key that another has changed, and one that is gone.
    again = work(service.start(**given))
    data = {"user": base64.b64encode(b"two").decode(), "pass.word": None}
    there.cluster.store.merge("default", "db", {"data": data}, "kubectl")
    assert words(work(service.start(**given))) == {
        "db/user": "newer", "db/blob": "same", "helm": "skipped", "empty": "skipped",
    }  # fmt: skip
    assert words(again)["db/user"] == "same"
    with pytest.raises(BadDestination, match="json or each"):
        Kubernetes(settings={**settings, "keys": "x"}, credentials={"token": "t"})


def test_a_list_that_the_cluster_forgot_is_begun_again(
    cast: Cast, there: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_module, "_PAGE", 2)
    for number in range(7):
        there.put(f"s{number}", {"password": str(number)})
    gone, request = [3, 5, 7], KubernetesConnection.request
    pages: list[str] = []

    def forgetful(self: KubernetesConnection, method: str, path: str, **options: Any) -> Any:
        if options.get("accept") == source_module._LIST:
            pages.append(path)
            there.cluster.failing = {"list": 410} if gone and len(pages) in gone else {}
        return request(self, method, path, **options)

    monkeypatch.setattr(KubernetesConnection, "request", forgetful)
    migration = start(cast, there)
    assert (migration.state, len(pages)) == (MigrationState.PLANNED, 11)
    assert words(migration) == {f"s{number}": "new" for number in range(7)}
    # One that always forgets is asked again later.
    gone[:] = range(100)
    migration = start(cast, there)
    assert (migration.state, "expired" in migration.error) == (MigrationState.PLANNING, True)
    assert len(pages) == 11 + 5


def test_faults_of_the_cluster_are_told_or_waited_for(cast: Cast, there: Namespace) -> None:
    there.put("db", {"password": "one"})
    wrong = start(cast, there, token="wrong")
    assert wrong.state == MigrationState.FAILED
    there.cluster.denied = {"list"}
    denied = start(cast, there)
    assert (denied.state, "list" in denied.error) == (MigrationState.FAILED, True)
    there.cluster.denied = {"get"}
    migration = start(cast, there)
    assert words(migration) == {"db": str(Word.UNREADABLE)}
    there.cluster.denied = set()
    for status in (429, 503, 0):
        there.cluster.failing = {"list": status}
        migration = start(cast, there)
        assert (migration.state, bool(migration.error)) == (MigrationState.PLANNING, True)
        there.cluster.failing = {}
        Migration.objects.filter(pk=migration.pk).update(due_at=None)
        assert work(migration).state == MigrationState.PLANNED
        assert words(migration) == {"db": "new"}


def test_the_page_and_the_command_offer_it(cast: Cast, there: Namespace, tmp_path: Path) -> None:
    there.put("db", {"password": "one"})
    browser = Client()
    browser.force_login(cast.erin)
    assert "Kubernetes Secrets" in browser.get("/migrations").content.decode()
    page = browser.get("/migrations/new?source=kubernetes").content.decode()
    assert "--verb=get,list" in page
    assert '<option value="each">one secret for each key</option>' in page
    form = {
        "setting-address": there.url, "setting-namespaces": "default", "credential-token": TOKEN,
        "rules": "default=development",
    }  # fmt: skip
    browser.post("/migrations/new?source=kubernetes", form)
    assert words(work(Migration.objects.get())) == {"db": "new"}
    token, out = tmp_path / "token", StringIO()
    token.write_text(TOKEN, encoding="utf-8")
    call_command(
        "migrate_from", "kubernetes", there.url, "--namespaces", "default", "--token-file", str(token),
        "--rule", "default=development", "--apply", "--format", "json", stdout=out,
    )  # fmt: skip
    assert json.loads(out.getvalue())["counts"]["states"] == {"carried": 1}


def test_what_cannot_be_is_refused_before_anything_is_asked() -> None:
    good = {"address": "https://cluster.example:6443", "namespaces": "default, shop"}
    assert Kubernetes(settings=good, credentials={"token": "t"}).places() == ["default", "shop"]
    for settings, credentials in (
        (good, {}),
        ({**good, "namespaces": " , "}, {"token": "t"}),
        ({**good, "namespaces": "a/../b"}, {"token": "t"}),
        ({**good, "address": "ftp://x"}, {"token": "t"}),
        ({**good, "ca_certificate": "no PEM"}, {"token": "t"}),
    ):
        with pytest.raises(BadDestination):
            Kubernetes(settings=settings, credentials=credentials)
