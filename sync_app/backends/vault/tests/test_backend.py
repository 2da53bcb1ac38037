"""Vault's own states, races and policies, on a real OpenBao."""

import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import hvac
import pytest
from urllib3 import HTTPResponse

from sync_app.backends.base import Backend
from sync_app.backends.observations import Mark, SecretMetadata, format_version
from sync_app.backends.vault import backend as vault_backend
from sync_app.backends.vault.adapter import PooledAdapter
from sync_app.backends.vault.backend import VaultKv2
from sync_app.backends.vault.connection import VaultConnection
from sync_app.backends.vault.tests.world import VaultWorld
from sync_app.backends.vault.writes import VaultWrites
from sync_app.domain.reconciliation import Presence
from sync_app.errors import (
    BackendError,
    BadDestination,
    ChangedSinceRead,
    CreateConflict,
    CredentialsRejected,
    MountMissing,
    Overwritten,
    PermissionMissing,
    TargetBusy,
    TargetSealed,
    TargetStandby,
    TargetUnreachable,
)
from tests.servers.openbao import OpenBao

TOKEN = "0123456789abcdef0123456789abcdef"
MARK = Mark(deployment=UUID(int=1), target=UUID(int=2), secret=UUID(int=3))


@pytest.fixture
def backend(vault: VaultWorld) -> Iterator[Backend]:
    with vault.backend() as made:
        yield made


def token_with(vault: VaultWorld, rules: str, **options: object) -> str:
    name = f"policy-{uuid4().hex}"
    vault.client.sys.create_or_update_policy(name, rules)
    made = vault.client.auth.token.create(policies=[name], **options)
    return str(made["auth"]["client_token"])


def everything_below(prefix: str, *, patch: bool = True) -> str:
    kinds = {
        "data": "create,update,read",
        "metadata": "create,update,read,list" + (",patch" if patch else ""),
        "detailed-metadata": "list",
        "delete": "update",
        "undelete": "update",
    }
    quoted = {kind: ",".join(f'"{each}"' for each in can.split(",")) for kind, can in kinds.items()}
    return "\n".join(
        f'path "secret/{kind}/{prefix}/*" {{ capabilities = [{can}] }}' for kind, can in quoted.items()
    )


def test_a_name_that_does_not_resolve_is_told_with_what_to_check() -> None:
    connection = VaultConnection(
        "https://vault.invalid:8200",
        mount="secret",
        namespace="",
        approle="approle",
        credentials={"token": "t"},
        seconds=5,
    )
    with pytest.raises(TargetUnreachable, match=r"Can't reach https://vault\.invalid:8200\. Check"):
        connection.read_health()


def test_it_needs_no_more_than_the_documented_policy(vault: VaultWorld) -> None:
    token = token_with(vault, everything_below(vault.prefix))
    with vault.backend(token=token) as backend:
        backend.check_connection()
        made = backend.create("a/b", "1", mark=MARK, token=TOKEN)
        made = backend.update(made, "2", token=TOKEN)
        assert list(backend.list_secrets()) == [made]
        backend.delete(made)
        assert backend.restore("a/b") == made


@pytest.mark.parametrize("patch", [True, False])
def test_it_changes_its_own_labels_alone(
    vault: VaultWorld, monkeypatch: pytest.MonkeyPatch, patch: bool
) -> None:
    """Whatever stands there already stays; with a patch also what is written in the very moment."""
    vault.write(f"{vault.prefix}/a", "1")
    vault.label(f"{vault.prefix}/a", "team", "payments")
    token = token_with(vault, everything_below(vault.prefix, patch=patch))
    with vault.backend(token=token) as backend:
        assert isinstance(backend, VaultKv2)
        asked: list[str] = []
        ask = backend._vault.request

        def meanwhile(method: str, path: str, **options: Any) -> Any:
            if "/metadata/" in path and method in {"PATCH", "POST"}:
                asked.append(method)
                if method == "PATCH" and patch:
                    labels = {"team": "payments", "cost": "42"} | (MARK.labels() if len(asked) > 1 else {})
                    vault.kv.update_metadata(
                        f"{vault.prefix}/a", custom_metadata=labels, mount_point="secret"
                    )
            return ask(method, path, **options)

        monkeypatch.setattr(backend._vault, "request", meanwhile)
        others = {"team": "payments"} | ({"cost": "42"} if patch else {})
        backend.mark(backend.get_metadata("a"), MARK)
        assert vault.labels(f"{vault.prefix}/a") == others | MARK.labels()
        backend.unmark(backend.get_metadata("a"))
        assert vault.labels(f"{vault.prefix}/a") == others
        # A refusal is remembered: it is not asked for again.
        assert asked == (["PATCH"] * 2 if patch else ["PATCH", "POST", "POST"])


def test_the_labels_of_a_secret_that_is_gone_make_none(vault: VaultWorld) -> None:
    with vault.backend() as backend:
        gone = backend.get_metadata("gone")
        backend.unmark(gone)
        assert vault.client.read(f"secret/metadata/{vault.prefix}/gone") is None


def test_it_lists_without_detailed_metadata(vault: VaultWorld) -> None:
    rules = f'path "secret/metadata/{vault.prefix}/*" {{ capabilities = ["read", "list"] }}'
    vault.write(f"{vault.prefix}/a/b", "1")
    vault.write(f"{vault.prefix}/c", "1")
    with vault.backend(token=token_with(vault, rules)) as backend:
        assert {seen.name for seen in backend.list_secrets()} == {"a/b", "c"}


NESTED = ["a", "a/x", "a/y/z", "b-", "b/x", "b/y", "c", "d/x", "ä"]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, len(NESTED)])
@pytest.mark.parametrize("pages", ["known", "unknown", "refused after the first"])
def test_it_lists_each_once_in_pages_of_any_size(
    vault: VaultWorld, monkeypatch: pytest.MonkeyPatch, size: int, pages: str
) -> None:
    for name in NESTED:
        vault.write(f"{vault.prefix}/{name}", "1")
    monkeypatch.setattr(vault_backend, "_PAGE", size)
    with vault.backend() as backend:
        assert isinstance(backend, VaultKv2)
        ask = backend._vault.request

        def otherwise(method: str, path: str, **options: Any) -> Any:
            if "detailed-metadata" in path and pages == "unknown":
                options["params"] = {"list": "true"}
            if "detailed-metadata" in path and "after" in options["params"] and pages.startswith("refused"):
                raise PermissionMissing("list on detailed-metadata")
            return ask(method, path, **options)

        monkeypatch.setattr(backend._vault, "request", otherwise)
        assert sorted(seen.name for seen in backend.list_secrets()) == NESTED


def test_it_names_the_missing_permission(vault: VaultWorld) -> None:
    token = token_with(vault, f'path "secret/metadata/{vault.prefix}/*" {{ capabilities = ["list"] }}')
    vault.write(f"{vault.prefix}/c", "1")
    with vault.backend(token=token) as backend:
        with pytest.raises(PermissionMissing, match=f"read or list on secret/metadata/{vault.prefix}/c"):
            list(backend.list_secrets())
        with pytest.raises(PermissionMissing, match="secret/data"):
            backend.read_value("c")


def test_it_knows_an_expired_token_from_a_denied_one(vault: VaultWorld) -> None:
    token = token_with(vault, everything_below(vault.prefix))
    with vault.backend(token=token) as backend:
        backend.check_connection()
        vault.client.auth.token.revoke(token)
        with pytest.raises(CredentialsRejected):
            list(backend.list_secrets())
    with vault.backend(token="unknown") as backend, pytest.raises(CredentialsRejected):
        backend.check_connection()


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_vault_is_not_taken_for_one_that_does_not_know_the_token(
    vault: VaultWorld, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """A path is denied, and to ask whether that is the token's fault gets no answer to the question."""
    token = token_with(vault, f'path "secret/metadata/{vault.prefix}/*" {{ capabilities = ["list"] }}')
    with vault.backend(token=token) as backend:
        backend.check_connection()
        plain = PooledAdapter.request

        def request(self: PooledAdapter, method: str, url: str, **options: Any) -> Any:
            if url.endswith("lookup-self"):
                return HTTPResponse(b'{"errors": ["busy"]}', status=status)
            return plain(self, method, url, **options)

        monkeypatch.setattr(PooledAdapter, "request", request)
        with pytest.raises(BackendError) as raised:
            backend.read_value("c")
    assert not raised.value.permanent


def test_it_renews_a_token_whose_time_is_half_over(
    vault: VaultWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = token_with(vault, everything_below(vault.prefix), ttl="2h", renewable=True)
    sent: list[str] = []
    plain = VaultConnection._send

    def send(self: VaultConnection, method: str, path: str, **options: object) -> object:
        sent.append(path)
        reply = plain(self, method, path, **options)
        if path == "auth/token/lookup-self" and reply:
            reply["data"]["ttl"] = 600
        return reply

    monkeypatch.setattr(VaultConnection, "_send", send)
    with vault.backend(token=token) as backend:
        backend.check_connection()
    assert "auth/token/renew-self" in sent


def test_it_signs_in_with_an_approle_and_gives_the_token_back(vault: VaultWorld) -> None:
    mount = f"approle-{uuid4().hex[:8]}"
    vault.client.sys.enable_auth_method("approle", path=mount)
    vault.client.sys.create_or_update_policy(mount, everything_below(vault.prefix))
    approle = vault.client.auth.approle
    approle.create_or_update_approle("keeper", token_policies=[mount], mount_point=mount)
    role_id = approle.read_role_id("keeper", mount_point=mount)["data"]["role_id"]
    secret_id = approle.generate_secret_id("keeper", mount_point=mount)["data"]["secret_id"]
    given = {"approle_mount": mount, "role_id": role_id, "token": ""}
    with vault.backend(**given, secret_id=secret_id) as backend:
        backend.create("a", "1", mark=MARK, token=TOKEN)
        assert isinstance(backend, VaultKv2)
        lent = backend._vault.token
    assert vault.value(f"{vault.prefix}/a") == "1"
    assert not hvac.Client(url=vault.url, token=lent).is_authenticated()
    with vault.backend(**given, secret_id="wrong") as backend, pytest.raises(CredentialsRejected):
        backend.check_connection()


@pytest.mark.parametrize("version", [None, "1"])
def test_it_refuses_a_mount_that_is_not_kv_version_2(vault: VaultWorld, version: str | None) -> None:
    mount = f"mount-{uuid4().hex[:8]}"
    if version:
        vault.client.sys.enable_secrets_engine("kv", path=mount, options={"version": version})
    with vault.backend(mount=mount) as backend:
        with pytest.raises(MountMissing):
            backend.check_connection()
        with pytest.raises(MountMissing):
            backend.create("a", "1", mark=MARK, token=TOKEN)


def test_it_says_that_its_mark_is_on_what_came_first(
    vault: VaultWorld, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = VaultKv2.mark

    def mark(self: VaultKv2, seen: SecretMetadata, mark: Mark) -> None:
        plain(self, seen, mark)
        vault.write(f"{vault.prefix}/a", "theirs")

    monkeypatch.setattr(VaultKv2, "mark", mark)
    with pytest.raises(CreateConflict):
        backend.create("a", "ours", mark=MARK, token=TOKEN)
    assert vault.value(f"{vault.prefix}/a") == "theirs"
    # Whose that is, the engine decides (engine/test_overtaken.py).
    assert backend.get_metadata("a").mark == MARK


def test_a_mark_alone_is_no_secret(vault: VaultWorld, backend: Backend) -> None:
    """As after a crash between mark and first version."""
    backend.mark(backend.get_metadata("a"), MARK)
    assert backend.get_metadata("a").presence is Presence.ABSENT
    assert list(backend.list_secrets()) == []
    backend.create("a", "1", mark=MARK, token=TOKEN)
    assert vault.value(f"{vault.prefix}/a") == "1"


def test_it_keeps_what_came_between_read_and_write(
    vault: VaultWorld, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = backend.create("a", "1", mark=MARK, token=TOKEN)
    plain = VaultWrites.write

    def write(self: VaultWrites, path: str, content: Mapping[str, Any], *, cas: int) -> Mapping[str, Any]:
        vault.write(path, "theirs")
        return plain(self, path, content, cas=cas)

    monkeypatch.setattr(VaultWrites, "write", write)
    with pytest.raises(ChangedSinceRead):
        backend.update(made, "ours", token=TOKEN)
    assert vault.value(f"{vault.prefix}/a") == "theirs"


def test_what_it_kept_of_a_secret_is_not_written_into_another_of_its_name() -> None:
    """The mount keeps a single version: of what was made again in between, nothing is left there."""
    written = format_version(2, "later")
    metadata = {"created_time": "later", "current_version": 2, "updated_time": "later",
                "versions": {"2": {"created_time": "later"}}}  # fmt: skip
    sent: list[str] = []

    class Connection:
        def request(self, method: str, path: str, **_given: Any) -> Any:
            sent.append(f"{method} {path}")
            return {"data": metadata} if path == "secret/metadata/a" else None

    over = SecretMetadata(
        name="a", presence=Presence.PRESENT, remote_id="before", version=format_version(1, "before")
    )
    with pytest.raises(Overwritten, match="could not be restored"):
        VaultWrites(cast("VaultConnection", Connection()), "secret").revert(
            "a", over, written, kept={"value": "canary"}
        )
    assert "POST secret/data/a" not in sent


def test_it_deletes_one_version_alone(
    vault: VaultWorld, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = backend.create("a", "1", mark=MARK, token=TOKEN)
    plain = VaultKv2._refuse_change

    def refuse(self: VaultKv2, seen: SecretMetadata, now: SecretMetadata) -> None:
        plain(self, seen, now)
        vault.write(f"{vault.prefix}/a", "theirs")

    monkeypatch.setattr(VaultKv2, "_refuse_change", refuse)
    with pytest.raises(ChangedSinceRead, match="restored"):
        backend.delete(made)
    assert vault.value(f"{vault.prefix}/a") == "theirs"


def test_what_another_keeper_marks_while_it_is_deleted_is_restored(
    vault: VaultWorld, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, other = backend.create("a", "1", mark=MARK, token=TOKEN), replace(MARK, deployment=UUID(int=9))
    plain = VaultKv2._refuse_change

    def refuse(self: VaultKv2, seen: SecretMetadata, now: SecretMetadata) -> None:
        plain(self, seen, now)
        backend.mark(made, other)

    monkeypatch.setattr(VaultKv2, "_refuse_change", refuse)
    with pytest.raises(ChangedSinceRead, match="restored"):
        backend.delete(made)
    assert (vault.value(f"{vault.prefix}/a"), backend.get_metadata("a").mark) == ("1", other)


def test_another_secret_of_the_same_name_is_not_the_one_that_was_read(
    vault: VaultWorld, backend: Backend
) -> None:
    made = backend.create("a", "1", mark=MARK, token=TOKEN)
    vault.kv.delete_metadata_and_all_versions(f"{vault.prefix}/a", mount_point="secret")
    vault.write(f"{vault.prefix}/a", "theirs")
    with pytest.raises(ChangedSinceRead):
        backend.delete(made)
    with pytest.raises(ChangedSinceRead):
        backend.update(made, "ours", token=TOKEN)
    assert vault.value(f"{vault.prefix}/a") == "theirs"


def test_it_says_that_vault_is_sealed_and_that_it_is_down(tmp_path: Path) -> None:
    server = OpenBao(tmp_path)
    try:
        server.start()
        server.wait()
        world = VaultWorld(server.environment()["KEEPER_TEST_OPENBAO_URL"], server.token)
        with world.backend() as backend:
            backend.check_connection()
            world.client.sys.seal()
            for _ in range(2):
                with pytest.raises(TargetSealed):
                    list(backend.list_secrets())
    finally:
        server.stop()
    with world.backend() as backend, pytest.raises(TargetUnreachable):
        backend.check_connection()


class Answering(BaseHTTPRequestHandler):
    """Answers every request alike, and notes what reached it."""

    status = 200
    seen: list[str] = []

    def answer(self) -> None:
        self.seen.append(self.path)
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(self.status)
        self.send_header("Location", "/stolen")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_GET = answer  # noqa: N815  http.server's names
    do_POST = answer  # noqa: N815

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def answering() -> Iterator[str]:
    Answering.seen = []
    with HTTPServer(("127.0.0.1", 0), Answering) as http:
        threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (307, TargetStandby),
        (429, TargetBusy),
        (500, TargetBusy),
        (501, TargetStandby),
        (502, TargetBusy),
        (503, TargetStandby),
    ],
)
def test_it_never_takes_a_failure_for_an_empty_list(
    answering: str, status: int, error: type[BackendError]
) -> None:
    Answering.status = status
    backend = VaultKv2(destination={"address": answering}, credentials={"token": "t"})
    with backend, pytest.raises(error) as caught:
        list(backend.list_secrets())
    assert not caught.value.permanent
    assert "/stolen" not in Answering.seen


def test_it_needs_credentials() -> None:
    with pytest.raises(BadDestination):
        VaultKv2(destination={"address": "https://vault.example"}, credentials={})
