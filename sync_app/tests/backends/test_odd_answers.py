"""An answer of any form is taken for what it is: no method of a backend raises anything but a BackendError."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
from botocore.awsrequest import AWSResponse
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from core.network.aws import PermittedSession
from core.network.outbound import Reply
from sync_app.backends.aws.parameter_store import AwsParameterStore
from sync_app.backends.aws.secrets_manager import AwsSecretsManager
from sync_app.backends.base import Backend, Overwrites
from sync_app.backends.observations import Mark, SecretMetadata
from sync_app.backends.vault import adapter
from sync_app.backends.vault.backend import VaultKv2
from sync_app.domain.reconciliation import Presence
from sync_app.errors import AnswerUnexpected, BackendError, TargetBusy

MARK = Mark(deployment=UUID(int=1), target=UUID(int=2), secret=UUID(int=3))
SEEN = SecretMetadata(name="a", presence=Presence.PRESENT, remote_id="id", version="1", mark=MARK)
# Words that backends look for, so that answers get past the first look.
KEYS = st.sampled_from(
    [
        "data",
        "keys",
        "key_info",
        "errors",
        "auth",
        "client_token",
        "path",
        "type",
        "options",
        "version",
        "metadata",
        "custom_metadata",
        "versions",
        "current_version",
        "created_time",
        "deletion_time",
        "destroyed",
        "cluster_id",
        "sealed",
        "value",
        "renewable",
        "ttl",
        "period",
        "SecretList",
        "Name",
        "ARN",
        "Tags",
        "Key",
        "Value",
        "VersionIdsToStages",
        "SecretVersionsToStages",
        "NextToken",
        "SecretString",
        "VersionId",
        "DeletedDate",
        "Account",
        "Error",
        "Code",
        "Message",
        "__type",
    ]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.just("\0")
ANSWERS = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=12,
)
BODIES = (
    ANSWERS.map(lambda answer: json.dumps(answer).encode())
    | st.binary(max_size=40)
    | st.sampled_from(
        [
            b"[" * 100_000,
            b'{"data":' * 20_000,
            b"\xff\xfe",
            b"",
            b'{"data": {"keys": 7}}',
            b'{"data": {"keys": [7]}}',
        ]
    )
)
STATUSES = st.sampled_from([200, 200, 200, 204, 307, 400, 403, 404, 429, 500, 503])
ACTS: list[Callable[[Backend], object]] = [
    lambda backend: backend.identify_system(),
    lambda backend: backend.check_connection(),
    lambda backend: list(backend.probe_permissions()),
    lambda backend: list(zip(range(5), backend.list_secrets(), strict=False)),
    lambda backend: backend.get_metadata("a"),
    lambda backend: backend.batch_get_metadata(["a", "b", "c", "d", "e"]),
    lambda backend: backend.read_value("a"),
    lambda backend: backend.create("a", "v", mark=MARK, token="11111111-1111-1111-1111-111111111111"),
    lambda backend: backend.update(SEEN, "v", token="11111111-1111-1111-1111-111111111111"),
    lambda backend: backend.delete(SEEN),
    lambda backend: backend.restore("a"),
    lambda backend: backend.mark(SEEN, MARK),
    lambda backend: backend.unmark(SEEN),
    lambda backend: isinstance(backend, Overwrites) and backend.revert_write(SEEN, "2@2026-01-01T00:00:00Z"),
    lambda backend: (
        isinstance(backend, Overwrites)
        and backend.revert_unconfirmed_write(SEEN, makes="2", wrote=lambda value: value == "v")
    ),
]
FUZZED = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


class Raw:
    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, *_given: object) -> Iterator[bytes]:
        yield self._body


def act_on(backend: Backend, number: int) -> None:
    with contextlib.suppress(BackendError), backend:
        ACTS[number](backend)


@FUZZED
@example(answers=[(200, b"")], number=0)
@example(answers=[(200, b'{"data": null}'), (200, b"null")], number=4)
@example(answers=[(200, b'{"data": {"keys": ["", "/", "a/", "\\u0000"]}}')], number=3)
@given(
    answers=st.lists(st.tuples(STATUSES, BODIES), min_size=1, max_size=4),
    number=st.integers(0, len(ACTS) - 1),
)
def test_vault_may_answer_anything(
    answers: list[tuple[int, bytes]], number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rest = [*answers, *[(404, b"{}")] * 40][::-1]
    monkeypatch.setattr(adapter, "exchange", lambda *_given, **_options: rest.pop() if rest else (500, b""))
    backend = VaultKv2(destination={"address": "https://vault.example"}, credentials={"token": "t"})
    if number % 2:
        # Past the sign-in, so that what comes is the answer to the act itself.
        backend._vault._ready = True
    act_on(backend, number)


@FUZZED
@example(answers=[(200, b"")], number=0)
@example(answers=[(200, b'{"SecretList": [{}]}')], number=3)
@example(answers=[(200, b'{"VersionIdsToStages": null}'), (400, b'{"__type": 7}')], number=4)
@given(
    answers=st.lists(st.tuples(STATUSES, BODIES), min_size=1, max_size=4),
    number=st.integers(0, len(ACTS) - 1),
)
def test_aws_may_answer_anything(
    answers: list[tuple[int, bytes]], number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rest = answers[::-1]

    def send(_session: object, request: Any) -> AWSResponse:
        status, body = rest.pop() if rest else (400, b"{}")
        # Without the waits of the SDK between attempts.
        return AWSResponse(request.url, min(status, 404), {}, Raw(body))  # type: ignore[arg-type]  # a raw answer of our own

    monkeypatch.setattr(PermittedSession, "send", send)
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    backend = AwsSecretsManager(
        destination={"region": "eu-central-1"},
        credentials={"access_key_id": "AKIAIOSFODNN7EXAMPLE", "secret_access_key": "k"},
    )
    act_on(backend, number)


@pytest.mark.parametrize("body", [b"{}", b'{"Parameter": 7}', b'{"Parameters": 7}'])
def test_a_look_of_a_reversal_may_be_answered_with_anything(
    monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    monkeypatch.setattr(
        PermittedSession,
        "send",
        lambda _session, request: AWSResponse(request.url, 200, {}, Raw(body)),  # type: ignore[arg-type]  # a raw answer of our own
    )
    backend = AwsParameterStore(
        destination={"region": "eu-central-1"},
        credentials={"access_key_id": "AKIAIOSFODNN7EXAMPLE", "secret_access_key": "k"},
    )
    with backend, pytest.raises(AnswerUnexpected):
        backend.revert_write(SEEN, "2@2026-01-01T00:00:00Z")
    with backend, pytest.raises(AnswerUnexpected):
        backend.revert_unconfirmed_write(SEEN, makes="2", wrote=lambda value: value == "v")


def test_it_says_what_that_is(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = Reply(200, {}, b'{"data": [1]}')
    monkeypatch.setattr(adapter, "exchange", lambda *_given, **_options: answer)
    backend = VaultKv2(destination={"address": "https://vault.example"}, credentials={"token": "t"})
    with pytest.raises(AnswerUnexpected, match="in a form that no such system has"), backend:
        backend.check_connection()


@pytest.mark.parametrize("cluster", ["a\0b", "a\nb", 7, ["a"], "a" * 4096])
def test_an_id_that_cannot_be_kept_is_no_answer_of_such_a_system(
    cluster: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = json.dumps({"initialized": True, "sealed": False, "cluster_id": cluster}).encode()
    monkeypatch.setattr(adapter, "exchange", lambda *_given, **_options: Reply(200, {}, told))
    backend = VaultKv2(destination={"address": "https://vault.example"}, credentials={"token": "t"})
    with pytest.raises(AnswerUnexpected, match="in a form that no such system has"), backend:
        backend.identify_system()


@pytest.mark.parametrize("body", [b'{"errors":[]}', b"<html>Too Many Requests</html>", b""])
def test_a_limit_is_no_state_of_a_node_of_vault(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    """A standby answers sys/health with 429 as well, and with its state."""
    monkeypatch.setattr(adapter, "exchange", lambda *_given, **_options: Reply(429, {}, body))
    backend = VaultKv2(destination={"address": "https://vault.example"}, credentials={"token": "t"})
    with pytest.raises(TargetBusy, match="limits requests"), backend:
        backend.identify_system()
