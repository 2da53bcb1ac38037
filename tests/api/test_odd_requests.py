"""Requests that a browser or a client seldom sends, at a route that shows a value: none gets round a rule."""

from collections.abc import Callable

import pytest
from django.test import Client

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.authorization.policy import Grant
from environments_app.models import Membership, User
from environments_app.tests.cast import Cast
from gateway_app.lanes import Lanes
from gateway_app.protocol import doors
from gateway_app.tests.engine.inline import Inline
from keeper_project.wsgi import application
from secrets_app.models import Secret
from secrets_app.tests.kept import VALUE, keep, send

Events = Callable[..., list[AuditEvent]]
SignedIn = Callable[[User], Client]


@pytest.fixture(params=["token", "session"])
def client(
    request: pytest.FixtureRequest, cast: Cast, bearer: Callable[..., Client], signed_in: SignedIn
) -> Client:
    """Return a client of somebody who may edit in development: by token, or signed in."""
    return bearer("editor", cast.development) if request.param == "token" else signed_in(cast.erin)


def test_a_value_is_answered_whole_and_unkept_whatever_is_asked(
    cast: Cast, client: Client, events: Events
) -> None:
    secret = keep(cast)
    path = f"/api/secrets/{secret.pk}"
    client.get(path)
    for count, header in enumerate(
        (
            {"If-None-Match": '"9-9"'},
            {"If-None-Match": "nothing quoted"},
            {"If-Modified-Since": "Wed, 25 Nov 2099 00:00:00 GMT"},
            {"Range": "bytes=0-3"},
            {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "GET"},
        ),
        start=2,
    ):
        response = client.get(path, headers=header)
        assert (response.status_code, response.json()["value"]) == (200, VALUE), header
        assert response["Cache-Control"] == "no-store, private"
        assert not [name for name in response.headers if name.lower().startswith("access-control")]
        # Each was recorded as what it is.
        assert len(events(Action.SECRET_REVEAL)) == count


def test_head_opens_what_it_records_and_sends_nothing_of_it(
    cast: Cast, client: Client, events: Events
) -> None:
    secret = keep(cast)
    response = client.head(f"/api/secrets/{secret.pk}")
    assert (response.status_code, response.content) == (200, b"")
    assert len(events(Action.SECRET_REVEAL)) == 1
    assert client.trace(f"/api/secrets/{secret.pk}").status_code == 405
    asked = client.options(f"/api/secrets/{secret.pk}")
    assert (asked.status_code, [*asked.json()]) == (200, ["methods"])
    assert len(events(Action.SECRET_REVEAL)) == 1


@pytest.mark.parametrize("header", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
def test_no_header_turns_one_method_into_another(cast: Cast, client: Client, header: str) -> None:
    secret = keep(cast)
    for query, status in (("", 200), ("?_method=DELETE", 400)):
        path = f"/api/secrets/{secret.pk}{query}"
        assert client.get(path, headers={header: "DELETE"}).status_code == status
        assert client.post(path, headers={header: "DELETE"}).status_code == 405
    assert Secret.objects.get(pk=secret.pk).live


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/json"],
)
def test_a_form_of_another_site_cannot_pass_for_json(cast: Cast, client: Client, kind: str) -> None:
    secret = keep(cast)
    response = client.patch(f"/api/secrets/{secret.pk}", data=b'{"value": "theirs"}', content_type=kind)
    assert response.status_code == 415
    assert Secret.objects.get(pk=secret.pk).current_number == 1


def test_a_session_without_its_csrf_token_writes_nothing(cast: Cast, signed_in: SignedIn) -> None:
    secret = keep(cast)
    browser = signed_in(cast.erin)
    browser.handler.enforce_csrf_checks = True
    response = send(browser, "PATCH", f"/api/secrets/{secret.pk}", {"value": "theirs"})
    assert response.status_code == 403
    assert Secret.objects.get(pk=secret.pk).current_number == 1


@pytest.mark.parametrize(
    "body",
    [
        b'{"value": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"value": 1' + b"0" * 400 + b"}",
        b'{"value": NaN}',
        b'{"value": "\\ud800"}',
        b'\xef\xbb\xbf{"value": "v"}',
        b'{"value": "v"}{"value": "w"}',
        b"[]",
        b"null",
        b'"value"',
    ],
)
def test_odd_json_is_refused(cast: Cast, client: Client, body: bytes) -> None:
    secret = keep(cast)
    response = client.patch(f"/api/secrets/{secret.pk}", data=body, content_type="application/json")
    assert response.status_code == 400
    assert Secret.objects.get(pk=secret.pk).current_number == 1


@pytest.mark.parametrize("number", ["0", "99999999999999999999999", "-1", "1e3", "%31%00", "１"])
def test_an_odd_id_finds_nothing(cast: Cast, client: Client, number: str) -> None:
    keep(cast)
    for path in (
        f"/api/secrets/{number}",
        f"/api/secrets/{number}/versions",
        f"/api/environments/development/tokens/{number}",
        f"/api/approvals/{number}",
        f"/api/access-requests/{number}",
        f"/api/reviews/{number}",
        f"/api/environments/development/rotation-policies/{number}",
    ):
        assert client.get(path).status_code in {403, 404}, path


@pytest.mark.parametrize(
    "name",
    [
        "part/../other/key",
        "part/./../other/key",
        "part//other/key",
        "part/%2e%2e/other/key",
        "part%2f..%2fother%2fkey",
        "other/key ",
        "other/key.",
        "OTHER/key",
        "other\uff0fkey",
        "part/..;/other/key",
        "partother/key",
    ],
)
def test_a_prefix_reaches_no_other_name_in_whatever_spelling(
    cast: Cast, bearer: Callable[..., Client], signed_in: SignedIn, name: str
) -> None:
    keep(cast, "other/key")
    Membership.objects.create(environment=cast.development, user=cast.charlie, role="editor", prefix="part")
    for client in (bearer("editor", cast.development, prefix="part"), signed_in(cast.charlie)):
        path = f"/api/environments/development/secrets/{name}"
        assert client.get(path).status_code in {400, 404}
        assert send(client, "PUT", path, {"value": "v"}).status_code in {400, 403, 404}
        body = {"environment_id": cast.development.pk, "name": name, "secret_type": "text", "value": "v"}
        assert send(client, "POST", "/api/secrets", body).status_code in {400, 403, 404}
        renamed = keep(cast, f"part/{Secret.objects.count()}")
        response = send(client, "POST", f"/api/secrets/{renamed.pk}/rename", {"name": name})
        assert response.status_code in {400, 403, 404}
    assert set(Secret.objects.values_list("name", flat=True)) == {"other/key", "part/1", "part/2"}


def test_a_prefix_covers_whole_segments() -> None:
    assert Grant.reaches("part", "part")
    assert Grant.reaches("part", "part/key")
    for name in ("partial", "part.key", "Part/key", "pa", ""):
        assert not Grant.reaches("part", name)


def test_another_hosts_name_is_refused(cast: Cast, client: Client) -> None:
    secret = keep(cast)
    response = client.get(f"/api/secrets/{secret.pk}", headers={"Host": "elsewhere.example"})
    assert response.status_code == 400
    assert VALUE not in response.content.decode()


@pytest.mark.parametrize("name", ["é", "ключ", "鍵", "🔑", "a b"])
def test_a_path_of_any_letters_passes_the_lanes_unchanged(cast: Cast, client: Client, name: str) -> None:
    """Django decodes the path of a request in place: what the lanes leave must be decoded once alone."""
    lanes = Lanes(Inline(), doors())
    statuses: list[str] = []
    for path in (
        f"/{name}",
        f"/api/environments/development/secrets/{name}",
        f"/vault/v1/secret/data/{name}",
    ):
        sent = path.encode().decode("latin-1")
        environ = client._base_environ(PATH_INFO=sent)  # type: ignore[attr-defined]  # the stub does not know it
        assert lanes(environ) is None
        assert environ["PATH_INFO"] == sent
        application(environ, lambda status, _headers: statuses.append(status))
        assert statuses[-1][:3] in {"400", "401", "403", "404"}, path
