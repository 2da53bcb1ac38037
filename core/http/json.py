"""JSON in and out of the API, by orjson: strict UTF-8, each name once, a size limit; and its choice."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, Any, Final

import orjson
from django.conf import settings
from django.utils.functional import Promise
from rest_framework.exceptions import APIException, ErrorDetail, ParseError
from rest_framework.metadata import BaseMetadata
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

MEDIA_TYPE = "application/json"
_ANY: Final = "*/*"


class BodyTooLarge(APIException):
    """The body is larger than a request may be."""

    status_code = 413
    default_detail = "The body is larger than 16 MiB. Send less in one request."
    default_code = "too_large"


class AmbiguousJson(ValueError):
    """An object has a name twice, of which programs take different ones, or is nested too deeply to tell."""


def load_unique(body: bytes) -> Any:
    """Return a JSON document of which each object has each name once (RFC 8259, 4).

    Raises orjson.JSONDecodeError or AmbiguousJson.
    """
    found = orjson.loads(body)
    if isinstance(found, dict | list):
        try:
            _UNIQUE.decode(body.decode())
        except RecursionError as error:
            raise AmbiguousJson from error
    return found


def _require_unique(members: Sequence[tuple[str, Any]]) -> None:
    if len({name for name, _ in members}) != len(members):
        raise AmbiguousJson


_UNIQUE: Final = json.JSONDecoder(object_pairs_hook=_require_unique, parse_int=str, parse_float=str)


class JsonParser(BaseParser):
    """Parses a JSON body of at most DATA_UPLOAD_MAX_MEMORY_SIZE bytes."""

    media_type = MEDIA_TYPE

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """Return the parsed body. Raises ParseError (the text is not repeated) or BodyTooLarge."""
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        body = stream.read(limit + 1)
        if len(body) > limit:
            raise BodyTooLarge
        try:
            return load_unique(body)
        except AmbiguousJson as error:
            raise ParseError("The body has a name twice in an object, or is nested too deeply.") from error
        except orjson.JSONDecodeError as error:
            raise ParseError(f"The body is not JSON: line {error.lineno}, column {error.colno}.") from error


class JsonRenderer(BaseRenderer):
    """Renders JSON; times in ISO 8601, uuids as text."""

    media_type = MEDIA_TYPE
    format = "json"
    charset = None
    render_style = "binary"

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        if data is None:
            return b""
        return orjson.dumps(data, default=_plain, option=orjson.OPT_UTC_Z)


class AllowedMethods(BaseMetadata):
    """Answers OPTIONS with the methods of an address, as the header Allow does."""

    def determine_metadata(self, request: Request, view: Any) -> dict[str, list[str]]:
        """Return the methods."""
        return {"methods": view.allowed_methods}


class ProblemRenderer(JsonRenderer):
    """Renders a problem document (RFC 9457)."""

    media_type = "application/problem+json"
    format = "problem"


class Negotiation(DefaultContentNegotiation):
    """Takes the first renderer at once for a client that takes anything, as most programs do."""

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> Any:
        """Return a renderer and its media type. Raises NotAcceptable."""
        meta, renderers = request.META, [*renderers]
        if meta.get("HTTP_ACCEPT", _ANY) == _ANY and not meta.get("QUERY_STRING") and not format_suffix:
            return renderers[0], renderers[0].media_type
        return super().select_renderer(request, renderers, format_suffix)


def _plain(value: Any) -> Any:
    if isinstance(value, Promise | ErrorDetail):
        return str(value)
    raise TypeError
