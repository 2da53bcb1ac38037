"""What the views of secrets share: their base, a secret as an answer, and `?stage=` on a read.

`?stage=` asks for the current, previous or pending value, or for two of them at once.
"""

from collections.abc import Mapping
from typing import Any, Final

from django.urls import reverse
from django.utils.http import parse_etags
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from audit_app.events.actions import Action
from core.errors import BadQuery
from environments_app.api.base import AccessView
from environments_app.authorization.act import Act
from environments_app.authorization.policy import Principal, allows
from environments_app.environments.service import find_environment, find_environment_by_id
from environments_app.models import Environment
from secrets_app.api import serializers as documents
from secrets_app.errors import InvalidInput
from secrets_app.metrics import UNCHANGED_READS
from secrets_app.models import Secret
from secrets_app.queries import last_asked
from secrets_app.queries.lookup import find_secret, require_authentic
from secrets_app.queries.states import is_known, known_etags
from secrets_app.rows.store import ANY, NO_STATE
from secrets_app.services.decoys import warnings_of
from secrets_app.services.read import (
    Stage,
    require_readable,
    require_readable_version,
    reveal,
    stage_number,
)

IF_MATCH = OpenApiParameter(
    "If-Match",
    str,
    OpenApiParameter.HEADER,
    description="The ETag that was read, several of them, or `*`: 412 if the secret is in another state.",
)
IF_NONE_MATCH = OpenApiParameter(
    "If-None-Match",
    str,
    OpenApiParameter.HEADER,
    description="The ETag of the last read: 304 without a value if it is still the current one.",
)
UNCHANGED = OpenApiResponse(description="The secret has not changed; no value is sent, and no read recorded.")
# The fields by which a body names an environment.
PLACE: Final = frozenset({"environment", "environment_id"})
# It writes documents without its fields, so that one serves all threads.
DOCUMENT: Final = documents.SecretDocument()
BOTH: Final = "both"
# The framework's own one is `format`.
_PARAMETERS: Final = frozenset({"stage", "format"})
_STAGES: Final = [*map(str, Stage), BOTH]
STAGE: Final = OpenApiParameter(
    "stage",
    str,
    enum=_STAGES,
    description="Which value; previous works while a grace runs. both: current and previous.",
)


class SecretsView(AccessView):
    queryset = Secret.objects.none()
    serializer_class: type[BaseSerializer[Any]] = documents.SecretDocument
    conditions = (IF_MATCH,)

    def find(self, act: Act, **address: Any) -> Secret:
        return find_secret(actor=self.actor, deleted=None if act.on_deleted else False, **address)

    def arguments(self, act: Act, row: Secret, body: type[BaseSerializer[Any]] | None) -> dict[str, Any]:
        fields = super().arguments(act, row, body)
        if fields.keys() & PLACE:
            environment = place_of(self.actor, fields)
            fields = {name: value for name, value in fields.items() if name not in PLACE}
            fields["environment"] = environment
        return fields | ({"expected": self.expected(row)} if act.conditional else {})

    def respond(self, kind: type[BaseSerializer[Any]], result: Secret, code: int) -> Response:
        response = answer(result, status_code=code)
        if kind is documents.SecretWithWarnings and result.decoy:
            response.data["warnings"] = warnings_of(result)
        return response

    def expected(self, secret: Secret | None) -> str | None:
        """Return the state that a write requires by `If-Match`: the present one if the header names it.

        The comparison is strong (RFC 9110, 13.1.1). None: the request has no such condition.
        """
        header = self.request.headers.get("If-Match")
        if header is None:
            return None
        if header.strip() == ANY:
            return ANY
        # A tag without quotes is no tag by the RFC; clients send it all the same.
        tags = parse_etags(header) or [f'"{header.strip()}"']
        return secret.etag if secret and f'"{secret.etag}"' in tags else NO_STATE

    def shown(self, secret: Secret) -> Response:
        """Return a secret, with its value, or that of `?stage=`, for those who may reveal it.

        Raises what `reveal` raises, and TamperedSecret.
        """
        if stage := wanted_stage(self.request):
            response = answer(secret)
            response.data.update(staged(actor=self.actor, secret=secret, stage=stage))
            return response
        place = secret.environment_id
        if not allows(self.actor, Action.SECRET_REVEAL, environment_id=place, name=secret.name):
            require_authentic(secret)
            return answer(secret)
        if self._is_unchanged(secret):
            return Response(status=status.HTTP_304_NOT_MODIFIED, headers={"ETag": f'"{secret.etag}"'})
        value = reveal(actor=self.actor, secret=secret).value
        response = answer(secret)
        response.data["value"] = value
        return response

    def _is_unchanged(self, secret: Secret) -> bool:
        """Return whether the caller has the secret as it is now, and may read it.

        Raises what `require_readable` raises. No value leaves, so that no read is recorded.
        """
        if secret.guarded:
            # Each read of a guarded value is decided and recorded.
            return False
        if not is_known(secret.etag, known_etags(self.request.headers.get("If-None-Match", ""))):
            return False
        require_readable_version(secret, secret.current_number)
        require_readable(actor=self.actor, secret=secret)
        UNCHANGED_READS.inc()
        last_asked.note_at_once(
            self.actor,
            environment=secret.environment.uuid,
            secret=secret.uuid,
            number=secret.current_number,
        )
        return True


def place_of(actor: Principal, fields: Mapping[str, Any]) -> Environment:
    """Return the environment that a body names by id, by name, or by both.

    Raises Invisible as `find_environment` does, and InvalidInput if the two are of different environments.
    """
    if "environment_id" not in fields:
        return find_environment(actor=actor, name=fields["environment"])
    place = find_environment_by_id(actor=actor, id=fields["environment_id"])
    if fields.get("environment", place.name) != place.name:
        raise InvalidInput(
            "environment", "This is not the environment of environment_id: give one of the two."
        )
    return place


def answer(secret: Secret, *, status_code: int = status.HTTP_200_OK) -> Response:
    """Return a secret without its value, with its ETag."""
    shown = DOCUMENT.to_representation(secret)
    headers = {"ETag": f'"{secret.etag}"'}
    if status_code == status.HTTP_201_CREATED:
        headers["Location"] = reverse("api-secret", args=[secret.pk])
    return Response(shown, status=status_code, headers=headers)


def wanted_stage(request: Request) -> str:
    """Return the requested stage; empty: not in the query. Raises InvalidInput and BadQuery."""
    if request.query_params.keys() - _PARAMETERS:
        # Whoever asks for a `version` here must not take the current value for it.
        raise BadQuery("query", "Unknown parameter. Give stage, or read /versions/NUMBER.")
    text = request.query_params.get("stage", "")
    if text and text not in _STAGES:
        raise InvalidInput("stage", f"Choose one of {', '.join(_STAGES)}.")
    return text


def staged(*, actor: Principal, secret: Secret, stage: str) -> dict[str, Any]:
    """Return the answer's fields of a stage besides the secret's own.

    Raises NoSuchVersion if the secret holds nothing at the stage, and what `reveal` raises.
    """
    if stage != BOTH:
        return _at_stage(actor, secret, Stage(stage))
    found = [_at_stage(actor, secret, Stage.CURRENT)]
    if secret.previous_number is not None:
        found.append(_at_stage(actor, secret, Stage.PREVIOUS))
    return {"stages": found}


def _at_stage(actor: Principal, secret: Secret, stage: Stage) -> dict[str, Any]:
    if not allows(actor, Action.SECRET_REVEAL, environment_id=secret.environment_id, name=secret.name):
        require_authentic(secret)
        return {"stage": stage, "version": stage_number(secret, stage)}
    number = stage_number(secret, stage)
    return {
        "stage": stage,
        "version": number,
        "value": reveal(actor=actor, secret=secret, number=number).value,
    }
