"""What a protocol adds: addresses, doors, errors in its own form, and its part of the OpenAPI document.

KEEPER_PROTOCOLS lists the protocols. In the document the routes come from their URL patterns, and what a
method does from its docstring: none can be left out.
"""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils.decorators import method_decorator
from django.utils.module_loading import import_string
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from audit_app.recording.refusals import refuse
from environments_app.authentication.drf import address_of, request_id_of
from environments_app.authorization.policy import Principal
from environments_app.errors import BadToken
from environments_app.tokens.bearers import bearer_of
from gateway_app.lanes import Door

Document = dict[str, Any]
_METHODS: Final = ("get", "post", "put", "patch", "delete")
TEXT: Final = {"type": "string"}
NUMBER: Final = {"type": "integer"}
FLAG: Final = {"type": "boolean"}
ANY: Final[Document] = {"type": "object", "additionalProperties": True}


class Protocol(NamedTuple):
    """A protocol; its addresses lie below `prefix`.

    `describe` takes the name of a route, its view and a method, and returns what the document states of it:
    tags, security, bodies and responses. `components` are schemas and security schemes of the document.
    """

    prefix: str
    urlpatterns: Sequence[URLPattern]
    doors: Sequence[Door]
    describe: Callable[[str, type[View], str], Document] = lambda *_: {}
    components: Mapping[str, Document] = MappingProxyType({})


class ProtocolView(View):
    """The base of a protocol's views, which answers errors in the form of the protocol."""

    @method_decorator([csrf_exempt, login_not_required])
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            self.admit(request)
            return super().dispatch(request, *args, **kwargs)  # type: ignore[return-value]  # no view here is asynchronous
        except Exception as error:
            answer = self.failed(error)
            if answer is None:
                raise
            return answer

    def admit(self, request: HttpRequest) -> None:
        """Find out who calls, and refuse what the protocol does not allow; the errors are answered."""

    def failed(self, error: Exception) -> HttpResponse | None:
        """Return the answer to a failed request, None for a fault of ours."""
        raise NotImplementedError


def signed_in(request: HttpRequest, token: str, *, bearer: Callable[..., Principal] = bearer_of) -> Principal:
    """Return who bears a token. Raises BadToken, and TooManyRefusals for an address that guesses."""
    address = address_of(request)
    try:
        return bearer(token, address=address, request_id=request_id_of(request))
    except BadToken as error:
        refuse(kind=error.reason if token else "no-credentials", address=address)
        raise


def protocols() -> list[Protocol]:
    """Return the protocols of this installation."""
    return [import_string(path) for path in settings.KEEPER_PROTOCOLS]


def doors() -> list[Door]:
    """Return the one list of lanes."""
    return [door for protocol in protocols() for door in protocol.doors]


def describe_protocols(result: Document, **_arguments: Any) -> Document:
    """Put the protocols into the document (SPECTACULAR_SETTINGS["POSTPROCESSING_HOOKS"])."""
    for protocol in protocols():
        for pattern in protocol.urlpatterns:
            path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", f"/{protocol.prefix}{pattern.pattern}")
            view: type[View] = pattern.callback.view_class  # type: ignore[attr-defined]  # views of classes all
            result["paths"][path] = {
                method: _operation(path, str(pattern.name), view, method, protocol)
                for method in _METHODS
                if hasattr(view, method)
            }
        for kind, components in protocol.components.items():
            result["components"].setdefault(kind, {}).update(components)
    return result


def _operation(path: str, name: str, view: type[View], method: str, protocol: Protocol) -> Document:
    lines = [*(inspect.getdoc(getattr(view, method)) or "").split("\n\n"), ""]
    described: Document = {
        "operationId": f"{name}_{method}".replace("-", "_"),
        "summary": " ".join(lines[0].split(" Raises ")[0].split()),
        "description": " ".join(lines[1].split()),
        **protocol.describe(name, view, method),
    }
    in_path = [
        {"name": each, "in": "path", "required": True, "schema": TEXT}
        for each in re.findall(r"{(\w+)}", path)
    ]
    if parameters := [*in_path, *described.get("parameters", [])]:
        described["parameters"] = parameters
    return described


def object_of(*required: str, **members: Any) -> Document:
    """Return the schema of an object."""
    described: Document = {"type": "object", "properties": members}
    return described | ({"required": [*required]} if required else {})


def list_of(items: Any) -> Document:
    """Return the schema of a list."""
    return {"type": "array", "items": items}


def content(media_type: str, schema: Document) -> Document:
    """Return a body of a media type."""
    return {"content": {media_type: {"schema": schema}}}


def answer(media_type: str, schema: Document, description: str = "The result.") -> Document:
    """Return an answer of a media type."""
    return content(media_type, schema) | {"description": description}


def failure(name: str, media_type: str) -> Document:
    """Return an answer to a request that failed, by the name of its schema."""
    return answer(media_type, {"$ref": f"#/components/schemas/{name}"}, "The refusal.")
