"""The base of the protocol's views: which client calls, what is refused, and how an error is answered."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

import orjson
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse

from audit_app.events import streams
from audit_app.events.actions import Action, Outcome
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import commit_record
from core.http.json import AmbiguousJson, load_unique
from core.http.problems import log_failure, problem_of
from environments_app.authorization.policy import Principal
from environments_app.errors import Conflict, InvalidField, NameInUse
from environments_app.models import ScimClient
from environments_app.tokens.scim_clients import authenticate_provisioner, client_of, note_refusal
from gateway_app.protocol import ProtocolView, signed_in
from gateway_app.scim.answers import (
    MAX_RESULTS,
    error_document,
    kind_named,
    list_document,
    provider_config,
    resource_type,
    respond,
    schema,
)
from gateway_app.scim.schema import KINDS, Kind, ScimError, invalid

MAX_BODY: Final = 2 * 1024 * 1024
# Behind it there is nothing; databases count no further than 2^63.
_LAST_START: Final = 2**31
_BEARER: Final = "bearer "
_TOO_LARGE: Final = "Send less than 2 MiB in one request."
# What shows an administrator why provisioning does not go on; a probe for what is not there is usual.
_SHOWN: Final = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.CONFLICT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE})
_WORDS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (NameInUse, "uniqueness"),
    (Conflict, "mutability"),
    (InvalidField, "invalidValue"),
)


class ScimView(ProtocolView):
    """Answers the token of a client, and of nobody else."""

    actor: Principal
    client: ScimClient | None = None

    def admit(self, request: HttpRequest) -> None:
        """Find out which client calls. Raises BadToken and TooManyRefusals."""
        given = request.headers.get("Authorization", "")
        token = given[len(_BEARER) :].strip() if given.lower().startswith(_BEARER) else ""
        self.actor = signed_in(request, token, bearer=authenticate_provisioner)
        self.client = client_of(self.actor)
        request.principal = self.actor  # type: ignore[attr-defined]  # the history of configuration looks there

    @property
    def caller(self) -> ScimClient:
        """The client, which `admit` has found."""
        if self.client is None:
            raise RuntimeError("nobody was admitted")
        return self.client

    def failed(self, error: Exception) -> HttpResponse | None:
        """Return the error in the protocol's form, and show the client's administrators why."""
        headers: Mapping[str, str] = {}
        if isinstance(error, ScimError):
            status, kind, sentence = error.status, error.kind, str(error)
        else:
            problem = problem_of(error)
            if problem is None:
                return None
            log_failure(error, problem)
            kind = next((word for each, word in _WORDS if isinstance(error, each)), "")
            status, headers = problem.status, problem.headers
            sentence = _TOO_LARGE if isinstance(error, RequestDataTooBig) else problem.detail
        if self.client is not None and status in _SHOWN:
            note_refusal(self.client, sentence)
            if status == HTTPStatus.CONFLICT:
                self._record_conflict(self.client, kind)
        return respond(error_document(status, kind, sentence), status=status, headers=headers)

    def http_method_not_allowed(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:  # noqa: ARG002 - Django's signature
        allowed = str(self.options(request)["Allow"])
        answer = error_document(405, "", f"This address takes {allowed}.")
        return respond(answer, status=405, headers={"Allow": allowed})

    def _record_conflict(self, client: ScimClient, kind: str) -> None:
        """Record what somebody has to act on."""
        commit_record(
            actor=self.actor,
            action=Action.USER_PROVISION,
            stream=streams.SYSTEM,
            object=AuditObject("scim-client", client.uuid, client.name),
            outcome=Outcome.DENIED,
            details={"reason": kind},
        )


def body_of(request: HttpRequest) -> Any:
    """Return the JSON that a request sends, whatever it calls it. Raises ScimError, RequestDataTooBig."""
    if len(request.body) > MAX_BODY:
        raise RequestDataTooBig
    try:
        return load_unique(request.body)
    except (orjson.JSONDecodeError, AmbiguousJson, UnicodeDecodeError) as error:
        raise invalid("The body is not JSON, or has a name twice.", "invalidSyntax") from error


def page_of(query: Mapping[str, Any]) -> tuple[int, int]:
    """Return where a page begins, from 1, and how many it has (RFC 7644, 3.4.2.4). Raises ScimError."""
    try:
        start, count = int(query.get("startIndex", 1)), int(query.get("count", MAX_RESULTS))
    except (TypeError, ValueError, OverflowError) as error:
        raise invalid("startIndex and count are whole numbers.") from error
    return min(max(start, 1), _LAST_START), min(max(count, 0), MAX_RESULTS)


def searched(request: HttpRequest) -> dict[str, Any]:
    """Return what a search asks, by the names of a query. Raises ScimError."""
    body = body_of(request)
    if not isinstance(body, dict):
        raise invalid("Send a JSON object.", "invalidSyntax")
    lists = ("attributes", "excludedAttributes")
    joined = {name: ",".join(map(str, body[name])) for name in lists if isinstance(body.get(name), list)}
    return {**body, **joined}


class ConfigView(ScimView):
    def get(self, request: HttpRequest) -> HttpResponse:
        """Return what Keeper can do."""
        return respond(provider_config(request))


class DiscoveryView(ScimView):
    """Answers what there is; `describe` returns the document of a kind."""

    describe: Callable[[HttpRequest, Kind], dict[str, Any]]

    def get(self, request: HttpRequest, name: str = "") -> HttpResponse:
        """Return all of them, or the one of a name. Raises ScimError."""
        if "filter" in request.GET:
            raise ScimError(403, "", "Discovery takes no filter.")
        if name:
            return respond(self.describe(request, kind_named(name)))
        found = [self.describe(request, kind) for kind in KINDS]
        return respond(list_document(found, total=len(found), start=1))


class ResourceTypesView(DiscoveryView):
    describe = staticmethod(resource_type)


class SchemasView(DiscoveryView):
    describe = staticmethod(schema)


class AbsentView(ScimView):
    """Answers what the protocol has and Keeper has not."""

    def get(self, request: HttpRequest) -> HttpResponse:  # noqa: ARG002 - Django's signature
        """Refuse: a client is no user, and nothing is done in bulk."""
        return respond(error_document(501, "", "Keeper does not have this."), status=501)

    post = put = patch = delete = get


class OtherPathView(ScimView):
    """Answers every other address."""

    def get(self, request: HttpRequest, path: str = "") -> HttpResponse:  # noqa: ARG002 - Django's signature
        """Refuse: there is nothing. Raises ScimError."""
        raise ScimError(404, "", "There is nothing at this address.")

    post = put = patch = delete = get
