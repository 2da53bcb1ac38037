"""Plain requests of Keeper's own API: reads of a value, polls, pages of the list, exports of an environment.

Tests compare their answers with those of SecretView, NamedSecretView, ManifestView, ExportView and
SecretListView.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from django.http import HttpRequest, HttpResponse, QueryDict
from prometheus_client import Counter

from audit_app.errors import KeyringUnavailable
from core.errors import BadQuery
from core.http.json import MEDIA_TYPE, JsonRenderer
from core.http.problems import Problem, log_failure, plain_problem_response, problem_of
from core.pagination import asked_page, link_to
from environments_app.authorization.policy import Grant, Principal
from environments_app.environments.service import find_environment
from environments_app.errors import AccessError, BadToken
from environments_app.tokens.authentication import verify_proven
from gateway_app.engine.reads import ListPoll, ReadRequest
from gateway_app.lanes import (
    ACCEPTED,
    Caller,
    PlainRead,
    Route,
    Work,
    bearer,
    caller_of,
    counted,
    has_no_body,
    is_plain,
)
from gateway_app.protocol import Protocol
from secrets_app.api.environment_secrets import KIND as MANIFEST
from secrets_app.api.secrets import SecretListView
from secrets_app.api.serializers import SecretDocument
from secrets_app.errors import InvalidName, SecretError
from secrets_app.metrics import UNCHANGED_LISTS, UNCHANGED_READS
from secrets_app.models import Secret
from secrets_app.queries.listed import only_grant, page_rows
from secrets_app.queries.states import known_etags, state_of
from secrets_app.rows.raw_secrets import SecretRow
from secrets_app.services.exporting import EXPORT_RENDERERS
from secrets_app.services.read import export_snapshot
from secrets_app.values.names import validate_prefix

_SECRET, _NAMED, _SECRETS = Route("api-secret"), Route("api-named-secret"), Route("api-secrets")
_MANIFEST, _EXPORT = Route("api-manifest"), Route("api-export")
DOCUMENT: Final = SecretDocument()
RENDERER: Final = JsonRenderer()
_JSON: Final = EXPORT_RENDERERS[0].format
_FORMS: Final = frozenset(renderer.format for renderer in EXPORT_RENDERERS)
_POLL_PARAMETERS: Final = {_MANIFEST: frozenset({"prefix"}), _EXPORT: frozenset({"prefix", "format"})}
_PAGE_PARAMETERS: Final = frozenset({"limit", "cursor", "ordering", "environment"})


def read(request: HttpRequest) -> PlainRead | None:
    """Recognise the read of a secret with its value, by id or by name."""
    by_id, by_name = _SECRET.match(request), _NAMED.match(request)
    caller = caller_of(request, bearer(request)) if (by_id or by_name) and is_plain(request) else None
    known = known_etags(request.META.get("HTTP_IF_NONE_MATCH", "")) if caller else frozenset()
    if caller and by_id and by_id["id"]:
        return _plain(ReadRequest(*caller, secret_id=by_id["id"], known=known), _SECRET, UNCHANGED_READS)
    if caller and by_name:
        return _plain(ReadRequest(*caller, **by_name, known=known), _NAMED, UNCHANGED_READS)
    return None


def poll(request: HttpRequest) -> PlainRead | None:
    """Recognise the poll of a manifest or an export, which is answered if nothing has changed."""
    known = request.META.get("HTTP_IF_NONE_MATCH")
    route = next((route for route in (_MANIFEST, _EXPORT) if known and route.match(request)), None)
    query = _query(request, _POLL_PARAMETERS[route]) if route and has_no_body(request) else None
    if not known or not route or query is None:
        return None
    form = MANIFEST if route is _MANIFEST else query.get("format", _JSON)
    accepted = ACCEPTED if form in {MANIFEST, _JSON} else {"", "*/*"}
    caller = caller_of(request, bearer(request))
    if not caller or form not in {MANIFEST, *_FORMS} or request.META.get("HTTP_ACCEPT", "") not in accepted:
        return None
    try:
        prefix = validate_prefix(query.get("prefix", ""))
    except InvalidName:
        return None
    place = (route.match(request) or {})["environment"]
    unchanged = UNCHANGED_LISTS.labels("manifest" if route is _MANIFEST else "export")
    return _plain(ListPoll(*caller, place, prefix, form, known_etags(known)), route, unchanged)


def _plain(asked: ReadRequest | ListPoll, route: Route, unchanged: Counter) -> PlainRead:
    def answer(secret: SecretRow, value: str) -> HttpResponse:
        document: dict[str, Any] = DOCUMENT.to_representation(secret)
        document["value"] = value
        headers = {"Allow": route.allowed, "ETag": f'"{secret.etag}"'}
        return HttpResponse(RENDERER.render(document), content_type=MEDIA_TYPE, headers=headers)

    def fail(problem: Problem) -> HttpResponse:
        response = plain_problem_response(problem)
        response["Allow"] = route.allowed
        return response

    def not_modified(etag: str) -> HttpResponse:
        unchanged.inc()
        response = HttpResponse(status=304, headers={"Allow": route.allowed, "ETag": f'"{etag}"'})
        del response["Content-Type"]
        return response

    return PlainRead(asked, route, answer, fail, not_modified)


def page(request: HttpRequest) -> Work | None:
    """Recognise a page of the list of secrets, which is answered if one grant shows it."""
    if _SECRETS.match(request) is None or not has_no_body(request) or request.META.get("HTTP_COOKIE"):
        return None
    query, accepted = _query(request, _PAGE_PARAMETERS), request.META.get("HTTP_ACCEPT", "") in ACCEPTED
    caller = caller_of(request, bearer(request)) if query is not None and accepted else None
    return partial(_page, query, caller) if query is not None and caller else None


def _query(request: HttpRequest, parameters: frozenset[str]) -> Mapping[str, str] | None:
    """Return the query of a request; None if it has other parameters, or many."""
    text = request.META.get("QUERY_STRING", "")
    if not text.isascii() or text.count("&") >= len(_PAGE_PARAMETERS):
        return None
    query = QueryDict(text)
    return query if query.keys() <= parameters else None


def _page(query: Mapping[str, str], caller: Caller, request: HttpRequest) -> HttpResponse | None:
    actor = _actor(caller)
    grant = only_grant(actor) if actor else None
    place = query.get("environment", "")
    if grant is None or place not in {"", grant.environment_name, str(grant.environment_id)}:
        return None
    try:
        return counted(caller[0], partial(_shown, request, query, grant))
    except (BadQuery, KeyringUnavailable):
        return None


def _shown(request: HttpRequest, query: Mapping[str, str], grant: Grant) -> HttpResponse | None:
    asked = asked_page(query, Secret, SecretListView)
    rows = page_rows(grant, asked)
    if rows is None:
        return None
    rows, following, previous = asked.cut(rows)
    url = request.build_absolute_uri()
    document = {
        "results": [DOCUMENT.to_representation(row) for row in rows],
        "next": link_to(url, following),
        "previous": link_to(url, previous),
    }
    headers = {"Allow": _SECRETS.allowed}
    return HttpResponse(RENDERER.render(document), content_type=MEDIA_TYPE, headers=headers)


def export(request: HttpRequest) -> Work | None:
    """Recognise the export of a whole environment as JSON, which its snapshot answers."""
    found = _EXPORT.match(request) if has_no_body(request) else None
    if found is None or "HTTP_IF_NONE_MATCH" in request.META:
        return None
    plain = request.META.get("QUERY_STRING", "") in {"", f"format={_JSON}"}
    accepted = request.META.get("HTTP_ACCEPT", "") in ACCEPTED
    caller = caller_of(request, bearer(request)) if plain and accepted else None
    return partial(_export, found["environment"], caller) if caller else None


def _export(name: str, caller: Caller, _request: HttpRequest) -> HttpResponse | None:
    actor = _actor(caller)
    if actor is None or name not in {grant.environment_name for grant in actor.grants}:
        return None
    return counted(caller[0], partial(_snapshot, actor, name))


def _snapshot(actor: Principal, name: str) -> HttpResponse | None:
    try:
        environment = find_environment(actor=actor, name=name)
        if environment.offline_hours is not None:
            # The view states until when a client may keep a copy.
            return None
        # Before the values are read: a change in between is sent again, and none is missed.
        state = state_of(actor, environment, form=_JSON)
        values = export_snapshot(actor=actor, environment=environment)
    except (SecretError, AccessError) as error:
        # Recorded by now, so that the view must not try again.
        problem = problem_of(error)
        if problem is None:
            raise
        log_failure(error, problem)
        return plain_problem_response(problem)
    if values is None:
        return None
    headers = {"Allow": _EXPORT.allowed, "ETag": f'"{state}"'}
    return HttpResponse(values, content_type=MEDIA_TYPE, headers=headers)


def _actor(caller: Caller) -> Principal | None:
    public_id, secret, address, request_id = caller
    try:
        return verify_proven(public_id, secret, address=address, request_id=request_id)
    except BadToken:
        return None


# Its addresses are those of the apps, which describe themselves.
REST: Final = Protocol("", (), (read, poll, page, export))
