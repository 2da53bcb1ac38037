"""A guarded value leaves by no way without a release: every way is played, and each opening is in a list."""

import ast
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
from django.test import Client

from audit_app.models import AuditEvent
from core.errors import KeeperError
from environments_app.authorization.policy import Principal
from environments_app.environments import service as environments
from environments_app.models import Environment, Membership, Role, User
from environments_app.tests.cast import PASSWORD, Cast
from environments_app.tokens.authentication import parse
from environments_app.tokens.personal import issue_personal
from environments_app.tokens.service import issue
from gateway_app.engine.reads import ReadRequest, serve
from gateway_app.tests.aws.conftest import send as send_aws
from gateway_app.tests.aws.conftest import session_of, signed
from secrets_app.models import Secret, Share
from secrets_app.services import clone, comparison, guarded, read, share, transfer, wrapped_reads
from secrets_app.tests.kept import VALUE, change, keep, send
from secrets_app.types.registry import SecretType
from sync_app.rotation.leaks import find_leaked
from sync_app.rotation.policies import service as policies

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]
SECOND: Final = "canary-second-7c1d"


@dataclass
class Scene:
    """A secret with two versions, which alice guarded after she shared it and wrapped a read of it."""

    cast: Cast
    secret: Secret
    link: str
    wrapping: str
    tokens: dict[str, str]
    sessions: dict[str, dict[str, str]]
    signed_in: Callable[[User], Client]

    @property
    def alice(self) -> Principal:
        return self.cast.principal(self.cast.alice)

    def page(self, path: str, **fields: str) -> Any:
        client = self.signed_in(self.cast.alice)
        client.post("/confirm", {"password": PASSWORD})
        return client.post(path, fields) if fields else client.get(path)

    def api(self, path: str, *, by: str = "personal", method: str = "GET", body: Any = None) -> Any:
        client = Client(headers={"authorization": f"Bearer {self.tokens[by]}"})
        return send(client, method, path, body)

    def vault(self, path: str, *, by: str = "service", method: str = "GET", **headers: str) -> Any:
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return Client().generic(
            method, f"/vault/v1/{path}", b"", headers={"X-Vault-Token": self.tokens[by], **headers}
        )

    def unwrapped(self) -> Any:
        return Client().generic(
            "POST",
            "/vault/v1/sys/wrapping/unwrap",
            json.dumps({"token": self.wrapping}).encode(),
            headers={"X-Vault-Token": self.wrapping},
        )

    def aws(self, operation: str, *, by: str = "service", **members: Any) -> Any:
        body = orjson.dumps(members)
        return send_aws(signed(self.sessions[by], operation, body), body)

    def now(self) -> Secret:
        return Secret.objects.select_related("environment").get(pk=self.secret.pk)

    def engine(self) -> Any:
        public_id, text = parse(self.tokens["service"])
        (read,) = serve([ReadRequest(public_id, text, "192.0.2.1", "r", secret_id=self.secret.pk)])
        return "None" if read is None else str(getattr(read, "open", lambda: read)())


def furnish(cast: Cast, mark: Callable[..., Any], signed_in: Callable[[User], Client]) -> Scene:
    """Return a secret with two versions, which was shared and wrapped before `mark` was done to it."""
    alice = cast.principal(cast.alice)
    secret = keep(cast, "app/db", value=json.dumps({"password": VALUE}), secret_type=SecretType.JSON)
    change(cast, secret, json.dumps({"password": SECOND}))
    keep(cast, "plain", value="not guarded")
    keep(cast, "app/db", value="other", environment=cast.production)
    secret = Secret.objects.select_related("environment").get(pk=secret.pk)
    _, link = share.share_once(actor=alice, secret=secret, recipient=None)
    service = issue(actor=alice, environment=cast.development, role="editor", name="ci")[1]
    personal = issue_personal(actor=alice, name="own")[1]
    opened = Client().get(
        "/vault/v1/secret/data/app/db", headers={"X-Vault-Token": service, "X-Vault-Wrap-TTL": "60"}
    )
    tokens = {"service": service, "personal": personal}
    mark(actor=alice, secret=Secret.objects.select_related("environment").get(pk=secret.pk))
    return Scene(
        cast=cast,
        secret=secret,
        link=link,
        wrapping=opened.json()["wrap_info"]["token"],
        tokens=tokens,
        sessions={name: session_of(text) for name, text in tokens.items()},
        signed_in=signed_in,
    )


def _guard_path(*, actor: Principal, secret: Secret) -> None:
    environments.update_environment(actor=actor, environment=secret.environment, guarded_prefixes="app")


# A guard is a mark of the row, whichever act sets it.
MARKS: Final[dict[str, Callable[..., Any]]] = {"mark": guarded.guard, "path": _guard_path}


@pytest.fixture
def scene(cast: Cast, signed_in: Callable[[User], Client], request: pytest.FixtureRequest) -> Scene:
    Membership.objects.create(environment=cast.development, user=cast.charlie, role=Role.MANAGER)
    return furnish(cast, MARKS[getattr(request, "param", "mark")], signed_in)


def _cloned(scene: Scene) -> list[str]:
    user = User.objects.get(pk=scene.cast.alice.pk)
    user.role = "admin"
    user.save()
    made, _ = clone.clone_environment(
        actor=scene.cast.principal(user), source=scene.cast.development, name="clone", with_values=True
    )
    place = Environment.objects.get(pk=made.pk)
    return [
        each.value for each in read.reveal_environment(actor=scene.cast.principal(user), environment=place)
    ]


def _promoted(scene: Scene) -> Any:
    places = {"source": scene.cast.development, "target": scene.cast.production}
    planned = comparison.plan_promotion(actor=scene.alice, names=["app/db"], **places)
    return planned, comparison.promote(actor=scene.alice, names=["app/db"], digest=planned.digest, **places)


def _leaked(scene: Scene) -> str:
    found = find_leaked(actor=scene.alice, text=json.dumps({"password": SECOND}))
    assert found == [], "a guess is confirmed"
    return ""


def _compared(scene: Scene) -> Any:
    rows = comparison.compare(actor=scene.alice, left=scene.cast.development, right=scene.cast.production)
    assert [row.difference for row in rows if row.name == "app/db"] == ["only_right"]
    places = [scene.cast.development, scene.cast.production]
    return rows, comparison.compare_across(actor=scene.alice, environments=places, names=["app/db"])


def _other(scene: Scene) -> Secret:
    return Secret.objects.select_related("environment").get(environment=scene.cast.production, name="app/db")


def _asked_alone(scene: Scene) -> Any:
    asked = scene.api(
        f"/api/secrets/{scene.secret.pk}/request-read", method="POST", body={"reason": "I want to see it"}
    )
    assert asked.status_code == 202
    return scene.api(f"/api/approvals/{asked.json()['approval']}/carry-out", method="POST")


# Each returns what a caller gets of it, or raises.
WAYS: Final[dict[str, Callable[[Scene], Any]]] = {
    "page: the secret": lambda s: s.page(f"/secrets/{s.secret.pk}"),
    "page: reveal": lambda s: s.page(f"/secrets/{s.secret.pk}/reveal", x="1"),
    "page: reveal an older version": lambda s: s.page(f"/secrets/{s.secret.pk}/reveal", version="1"),
    "page: reveal a field": lambda s: s.page(f"/secrets/{s.secret.pk}/reveal", field="password"),
    "page: copy": lambda s: s.page(f"/secrets/{s.secret.pk}/copy", x="1"),
    "page: edit": lambda s: s.page(f"/secrets/{s.secret.pk}/edit"),
    "page: fill in the form": lambda s: s.page(f"/secrets/{s.secret.pk}/edit", fill_in="on"),
    "page: difference of versions": lambda s: s.page(
        f"/secrets/{s.secret.pk}/diff", old="1", new="2", show="values"
    ),
    "page: duplicate": lambda s: s.page(f"/secrets/{s.secret.pk}/duplicate", name="copied"),
    "page: share": lambda s: s.page(f"/secrets/{s.secret.pk}/share", hours="1"),
    "page: an open link": lambda s: s.page(f"/shared/{s.link}", x="1"),
    "page: export": lambda s: s.page("/secrets/export", environment="development", format="json", under=""),
    "page: a column of the matrix": lambda s: s.page("/secrets/matrix?edit=development", act="load"),
    "page: bulk export": lambda s: s.page(
        "/secrets/bulk", act="export", pick=f"{s.secret.pk}:{s.now().etag}", step="apply", format="json"
    ),
    "page: bulk copy": lambda s: s.page(
        "/secrets/bulk",
        act="copy",
        pick=f"{s.secret.pk}:{s.now().etag}",
        step="apply",
        environment=str(s.cast.production.pk),
    ),
    "api: by id": lambda s: s.api(f"/api/secrets/{s.secret.pk}"),
    "api: by id, a program": lambda s: s.api(f"/api/secrets/{s.secret.pk}", by="service"),
    "api: both stages": lambda s: s.api(f"/api/secrets/{s.secret.pk}?stage=both"),
    "api: by name": lambda s: s.api("/api/environments/development/secrets/app/db"),
    "api: a version": lambda s: s.api(f"/api/secrets/{s.secret.pk}/versions/1"),
    "api: copy": lambda s: s.api(
        f"/api/secrets/{s.secret.pk}/copy", method="POST", body={"environment": "production", "name": "c"}
    ),
    "api: move": lambda s: s.api(
        f"/api/secrets/{s.secret.pk}/move", method="POST", body={"environment": "production", "name": "m"}
    ),
    "api: export": lambda s: s.api("/api/environments/development/export"),
    "api: export, a program": lambda s: s.api("/api/environments/development/export", by="service"),
    "api: export as dotenv": lambda s: s.api("/api/environments/development/export?format=dotenv"),
    "api: compare": lambda s: s.api("/api/environments/development/compare/production"),
    "api: carry out what is only asked for": _asked_alone,
    "vault: data": lambda s: s.vault("secret/data/app/db"),
    "vault: data by a person": lambda s: s.vault("secret/data/app/db", by="personal"),
    "vault: a version": lambda s: s.vault("secret/data/app/db?version=1"),
    "vault: subkeys": lambda s: s.vault("secret/subkeys/app/db"),
    "vault: wrapped": lambda s: s.vault("secret/data/app/db", X_Vault_Wrap_TTL="60"),
    "vault: unwrap what was wrapped before": Scene.unwrapped,
    "vault: static credentials": lambda s: s.vault("database/static-creds/app/db"),
    "aws: one": lambda s: s.aws("GetSecretValue", SecretId="app/db"),
    "aws: one by a person": lambda s: s.aws("GetSecretValue", by="personal", SecretId="app/db"),
    "aws: batch": lambda s: s.aws("BatchGetSecretValue", SecretIdList=["app/db", "plain"]),
    "aws: batch by filter": lambda s: s.aws(
        "BatchGetSecretValue", Filters=[{"Key": "name", "Values": ["app"]}]
    ),
    "the read engine": Scene.engine,
    "a use case: reveal": lambda s: read.reveal(actor=s.alice, secret=s.now()).value,
    "a use case: export": lambda s: read.reveal_environment(actor=s.alice, environment=s.cast.development),
    "a snapshot": lambda s: read.export_snapshot(actor=s.alice, environment=s.cast.development),
    "a clone": _cloned,
    "a promotion": _promoted,
    "an overwrite": lambda s: transfer.overwrite(
        actor=s.alice, secret=s.now(), onto=_other(s), expected=_other(s).etag
    ),
    "a comparison": _compared,
    "the leak finder": _leaked,
    "a new link": lambda s: share.share_once(actor=s.alice, secret=s.now()),
    "a wrapping": lambda s: wrapped_reads.wrap_read(
        actor=s.alice, secret=s.now(), path="x", lifetime=wrapped_reads.MAX_LIFETIME
    ),
    "a rotation policy": lambda s: policies.create(
        actor=s.alice, secret=s.now(), rotator="generated", settings={}, credentials={}
    ),
}


def _texts(result: Any) -> str:
    content = getattr(result, "content", None)
    if content is not None:
        return f"{content!r} {result.headers}"
    if isinstance(result, list):
        return " ".join(f"{each} {getattr(each, 'value', '')}" for each in result)
    return repr(result)


@pytest.mark.parametrize(("way", "scene"), [*zip(WAYS, cycle(MARKS), strict=False)], indirect=["scene"])
def test_no_way_gives_the_value_without_a_release(scene: Scene, way: str) -> None:
    shares = Share.objects.count()
    try:
        found = _texts(WAYS[way](scene))
    except KeeperError as error:
        found = str(error)
    assert SECOND not in found
    assert VALUE not in found
    assert Share.objects.count() == shares
    elsewhere = Secret.objects.exclude(pk=scene.secret.pk).exclude(name="plain")
    assert {(row.environment.name, row.name, row.current_number) for row in elsewhere} <= {
        ("production", "app/db", 1)
    }
    opened = AuditEvent.objects.filter(
        action="secret.reveal", object_uuid=scene.secret.uuid, outcome="allowed"
    )
    assert not opened.exists()


def test_the_ways_do_give_the_value_of_what_is_not_guarded(scene: Scene) -> None:
    """The scene itself refuses nothing: the same ways open the secret once the guard is gone."""
    row = scene.now()
    row.guarded = None
    row.save()
    # They take the value elsewhere, or tell something else of it.
    closed = {
        "page: the secret", "page: edit", "page: duplicate", "page: share", "page: bulk copy", "api: copy",
        "api: move", "api: compare", "api: carry out what is only asked for", "vault: subkeys",
        "vault: wrapped", "vault: static credentials", "a snapshot", "a promotion", "an overwrite",
        "a comparison", "the leak finder", "a new link", "a wrapping", "a rotation policy",
    }  # fmt: skip
    for way in WAYS.keys() - closed:
        found = _texts(WAYS[way](scene))
        assert SECOND in found or VALUE in found, (way, found[:300])


def test_an_export_says_how_many_it_leaves_out(scene: Scene) -> None:
    answer = scene.api("/api/environments/development/export")
    assert answer.headers["Keeper-Left-Out"] == "1"
    assert answer.json() == {"plain": "not guarded"}
    program = scene.api(f"/api/secrets/{scene.secret.pk}", by="service")
    assert program.status_code == 403
    assert program.json()["title"] == "A second person is needed"


# --- In the source -------------------------------------------------------------------------------------

_ROOT: Final = Path(__file__).parents[2]
_APPS: Final = (
    "core", "audit_app", "environments_app", "secrets_app", "sync_app", "gateway_app",
    "operations_app", "keeper_project",
)  # fmt: skip
# Who may say that an opening is released, or that a row is not guarded, and why.
RELEASES: Final = {
    "secrets_app/services/emergency.py": "the environment allows it, and others are alerted before",
    "secrets_app/services/guarded.py": "a second person has agreed, and the release is used up",
    "secrets_app/services/read.py": "two people released the program, and it is so still",
    "secrets_app/services/write.py": "a rollback: the value stays in the secret",
}
UNGUARDED: Final = {
    "operations_app/export_all/comparing.py": "a condition on rows: it opens nothing",
    "secrets_app/key_operations/reencrypt.py": "the value is sealed again in its place",
    "secrets_app/rows/current_versions.py": "its callers have asked",
}


def _keywords() -> Iterator[tuple[str, str, Any]]:
    for app in _APPS:
        for path in (_ROOT / app).rglob("*.py"):
            if {"tests", "migrations"} & set(path.parts):
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call):
                    for keyword in node.keywords:
                        value = keyword.value.value if isinstance(keyword.value, ast.Constant) else keyword
                        yield str(path.relative_to(_ROOT)), str(keyword.arg), value


def test_each_opening_that_is_released_is_in_the_list() -> None:
    found = list(_keywords())
    assert {path for path, name, value in found if name == "released" and value is True} == RELEASES.keys()
    assert {path for path, name, value in found if name == "guarded" and value is False} == UNGUARDED.keys()


def test_the_environment_page_of_the_api_changes_no_guard(scene: Scene) -> None:
    for method in ("PATCH", "PUT"):
        answer = scene.api(
            f"/api/secrets/{scene.secret.pk}", method=method, body={"guarded": False, "owner": "x"}
        )
        assert answer.status_code == 400
    environments.update_environment(actor=scene.alice, environment=scene.cast.development, protected=True)
    assert scene.now().guarded
