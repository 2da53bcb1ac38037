"""Polls of a manifest or an export by a token, answered in front of Django by the read engine if unchanged.

A test holds the answers together with those of ManifestView and ExportView, which answer whatever this
leaves.
"""

import re
from typing import Final

from django.core.handlers.wsgi import get_path_info
from django.http import QueryDict

from core.http.json import MEDIA_TYPE
from core.http.requests import Environ, Headers
from keeper_project.http.recorded_read import PlainPoll, caller_of, has_no_body
from secrets_app.api.environment_secrets import EXPORT
from secrets_app.api.manifests import KIND as MANIFEST
from secrets_app.errors import InvalidName
from secrets_app.metrics import UNCHANGED_LISTS
from secrets_app.queries.states import known_etags
from secrets_app.read_engine.list_polls import ListPoll
from secrets_app.services.exporting.formats import EXPORT_RENDERERS
from secrets_app.values.names import validate_prefix

_LIST: Final = re.compile(r"/api/environments/([^/]+)/(manifest|export)")
_VIEWS: Final = {MANIFEST: "api-manifest", EXPORT: "api-export"}
# What both views allow.
_POLL_ALLOWED: Final = ("Allow", "GET, HEAD, OPTIONS")
_JSON: Final = EXPORT_RENDERERS[0].format
_FORMS: Final = frozenset(each.format for each in EXPORT_RENDERERS)


def list_poll(environ: Environ) -> PlainPoll | None:
    """Return the poll that a request of the REST API is."""
    known = environ.get("HTTP_IF_NONE_MATCH")
    named = _LIST.fullmatch(get_path_info(environ)) if known and has_no_body(environ) else None
    scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    asked = _polled(environ, named[2]) if named and scheme == "Bearer" else None
    caller = caller_of(environ, token) if asked else None
    if named is None or asked is None or caller is None:
        return None
    prefix, form = asked
    poll = ListPoll(*caller, named[1], prefix, form, known_etags(environ["HTTP_IF_NONE_MATCH"]))
    return PlainPoll(poll, _VIEWS[named[2]], _headers, UNCHANGED_LISTS.labels(named[2]))


def _polled(environ: Environ, kind: str) -> tuple[str, str] | None:
    """Return the prefix and the form that are asked for; None if anything else is."""
    text, accepted = environ.get("QUERY_STRING", ""), environ.get("HTTP_ACCEPT", "")
    query = QueryDict(text).dict() if text else {}
    if not text.isascii() or query.keys() - ({"prefix"} if kind == MANIFEST else {"prefix", "format"}):
        return None
    form = MANIFEST if kind == MANIFEST else str(query.get("format", _JSON))
    plain = {"", "*/*", MEDIA_TYPE} if form in {MANIFEST, _JSON} else {"", "*/*"}
    if accepted not in plain or form not in {MANIFEST, *_FORMS}:
        return None
    try:
        return validate_prefix(str(query.get("prefix", ""))), form
    except InvalidName:
        return None


def _headers(etag: str) -> Headers:
    return [_POLL_ALLOWED, ("ETag", f'"{etag}"')]
