"""A WSGI application that refuses what AWS refuses, fails as told, and passes the rest to moto."""

import contextlib
import json
import re
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from typing import Any

import urllib3
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from tests.aws_strict import rules
from tests.aws_strict.faults import Fault, Plan

RULES = {
    "secretsmanager": rules.secrets_manager,
    "TrentService": rules.kms,
    "AmazonSSM": rules.parameter_store,
}
HANG_SECONDS = 30
SLOW_SECONDS = 0.3
CURRENT = "AWSCURRENT"
_ANSWERS = {
    Fault.THROTTLE: (400, "ThrottlingException", "Rate exceeded"),
    Fault.SERVER_ERROR: (500, "InternalServiceError", "An error occurred on the server side."),
    Fault.EXPIRED: (400, "ExpiredTokenException", "The security token included in the request is expired"),
}


class Strict:
    """AWS in front of a moto server; `plan` holds its failures and counts."""

    def __init__(self, moto_url: str, plan: Plan) -> None:
        self.plan = plan
        self._moto_url = moto_url
        self._pool = urllib3.PoolManager(maxsize=16, retries=False)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        request = Request(environ)
        body = request.get_data()
        service, _, operation = request.headers.get("X-Amz-Target", "").rpartition(".")
        action = "" if service else request.form.get("Action", "")
        fault = self.plan.next(operation or action, repeated=_repeated(request))
        if fault is Fault.HANG:
            self.plan.release.wait(HANG_SECONDS)
            return _cut(environ)
        if service in RULES:
            body = json.dumps(rules.completed(operation, json.loads(body or b"{}"))).encode()
        response = (
            self._refused_key(request)
            or self._refused(fault, service, operation, body, request)
            or self._passed(request, body)
        )
        if operation == "ListSecretVersionIds" and response.status_code == HTTPStatus.OK:
            response = self._dated(request, json.loads(body), response)
        if action and response.status_code == HTTPStatus.OK:
            self.plan.keys.observe(action, request.form, response.get_data(as_text=True))
        if fault is Fault.DROPPED_REPLY:
            return _cut(environ)
        if fault is Fault.SLOW:
            self.plan.release.wait(SLOW_SECONDS)
        if fault is Fault.OTHER_KEY:
            response = _about_another_key(response)
        return response(environ, start_response)

    def _dated(self, request: Request, content: dict[str, Any], response: Response) -> Response:
        """Correct what moto lists: each version at the time of the question, and two current ones.

        After a rollback and a new value, moto leaves AWSCURRENT on the version that was current before.
        """
        answer = json.loads(response.get_data())
        current = [each["VersionStages"] for each in answer["Versions"] if CURRENT in each["VersionStages"]]
        for stages in current[:-1]:
            stages.remove(CURRENT)
        for version in answer["Versions"]:
            asked = {"SecretId": content["SecretId"], "VersionId": version["VersionId"]}
            status, found = self._asked(request, "secretsmanager.GetSecretValue", asked)
            if status == HTTPStatus.OK:
                version["CreatedDate"] = found["CreatedDate"]
        return Response(json.dumps(answer), content_type="application/x-amz-json-1.1")

    def _refused_key(self, request: Request) -> Response | None:
        if not self.plan.keys.refuses(request.headers.get("Authorization", "")):
            return None
        text = "The security token included in the request is invalid."
        return Response(
            f"<ErrorResponse><Error><Type>Sender</Type><Code>InvalidClientTokenId</Code><Message>{text}"
            "</Message></Error><RequestId>strict</RequestId></ErrorResponse>",
            status=HTTPStatus.FORBIDDEN,
            content_type="text/xml",
        )

    def _refused(
        self, fault: Fault | None, service: str, operation: str, body: bytes, request: Request
    ) -> Response | None:
        if fault is Fault.ACCESS_DENIED:
            return _error(400, *rules.denied(service, operation))
        if fault is Fault.DELETED:
            return _error(400, "NotFoundException", f"Key '{json.loads(body)['KeyId']}' does not exist")
        if fault in _ANSWERS:
            return _error(*_ANSWERS[fault])
        if not request.headers.get("Authorization", "").startswith("AWS4-HMAC-SHA256 "):
            return _error(400, "MissingAuthenticationTokenException", "Missing Authentication Token")
        judge = RULES.get(service)

        def ask(target: str, content: dict[str, Any]) -> tuple[int, dict[str, Any]]:
            return self._asked(request, target, content)

        region = request.headers["Authorization"].split("/")[2]
        refusal = judge(operation, json.loads(body or b"{}"), ask, region) if judge else None
        return _error(400, *refusal) if refusal else None

    def _asked(self, request: Request, target: str, content: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Ask moto on our own account; the signature names the service, which moto goes by."""
        service = {"TrentService": "kms"}.get(target.partition(".")[0], "secretsmanager")
        credential = request.headers["Authorization"].split("/")
        credential[3] = service
        headers = {
            "X-Amz-Target": target,
            "Content-Type": "application/x-amz-json-1.1",
            "Authorization": "/".join(credential),
            "Host": f"{service}.{credential[2]}.amazonaws.com",
        }
        reply = self._pool.request(
            "POST", self._moto_url + "/", body=json.dumps(content).encode(), headers=headers
        )
        return reply.status, json.loads(reply.data)

    def _passed(self, request: Request, body: bytes) -> Response:
        reply = self._pool.request(
            request.method,
            self._moto_url + request.full_path.rstrip("?"),
            body=body,
            headers={
                key: value for key, value in request.headers if key not in {"Connection", "Content-Length"}
            },
        )
        headers = {
            key: value
            for key, value in reply.headers.items()
            if key.lower() not in {"content-length", "connection", "transfer-encoding"}
        }
        return Response(reply.data, status=reply.status, headers=headers)


def _repeated(request: Request) -> bool:
    """Say whether AWS's client library sends this again by itself, which it tells in a header."""
    attempt = re.search(r"attempt=(\d+)", request.headers.get("amz-sdk-request", ""))
    return attempt is not None and attempt[1] != "1"


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serving(moto_url: str, *, port: int = 0, plan: Plan | None = None) -> Iterator[tuple[str, Plan]]:
    """Serve the strict layer on the loopback address; yield its URL and its plan."""
    application = Strict(moto_url, plan or Plan())
    server = make_server("127.0.0.1", port, application, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", application.plan
    finally:
        application.plan.clear()
        server.shutdown()
        thread.join()
        server.server_close()


def _error(status: int, code: str, message: str) -> Response:
    return Response(
        json.dumps({"__type": code, "message": message, "Message": message}),
        status=HTTPStatus(status),
        content_type="application/x-amz-json-1.1",
        headers={"x-amzn-errortype": code},
    )


def _about_another_key(response: Response) -> Response:
    answer = json.loads(response.get_data())
    answer["KeyId"] = f"{answer['KeyId'].partition('key/')[0]}key/00000000-0000-0000-0000-000000000000"
    response.set_data(json.dumps(answer))
    return response


def _cut(environ: dict[str, Any]) -> Iterable[bytes]:
    """Close the connection without an answer."""
    connection: socket.socket = environ["werkzeug.socket"]
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    raise ConnectionResetError
