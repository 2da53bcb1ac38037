"""A WSGI application that answers as an API server does, over one Store."""

import json
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from sync_app.backends.kubernetes.tests.strict_store import ApiError, Document, Store

TOKEN: Final = "kubernetes-token-canary"
REVIEWS: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_APPLY: Final = "application/apply-patch+yaml"
_MERGE: Final = "application/merge-patch+json"


@dataclass
class Cluster:
    """A store, what fails next, and what was asked."""

    store: Store = field(default_factory=Store)
    # Status by verb: `list`, `get`, `create`, `patch`, `delete`; 0 does the act and loses the answer.
    failing: dict[str, int] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    denied: set[str] = field(default_factory=set)
    # By kind and name, such as ("deployments", "web").
    workloads: dict[tuple[str, str], Document] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    before: dict[str, Callable[[], object]] = field(default_factory=dict)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        request = Request(environ)
        verb, act = self._route(request)
        self.calls[verb] += 1
        if hook := self.before.pop(verb, None):
            hook()
        try:
            code, answer = self._answer(request, verb, act)
        except ApiError as error:
            code, answer = error.code, _status(error)
        if self.failing.get(verb) == 0:
            del self.failing[verb]
            with suppress(OSError):
                environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionResetError
        headers = self.headers if code >= 400 else {}
        told = Response(json.dumps(answer), status=code, headers=headers, content_type="application/json")
        return told(environ, start_response)

    def _answer(
        self, request: Request, verb: str, act: Callable[[Request], tuple[int, Document]]
    ) -> tuple[int, Document]:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise ApiError(401, "Unauthorized", "Unauthorized")
        if verb in self.denied:
            raise _forbidden(request, verb)
        if self.failing.get(verb):
            raise ApiError(self.failing[verb], "Failing", "as a test asked for")
        return act(request)

    def _route(  # noqa: PLR0911  one return a kind of path
        self, request: Request
    ) -> tuple[str, Callable[[Request], tuple[int, Document]]]:
        parts = request.path.strip("/").split("/")
        if request.path == REVIEWS:
            return "review", self._review
        if parts[:3] == ["apis", "apps", "v1"] and len(parts) in {6, 7}:
            verb = {"GET": "list-workloads", "PATCH": "patch-workload"}.get(request.method, "unknown")
            return verb, self._workloads if verb == "list-workloads" else self._patch_workload
        if parts[:3] != ["api", "v1", "namespaces"]:
            return "unknown", self._unknown
        if len(parts) == 4:
            return "namespace", self._namespace
        if parts[4] != "secrets" or len(parts) > 6:
            return "unknown", self._unknown
        if len(parts) == 5:
            return {"GET": ("list", self._list), "POST": ("create", self._create)}.get(
                request.method, ("unknown", self._unknown)
            )
        return {
            "GET": ("get", self._get),
            "PATCH": ("patch", self._patch),
            "DELETE": ("delete", self._delete),
        }.get(request.method, ("unknown", self._unknown))

    def _unknown(self, request: Request) -> tuple[int, Document]:
        raise ApiError(404, "NotFound", f"the server could not find {request.path}")

    def _review(self, request: Request) -> tuple[int, Document]:
        body = json.loads(request.get_data())
        verb = body["spec"]["resourceAttributes"]["verb"]
        return 201, {**body, "status": {"allowed": verb not in self.denied}}

    def _workloads(self, request: Request) -> tuple[int, Document]:
        kind = request.path.split("/")[6]
        items = [each for (place, _), each in sorted(self.workloads.items()) if place == kind]
        return 200, {"metadata": {"resourceVersion": "1"}, "items": items}

    def _patch_workload(self, request: Request) -> tuple[int, Document]:
        _require_type(request, _MERGE)
        _manager(request)
        kind, name = request.path.split("/")[6:]
        found, body = self.workloads[kind, name], json.loads(request.get_data())
        changed = body["spec"]["template"]["metadata"]["annotations"]
        template = found["spec"]["template"]
        template.setdefault("metadata", {}).setdefault("annotations", {}).update(changed)
        return 200, found

    def _namespace(self, request: Request) -> tuple[int, Document]:
        name = request.path.rpartition("/")[2]
        if name not in self.store.namespaces:
            raise ApiError(404, "NotFound", f'namespaces "{name}" not found')
        return 200, {"kind": "Namespace", "metadata": {"name": name, "uid": self.store.namespaces[name]}}

    def _list(self, request: Request) -> tuple[int, Document]:
        namespace = request.path.split("/")[4]
        known = {"limit", "continue"}
        if set(request.args) - known:
            raise ApiError(400, "BadRequest", "unknown parameter")
        # Of a namespace that does not exist the list is empty.
        found = [each for (place, _), each in sorted(self.store.secrets.items()) if place == namespace]
        limit = int(request.args.get("limit") or 0)
        # "Retrieving large results sets in chunks": a list goes on by identical parameters.
        of, _, begin = request.args.get("continue", f"{limit}:0").partition(":")
        if of != str(limit):
            raise ApiError(400, "BadRequest", "continue key is not valid: the parameters changed")
        start = int(begin)
        page = found[start : start + limit] if limit else found[start:]
        more = f"{limit}:{start + limit}" if limit and start + limit < len(found) else ""
        partial = "as=PartialObjectMetadataList" in request.headers.get("Accept", "")
        items = [_metadata_only(each) for each in page] if partial else page
        kind = "PartialObjectMetadataList" if partial else "SecretList"
        return 200, {"kind": kind, "metadata": {"resourceVersion": "1", "continue": more}, "items": items}

    def _create(self, request: Request) -> tuple[int, Document]:
        _require_type(request, "application/json")
        namespace = request.path.split("/")[4]
        return 201, self.store.create(namespace, json.loads(request.get_data()), _manager(request))

    def _get(self, request: Request) -> tuple[int, Document]:
        found = self.store.read(*_place(request))
        partial = "as=PartialObjectMetadata;" in request.headers.get("Accept", "")
        return 200, _metadata_only(found) if partial else found

    def _patch(self, request: Request) -> tuple[int, Document]:
        body = json.loads(request.get_data())
        if request.content_type == _APPLY:
            force = request.args.get("force") == "true"
            return 200, self.store.apply(*_place(request), body, _manager(request), force=force)
        _require_type(request, _MERGE)
        return 200, self.store.merge(*_place(request), body, _manager(request))

    def _delete(self, request: Request) -> tuple[int, Document]:
        body = json.loads(request.get_data() or b"{}")
        if body and body.get("kind") != "DeleteOptions":
            raise ApiError(400, "BadRequest", "the body is no DeleteOptions")
        self.store.delete(*_place(request), body.get("preconditions") or {})
        return 200, {"kind": "Status", "status": "Success"}


def _place(request: Request) -> tuple[str, str]:
    parts = request.path.split("/")
    return parts[4], parts[6]


def _manager(request: Request) -> str:
    manager = request.args.get("fieldManager", "")
    if not manager:
        raise ApiError(400, "BadRequest", "fieldManager is required for apply patch")
    return manager


def _require_type(request: Request, wanted: str) -> None:
    if request.content_type != wanted:
        raise ApiError(415, "UnsupportedMediaType", f"the body of the request was in {request.content_type}")


def _metadata_only(found: Document) -> Document:
    return {"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": found["metadata"]}


def _status(error: ApiError) -> Document:
    told = {"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": error.code}
    causes = {"details": {"causes": [{"reason": error.cause}]}} if error.cause else {}
    return told | {"reason": error.reason, "message": error.message} | causes


def _forbidden(request: Request, verb: str) -> ApiError:
    """Return what the authorizer says to a role without a verb (apimachinery, `NewForbidden`)."""
    parts = request.path.strip("/").split("/")
    place, group = (4, "") if parts[0] == "api" else (5, parts[1])
    resource = parts[place] if len(parts) > place else "namespaces"
    verb = verb.partition("-")[0]
    user = 'User "system:serviceaccount:default:keeper"'
    where = f'in API group "{group}" in the namespace "default"'
    return ApiError(
        403, "Forbidden", f'{resource} is forbidden: {user} cannot {verb} resource "{resource}" {where}'
    )


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:
        """Log nothing."""


@contextmanager
def serving() -> Iterator[tuple[str, Cluster]]:
    """Serve a cluster of its own, and yield its address."""
    cluster = Cluster()
    server = make_server("127.0.0.1", 0, cluster, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", cluster
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
