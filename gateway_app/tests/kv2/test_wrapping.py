"""Wrapped reads: one opening, recorded, by the right of the token that wrapped it; nothing at rest opens it."""

import json
import os
import subprocess
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import hvac
import pytest
from django.utils import timezone
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from audit_app.integrity.check_registry import run_checks
from audit_app.models import AuditEvent, RefusalCount
from audit_app.tests.trail import take_away
from environments_app.approvals import service as approvals
from environments_app.environments.memberships import grant, revoke_membership
from environments_app.models import Approval, ApprovalState, Membership, ServiceToken
from environments_app.tests.cast import Cast, make_cast
from environments_app.tokens.bearers import session_bearer
from environments_app.tokens.personal import issue_personal
from environments_app.tokens.service import issue, revoke
from gateway_app.kv2.durations import duration_of, duration_text
from gateway_app.tests.kv2.conftest import Ask, token
from gateway_app.tests.kv2.test_clients import program
from gateway_app.tests.kv2.test_numbers import of_keeper, of_openbao
from secrets_app.errors import KeyUnavailable, WrappingEnded
from secrets_app.models import Secret, WrappedRead
from secrets_app.services import lifecycle, versions
from secrets_app.services import wrapped_reads as service
from secrets_app.services.guarded import guard, open_released
from secrets_app.services.read import version_of
from secrets_app.tests.at_once import at_once
from secrets_app.tests.kept import VALUE, change, keep
from tests.servers.fixtures import openbao

__all__ = ["openbao"]
pytestmark = [pytest.mark.django_db]
Events = Callable[..., list[AuditEvent]]
INVALID: Final = {"errors": ["wrapping token is not valid or does not exist"]}
UNWRAP: Final = "sys/wrapping/unwrap"


@pytest.fixture
def secret(cast: Cast) -> Secret:
    return keep(cast, "app/db")


def wrap(ask: Ask, path: str = "secret/data/app/db", ttl: str = "60", **options: Any) -> dict[str, Any]:
    answer = ask("GET", path, X_Vault_Wrap_TTL=ttl, **options)
    assert answer.status_code == 200, answer.content
    told: dict[str, Any] = answer.json()
    assert told["data"] is None
    return dict(told["wrap_info"])


def body(text: str) -> bytes:
    return json.dumps({"token": text}).encode()


def opener() -> service.Opener:
    return service.Opener("192.0.2.9", "r")


def refused(ask: Ask, text: str) -> bool:
    answer = ask("POST", UNWRAP, token=text)
    return (answer.status_code, answer.json()) == (400, INVALID)


def test_a_wrapped_read_is_opened_once(ask: Ask, secret: Secret, events: Events) -> None:
    info = wrap(ask)
    assert (info["ttl"], info["creation_path"]) == (60, "secret/data/app/db")
    assert events("secret.reveal") == []
    looked = ask("POST", "sys/wrapping/lookup", body(info["token"]), token="").json()["data"]
    assert looked == {
        "creation_path": "secret/data/app/db", "creation_time": info["creation_time"], "creation_ttl": 60,
    }  # fmt: skip
    opened = ask("POST", UNWRAP, token=info["token"])
    assert opened.json()["data"]["data"] == {"value": VALUE}
    assert opened.json()["data"]["metadata"]["version"] == 1
    assert refused(ask, info["token"])
    assert ask("POST", "sys/wrapping/lookup", body(info["token"])).json() == INVALID
    (read,) = events("secret.reveal")
    assert (read.object_uuid, read.actor_name) == (secret.uuid, "kv2-editor")
    assert '"wrapped_by":"kv2-editor"' in read.details
    assert len(events("secret.unwrap", outcome="allowed")) == 1
    assert len(events("secret.unwrap", outcome="denied")) == 2
    assert list(run_checks()) == []


def test_who_is_signed_in_opens_it_in_their_own_name(
    cast: Cast, ask: Ask, secret: Secret, events: Events
) -> None:
    other = token(cast, "viewer")
    text = wrap(ask)["token"]
    assert ask("PUT", UNWRAP, body(text), token="kpr_nonsense").status_code == 403
    assert ask("PUT", UNWRAP, body(text), token="").status_code == 403
    assert ask("PUT", UNWRAP, body(text), token=other).json()["data"]["data"] == {"value": VALUE}
    (read,) = events("secret.reveal")
    assert read.actor_name == "kv2-viewer"


def test_a_token_that_administers_opens_no_value(
    cast: Cast, ask: Ask, secret: Secret, events: Events
) -> None:
    text = wrap(ask)["token"]
    _, admins = issue(actor=cast.principal(cast.root), environment=None, name="ops", role="admin")
    answer = ask("PUT", UNWRAP, body(text), token=admins)
    assert (answer.status_code, VALUE.encode() in answer.content) == (403, False)
    assert events("secret.reveal") == []
    assert ask("PUT", UNWRAP, token=text).status_code == 200


def test_the_version_is_the_one_that_was_wrapped(cast: Cast, ask: Ask, secret: Secret) -> None:
    change(cast, secret, value="two")
    first, current = wrap(ask, "secret/data/app/db?version=1")["token"], wrap(ask)["token"]
    change(cast, secret, value="three")
    assert ask("POST", UNWRAP, token=first).json()["data"]["data"] == {"value": VALUE}
    assert ask("POST", UNWRAP, token=current).json()["data"]["data"] == {"value": "two"}


def test_no_value_and_no_token_is_stored(ask: Ask, secret: Secret) -> None:
    text = wrap(ask)["token"]
    stored = " ".join(str(value) for value in WrappedRead.objects.values().get().values())
    trail = " ".join(AuditEvent.objects.values_list("details", flat=True))
    for shown in (stored, trail):
        assert text not in shown
        assert VALUE not in shown
    hashed = WrappedRead.objects.get().token_hash
    assert all(refused(ask, other) for other in (hashed, text[:-1], "x" * 5000))


@pytest.mark.parametrize(
    "why", ["expired", "token revoked", "token expired", "version deleted", "destroyed", "deleted", "renamed"]
)
def test_what_no_longer_holds_is_not_opened(
    cast: Cast, ask: Ask, secret: Secret, events: Events, why: str
) -> None:
    own = token(cast, "reader", prefix="app")
    text = wrap(ask, token=own)["token"]
    row, alice = ServiceToken.objects.get(name="kv2-reader"), cast.principal(cast.alice)
    past = timezone.now() - timedelta(seconds=1)
    if why == "expired":
        actor = session_bearer(own[4:26], address="192.0.2.1")
        WrappedRead.objects.all()._raw_delete("default")
        _, text = service.wrap_read(actor=actor, secret=secret, path="a", lifetime=timedelta(microseconds=1))
    elif why == "token revoked":
        revoke(actor=alice, token=row)
    elif why == "token expired":
        row.expires_at = past
        row.save()
    elif why == "version deleted":
        secret = change(cast, secret, value="two")
        versions.delete_versions(actor=alice, secret=secret, numbers=[1])
    elif why == "destroyed":
        versions.destroy_versions(actor=alice, secret=secret, numbers=[1])
    elif why == "deleted":
        lifecycle.delete(actor=alice, secret=secret)
    else:
        lifecycle.rename(actor=alice, secret=secret, name="other/db")
    assert ask("POST", "sys/wrapping/lookup", body(text)).json() == INVALID
    assert refused(ask, text)
    assert events("secret.reveal") == []
    assert WrappedRead.objects.get().opened_at is None


def test_it_ends_with_the_right_of_the_person_who_wrapped_it(cast: Cast, ask: Ask, secret: Secret) -> None:
    grant(actor=cast.principal(cast.alice), environment=cast.development, user=cast.charlie, role="reader")
    _, own = issue_personal(actor=cast.principal(cast.charlie), name="laptop")
    first, second = (wrap(ask, "development/data/app/db", token=own)["token"] for _ in range(2))
    assert ask("POST", UNWRAP, token=first).status_code == 200
    take_away(Membership.objects.filter(user=cast.charlie))
    assert refused(ask, second)


@pytest.mark.parametrize("how", ["itself", "another token", "its accessor"])
def test_a_wrapping_token_is_revoked(
    cast: Cast, ask: Ask, secret: Secret, events: Events, sql: Callable[..., None], how: str
) -> None:
    info = wrap(ask)
    before = bytes(WrappedRead.objects.get().row_mac)
    if how == "itself":
        answer = ask("POST", "auth/token/revoke-self", token=info["token"])
    elif how == "another token":
        answer = ask("PUT", "auth/token/revoke", body(info["token"]), token=token(cast, "viewer"))
    else:
        answer = ask(
            "POST", "auth/token/revoke-accessor", json.dumps({"accessor": info["accessor"]}).encode()
        )
    assert (answer.status_code, answer.content) == (204, b"")
    assert refused(ask, info["token"])
    assert ask("POST", "sys/wrapping/lookup", body(info["token"])).json() == INVALID
    assert events("secret.reveal") == []
    (revoked,) = events("secret.wrap_revoke")
    name = {"itself": "anonymous", "another token": "kv2-viewer", "its accessor": "kv2-editor"}[how]
    assert (revoked.actor_name or revoked.actor_kind, revoked.object_name) == (name, "app/db")
    assert list(run_checks()) == []
    # Who puts its row back as it was opens nothing either.
    sql("UPDATE secrets_app_wrappedread SET revoked_at = NULL, row_mac = %s", before)
    assert refused(ask, info["token"])


def test_only_its_maker_revokes_by_the_accessor_and_nobody_what_has_ended(
    cast: Cast, ask: Ask, secret: Secret, events: Events
) -> None:
    info, manager = wrap(ask), token(cast, "manager")
    named = json.dumps({"accessor": info["accessor"]}).encode()
    assert ask("POST", "auth/token/revoke-accessor", named, token=manager).status_code == 403
    assert ask("POST", "auth/token/revoke", body(info["token"]), token="kpr_nonsense").status_code == 403
    assert ask("POST", UNWRAP, token=info["token"]).status_code == 200
    for path, sent, own in (
        ("revoke-self", b"", info["token"]),
        ("revoke", body(info["token"]), manager),
        ("revoke", body("kpw_unknown"), manager),
    ):
        answer = ask("POST", f"auth/token/{path}", sent, token=own)
        assert (answer.status_code, answer.json()) == (400, INVALID), path
    assert ask("POST", "auth/token/revoke-accessor", named).status_code == 400
    # A wrapping token opens no other path.
    assert ask("GET", "auth/token/lookup-self", token=wrap(ask)["token"]).status_code == 403
    assert events("secret.wrap_revoke") == []


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_look_at_the_address_opens_nothing(ask: Ask, secret: Secret, events: Events, method: str) -> None:
    text = wrap(ask)["token"]
    answer = ask(method, UNWRAP, token=text)
    assert (answer.status_code, answer["Allow"]) == (405, "POST, PUT, OPTIONS")
    assert not events("secret.unwrap")
    assert ask("GET", "sys/wrapping/lookup", token=text).status_code == 200
    assert ask("PUT", UNWRAP, token=text).status_code == 200


@pytest.mark.parametrize("why", ["token revoked", "version destroyed", "restored", "revoked"])
def test_what_happens_meanwhile_counts(
    cast: Cast, secret: Secret, ask: Ask, monkeypatch: pytest.MonkeyPatch, events: Events, why: str
) -> None:
    """It changes after the read was found open, before it is used up."""
    text = wrap(ask)["token"]

    def meanwhile(*given: Any) -> Any:
        found = version_of(*given)
        monkeypatch.undo()
        alice = cast.principal(cast.alice)
        if why == "token revoked":
            revoke(actor=alice, token=ServiceToken.objects.get(name="kv2-editor"))
        elif why == "version destroyed":
            stored = Secret.objects.select_related("environment").get(pk=secret.pk)
            versions.destroy_versions(actor=alice, secret=stored, numbers=[1])
        elif why == "revoked":
            service.revoke_wrapped(text=text, opener=opener())
        else:
            service.WRAPPED_READS.suspend(actor=alice, at=timezone.now(), states={})
        return found

    monkeypatch.setattr(service, "version_of", meanwhile)
    with pytest.raises(WrappingEnded):
        service.unwrap_read(text=text, opener=opener())
    assert events("secret.reveal") == []
    assert WrappedRead.objects.get().opened_at is None


def test_a_key_that_is_away_uses_nothing_up(
    ask: Ask, secret: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = wrap(ask)["token"]

    def away(_keys: object) -> None:
        raise KeyUnavailable("away", permanent=False)

    with monkeypatch.context() as patched:
        patched.setattr("secrets_app.keys.data_keys.prefetch", away)
        with pytest.raises(KeyUnavailable):
            service.unwrap_read(text=text, opener=opener())
    assert ask("POST", UNWRAP, token=text).status_code == 200


def test_no_value_is_opened_before_it_is_used_up(
    ask: Ask, secret: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = wrap(ask)["token"]

    def dies(**_options: object) -> str:
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(service, "open_version", dies)
        with pytest.raises(SystemExit):
            service.unwrap_read(text=text, opener=opener())
    assert refused(ask, text)


@pytest.mark.every_database
def test_of_two_who_unwrap_at_once_one_gets_it(transactional_db: None) -> None:
    cast = make_cast()
    secret, own = keep(cast, "app/db"), token(cast)
    actor = session_bearer(own[4:26], address="192.0.2.1")
    _, text = service.wrap_read(actor=actor, secret=secret, path="a", lifetime=timedelta(minutes=1))

    def opened() -> str:
        return service.unwrap_read(text=text, opener=opener()).value

    got = at_once(opened, opened)
    assert sorted(one if isinstance(one, str) else type(one).__name__ for one in got) == [
        "WrappingEnded",
        VALUE,
    ]
    assert AuditEvent.objects.filter(action="secret.reveal").count() == 1


def test_of_an_opening_and_a_revocation_at_once_one_happens(
    ask: Ask, secret: Secret, monkeypatch: pytest.MonkeyPatch, events: Events
) -> None:
    """It is opened after the revocation found it, before that holds its row."""
    text = wrap(ask)["token"]
    is_genuine = service._is_genuine

    def meanwhile(row: WrappedRead) -> bool:
        monkeypatch.undo()
        service.unwrap_read(text=text, opener=opener())
        return is_genuine(row)

    monkeypatch.setattr(service, "_is_genuine", meanwhile)
    with pytest.raises(WrappingEnded):
        service.revoke_wrapped(text=text, opener=opener())
    assert events("secret.wrap_revoke") == []
    assert WrappedRead.objects.get().revoked_at is None


@pytest.mark.parametrize("edit", ["opened_at = NULL", "opened_at = NULL, row_mac = %s", "number = 2"])
def test_a_row_that_sql_edits_opens_nothing(
    cast: Cast, ask: Ask, secret: Secret, sql: Callable[..., None], edit: str
) -> None:
    change(cast, secret, value="two")
    text = wrap(ask, "secret/data/app/db?version=1")["token"]
    before = bytes(WrappedRead.objects.get().row_mac)
    if "opened" in edit:
        ask("POST", UNWRAP, token=text)
    sql(f"UPDATE secrets_app_wrappedread SET {edit}", *([before] if "row_mac" in edit else []))
    assert refused(ask, text)
    assert {problem.kind for problem in run_checks()} == {"replayed" if "row_mac" in edit else "wrapped-read"}


@pytest.mark.parametrize("given", [5, True, ["kpw_a"], {"a": "kpw_a"}])
def test_what_is_no_text_is_no_wrapping_token(ask: Ask, given: Any) -> None:
    for path in (UNWRAP, "sys/wrapping/lookup"):
        answer = ask("POST", path, json.dumps({"token": given}).encode())
        assert (answer.status_code, "could not decode token" in answer.content.decode()) == (403, True)


def test_a_wrapping_token_revokes_itself_in_no_namespace(ask: Ask, secret: Secret) -> None:
    text = wrap(ask)["token"]
    answer = ask("POST", "auth/token/revoke-self", token=text, X_Vault_Namespace="team")
    assert answer.status_code == 400
    assert ask("POST", UNWRAP, token=text).status_code == 200


def test_guesses_are_counted_and_limited(ask: Ask, settings: Settings) -> None:
    settings.KEEPER_REFUSALS_PER_MINUTE = 3
    answers = [ask("POST", UNWRAP, token=f"kpw_{number}").status_code for number in range(5)]
    assert answers == [400, 400, 400, 429, 429]
    assert RefusalCount.objects.get(kind="unknown-wrapping").count == 3


def test_other_answers_are_not_wrapped(ask: Ask, secret: Secret) -> None:
    put = json.dumps({"data": {"a": 1}}).encode()
    for method, path, sent in (
        ("LIST", "secret/metadata/app", b""), ("GET", "secret/subkeys/app/db", b""), ("POST", "secret/data/x", put),
        ("GET", "secret/metadata/app/db", b""), ("POST", UNWRAP, b""),
    ):  # fmt: skip
        answer = ask(method, path, sent, X_Vault_Wrap_TTL="60")
        assert (answer.status_code, "read of data alone" in answer.content.decode()) == (400, True)
    assert not Secret.objects.filter(name="x").exists()
    assert ask("GET", "secret/data/none", X_Vault_Wrap_TTL="60").status_code == 404
    assert (
        ask("GET", "secret/data/app/db", X_Vault_Wrap_TTL="60", X_Vault_Wrap_Format="jwt").status_code == 400
    )
    for wrong in ("abc", "-5", "8d", "1.5", "9" * 30, "9" * 5000, "-", "1h and more", "١"):
        assert ask("GET", "secret/data/app/db", X_Vault_Wrap_TTL=wrong).status_code == 400, wrong
    assert not WrappedRead.objects.exists()
    assert ask("GET", "secret/data/app/db", X_Vault_Wrap_TTL="0s").json()["data"]["data"] == {"value": VALUE}


def test_the_shortest_time_wraps_too(ask: Ask, secret: Secret) -> None:
    assert wrap(ask, ttl="1ns", X_Vault_Wrap_Format="token")["ttl"] == 1


def test_who_may_not_read_cannot_wrap(cast: Cast, ask: Ask, secret: Secret) -> None:
    viewer, elsewhere = token(cast, "viewer"), token(cast, "reader", prefix="other")
    for own in (viewer, elsewhere):
        answer = ask("GET", "secret/data/app/db", token=own, X_Vault_Wrap_TTL="60")
        assert answer.status_code == 403
    assert not WrappedRead.objects.exists()


def test_it_does_not_outlast_the_token_that_wrapped(cast: Cast, ask: Ask, secret: Secret) -> None:
    own = token(cast, "reader", expires_at=timezone.now() + timedelta(minutes=5))
    assert 290 <= wrap(ask, ttl="1h", token=own)["ttl"] <= 300


def test_a_token_wraps_a_thousand_reads(ask: Ask, secret: Secret, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_MAX_OPEN", 2)
    first = wrap(ask)["token"]
    wrap(ask)
    assert ask("GET", "secret/data/app/db", X_Vault_Wrap_TTL="60").status_code == 409
    ask("POST", UNWRAP, token=first)
    wrap(ask)


def test_what_ended_a_week_ago_is_removed_with_its_event(ask: Ask, secret: Secret, events: Events) -> None:
    wrap(ask)
    assert service.purge_wrapped_reads() == 0
    WrappedRead.objects.update(expires_at=timezone.now() - timedelta(days=8))
    assert service.purge_wrapped_reads() == 1
    assert not WrappedRead.objects.exists()
    assert len(events("secret.wrap_purge")) == 1
    assert list(run_checks()) == []


def test_a_purged_secret_takes_its_wrapped_reads_along(cast: Cast, ask: Ask, secret: Secret) -> None:
    text = wrap(ask)["token"]
    alice = cast.principal(cast.alice)
    lifecycle.delete(actor=alice, secret=secret)
    lifecycle.purge(actor=alice, secret=Secret.objects.select_related("environment").get(pk=secret.pk))
    assert refused(ask, text)
    assert list(run_checks()) == []


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("60", "1m0s"), (0, "0s"), ("1h30m10s", "1h30m10s"), ("2d", "48h0m0s"), ("1.5m", "1m30s"),
        ("90s", "1m30s"), (" 5 ", "5s"), ("100ms", "0s"), ("100000h", "100000h0m0s"),
    ],
)  # fmt: skip
def test_durations_have_the_forms_of_go(given: Any, text: str) -> None:
    assert duration_text(duration_of(given, "x")) == text


def test_a_negative_duration_has_its_sign_in_front() -> None:
    assert duration_text(duration_of("-90s", "x", signed=True)) == "-1m30s"


@pytest.mark.django_db(transaction=True)
def test_the_cli_wraps_and_unwraps(
    cast: Cast, live_server: LiveServer, tmp_path: Any, ask: Ask, secret: Secret
) -> None:
    own = token(cast, "reader")

    def bao(*words: str, by: str = own, status: int = 0) -> Any:
        variables = {"BAO_ADDR": f"{live_server.url}/vault", "BAO_TOKEN": by, "HOME": str(tmp_path)}
        done = subprocess.run(
            [program(), *words], env={"PATH": os.environ["PATH"], "BAO_MAX_RETRIES": "0", **variables},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stdout + done.stderr
        return done

    read = ("read", "-wrap-ttl=60s", "-field=wrapping_token", "secret/data/app/db")
    get = ("kv", "get", "-wrap-ttl=2m", "-format=json", "secret/app/db")
    for text in (bao(*read).stdout, json.loads(bao(*get).stdout)["wrap_info"]["token"]):
        assert json.loads(bao("unwrap", "-format=json", text).stdout)["data"]["data"] == {"value": VALUE}
        assert "not valid" in bao("unwrap", text, status=2).stderr
    text = bao(*read).stdout
    assert "secret/data/app/db" in bao("write", "sys/wrapping/lookup", f"token={text}").stdout
    assert VALUE in bao("unwrap", by=text).stdout
    client: Any = hvac.Client(url=f"{live_server.url}/vault", token=own)
    text = client.read("secret/data/app/db", wrap_ttl="60s")["wrap_info"]["token"]
    bearer: Any = hvac.Client(url=f"{live_server.url}/vault", token=text)
    assert bearer.sys.unwrap()["data"]["data"] == {"value": VALUE}
    text = client.read("secret/data/app/db", wrap_ttl="60s")["wrap_info"]["token"]
    assert client.sys.unwrap(text)["data"]["data"] == {"value": VALUE}


@pytest.mark.django_db(transaction=True)
def test_each_answer_has_the_shape_of_openbao(
    cast: Cast, ask: Ask, secret: Secret, openbao: tuple[str, str]
) -> None:
    bao, keeper = of_openbao(openbao), of_keeper(ask)
    bao("POST", "secret/data/app/db", {"data": {"value": VALUE}})

    def told(send: Any, wrapped: str) -> Any:
        lookup = send("POST", "sys/wrapping/lookup", {"token": wrapped})
        opened = send("POST", UNWRAP, {"token": wrapped})
        return [
            sorted(lookup[1]["data"]), lookup[1]["data"]["creation_path"], lookup[1]["data"]["creation_ttl"],
            opened[0], sorted(opened[1]), opened[1]["data"]["data"], sorted(opened[1]["data"]["metadata"]),
            send("POST", UNWRAP, {"token": wrapped}), send("POST", "sys/wrapping/lookup", {"token": wrapped}),
            send("POST", UNWRAP, {"token": "nonsense"})[0], send("POST", UNWRAP, {"token": ["x"]})[0],
        ]  # fmt: skip

    of_bao = hvac.Client(url=openbao[0], token=openbao[1]).read("secret/data/app/db", wrap_ttl="60s")
    info = wrap(ask)
    assert sorted(of_bao["wrap_info"]) == sorted(info)
    assert told(keeper, info["token"]) == told(bao, of_bao["wrap_info"]["token"])


def test_a_lifetime_that_is_empty_or_unreadable_answers_no_value(cast: Cast, ask: Ask) -> None:
    # A server leaves an empty text of a header with letters beyond ASCII.
    keep(cast, "app/db", value="s3cret")
    refused = ask("GET", "secret/data/app/db", X_Vault_Wrap_TTL="")
    assert (refused.status_code, b"s3cret" in refused.content) == (400, False)


# --- Guarded secrets ------------------------------------------------------------------------------------


class Guarded:
    """A secret that alice guarded, and the personal token of bob, who reads it; charlie decides."""

    def __init__(self, cast: Cast, ask: Ask, secret: Secret) -> None:
        self.cast, self.ask, self.secret = cast, ask, secret
        grant(
            actor=cast.principal(cast.alice), environment=cast.development, user=cast.charlie, role="manager"
        )
        guard(actor=cast.principal(cast.alice), secret=Secret.objects.get(pk=secret.pk))
        self.token = issue_personal(actor=cast.principal(cast.bob), name="own")[1]

    def read(self, **options: Any) -> dict[str, Any]:
        answer = self.ask("GET", "secret/data/app/db", token=options.pop("token", self.token), **options)
        assert answer.status_code == 200, answer.content
        told: dict[str, Any] = answer.json()
        assert told["data"] is None
        return dict(told["wrap_info"])

    def agree(self) -> None:
        approval = Approval.objects.select_related("environment").get(state=ApprovalState.PENDING)
        approvals.approve(actor=self.cast.principal(self.cast.charlie), approval=approval)

    def unwrap(self, text: str, token: str = "") -> Any:
        return self.ask("POST", UNWRAP, body(text), token=token or self.token)

    def state(self, accessor: str, token: str = "", path: str = "request") -> Any:
        sent = json.dumps({"accessor": accessor}).encode()
        return self.ask("POST", f"sys/control-group/{path}", sent, token=token or self.token)


@pytest.fixture
def held(cast: Cast, ask: Ask, secret: Secret) -> Guarded:
    return Guarded(cast, ask, secret)


@pytest.mark.every_database
def test_a_guarded_value_opens_once_after_a_second_person_agreed(held: Guarded) -> None:
    wrapping = held.read()
    assert wrapping.keys() == {"token", "accessor", "ttl", "creation_time", "creation_path"}
    assert wrapping["creation_path"] == "secret/data/app/db"
    early = held.unwrap(wrapping["token"])
    assert (early.status_code, early.json()) == (400, INVALID)
    told = held.state(wrapping["accessor"]).json()["data"]
    assert (told["approved"], told["authorizations"], told["request_path"]) == (
        False,
        [],
        "secret/data/app/db",
    )
    assert told["request_entity"] == {"id": str(held.cast.bob.uuid), "name": "bob"}
    held.agree()
    told = held.state(wrapping["accessor"]).json()["data"]
    assert told["approved"] is True
    assert [each["entity_name"] for each in told["authorizations"]] == ["charlie"]
    opened = held.unwrap(wrapping["token"])
    assert opened.json()["data"]["data"] == {"value": VALUE}
    again = held.unwrap(wrapping["token"])
    assert (again.status_code, again.json()) == (400, INVALID)
    reads = AuditEvent.objects.filter(action="secret.reveal", outcome="allowed")
    assert reads.count() == 1


def test_nobody_else_opens_a_guarded_value_with_the_wrapping_token(held: Guarded, cast: Cast) -> None:
    wrapping = held.read()
    held.agree()
    other = issue_personal(actor=cast.principal(cast.alice), name="hers")[1]
    service = token(cast, "reader")
    for sender in (other, service, wrapping["token"]):
        refusal = held.unwrap(wrapping["token"], sender)
        assert (refusal.status_code, refusal.json()) == (400, INVALID)
        assert held.state(wrapping["accessor"], sender).status_code in {400, 403}
    assert held.unwrap(wrapping["token"]).status_code == 200


@pytest.mark.parametrize("what", ["another value", "the guard ended", "the right lost", "withdrawn"])
def test_a_guarded_value_stays_closed_after_a_change(
    held: Guarded, cast: Cast, secret: Secret, what: str
) -> None:
    wrapping = held.read()
    held.agree()
    if what == "another value":
        change(cast, secret, "second")
    elif what == "the guard ended":
        row = Secret.objects.get(pk=secret.pk)
        row.guarded = None
        row.save()
    elif what == "withdrawn":
        approval = Approval.objects.select_related("environment").get()
        approvals.withdraw(actor=cast.principal(cast.bob), approval=approval)
    else:
        place = Membership.objects.get(user=cast.bob, environment=cast.development)
        revoke_membership(actor=cast.principal(cast.alice), membership=place)
    refusal = held.unwrap(wrapping["token"])
    assert (refusal.status_code, refusal.json()) == (400, INVALID)
    assert not AuditEvent.objects.filter(action="secret.reveal", outcome="allowed").exists()


def test_a_guarded_read_that_is_revoked_meanwhile_is_not_shown(
    held: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was revoked after the agreement was used, before the opening holds its row."""
    wrapping = held.read()
    held.agree()

    def meanwhile(**given: Any) -> Any:
        shown = open_released(**given)
        service.revoke_wrapped(text=wrapping["token"], opener=opener())
        return shown

    monkeypatch.setattr(service, "open_released", meanwhile)
    refusal = held.unwrap(wrapping["token"])
    assert (refusal.status_code, refusal.json()) == (400, INVALID)
    assert WrappedRead.objects.get().opened_at is None


def test_no_token_agrees_and_unknown_accessors_are_answered_as_openbao_does(held: Guarded) -> None:
    wrapping = held.read()
    refused_by_page = held.state(wrapping["accessor"], path="authorize")
    assert refused_by_page.status_code == 403
    assert "/approvals/" in refused_by_page.json()["errors"][0]
    for accessor, said in (
        ("", "missing accessor"),
        ("x", "invalid accessor"),
        ("0" * 32, "invalid accessor"),
    ):
        for path in ("request", "authorize"):
            answer = held.state(accessor, path=path)
            assert (answer.status_code, answer.json()) == (400, {"errors": [said]})


def test_bao_and_hvac_read_and_unwrap_a_guarded_value(
    held: Guarded, live_server: LiveServer, tmp_path: Any, secret: Secret
) -> None:
    """Read, wait and unwrap as the documentation of control groups shows."""

    def bao(*words: str, status: int = 0) -> Any:
        variables = {"BAO_ADDR": f"{live_server.url}/vault", "BAO_TOKEN": held.token, "HOME": str(tmp_path)}
        done = subprocess.run(
            [program(), *words], env={"PATH": os.environ["PATH"], "BAO_MAX_RETRIES": "0", **variables},
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == status, done.stderr
        return done

    wrapping = json.loads(bao("read", "-format=json", "secret/data/app/db").stdout)["wrap_info"]
    assert "not valid" in bao("unwrap", wrapping["token"], status=2).stderr
    asked = ("write", "-format=json", "sys/control-group/request", f"accessor={wrapping['accessor']}")
    assert json.loads(bao(*asked).stdout)["data"]["approved"] is False
    held.agree()
    assert json.loads(bao(*asked).stdout)["data"]["approved"] is True
    shown = json.loads(bao("unwrap", "-format=json", wrapping["token"]).stdout)
    assert shown["data"]["data"] == {"value": VALUE}
    assert "not valid" in bao("unwrap", wrapping["token"], status=2).stderr
    client: Any = hvac.Client(url=f"{live_server.url}/vault", token=held.token)
    told = client.read("secret/data/app/db")
    held.agree()
    assert client.sys.unwrap(told["wrap_info"]["token"])["data"]["data"] == {"value": VALUE}
