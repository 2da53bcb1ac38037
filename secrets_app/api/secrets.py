"""The API of secrets: thin over the use cases."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from core.pagination import KeysetPagination
from environments_app.api.base import NO_CONTENT, act_view
from secrets_app import acts
from secrets_app.api import serializers as documents
from secrets_app.api.base import (
    DOCUMENT,
    IF_MATCH,
    IF_NONE_MATCH,
    STAGE,
    UNCHANGED,
    SecretsView,
    answer,
    place_of,
)
from secrets_app.errors import InvalidInput
from secrets_app.models import SecretVersion
from secrets_app.queries.filters import DEFAULT_ORDERING, ORDERINGS, filter_names, narrow, wants_deleted
from secrets_app.queries.listed import genuine, listed
from secrets_app.queries.lookup import find_secret, require_authentic, visible_secrets
from secrets_app.services import lifecycle, write
from secrets_app.services.read import reveal
from secrets_app.types.generators.registry import generate, kind_for

_FILTERS: Final = filter_names()
_OF_THE_SECRET: Final[Mapping[str, Any]] = {
    "previous_version": {
        "type": "integer",
        "nullable": True,
        "description": "The number of the version that was current before.",
    },
    "max_versions": {"type": "integer", "description": "How many versions clients of KV v2 see, 0 for all."},
    "custom_metadata": {
        "type": "object",
        "additionalProperties": {"type": "string"},
        "description": "What clients of KV v2 describe the secret with.",
    },
}


class SecretListView(SecretsView):
    needs_approval = frozenset({"POST"})
    ordering_fields: ClassVar[Mapping[str, str]] = ORDERINGS
    default_ordering = DEFAULT_ORDERING
    filter_names = _FILTERS

    @extend_schema(
        summary="List secrets",
        responses=documents.SecretDocument(many=True),
        parameters=[OpenApiParameter(name, str, description="Narrows the list.") for name in _FILTERS],
    )
    def get(self, request: Request) -> Response:
        """List the visible secrets, without values."""
        parameters = request.query_params
        secrets = visible_secrets(self.actor, deleted=wants_deleted(parameters))
        rows = genuine(self.paginate_queryset(listed(narrow(secrets, parameters, actor=self.actor))) or [])
        return self.get_paginated_response([DOCUMENT.to_representation(row) for row in rows])

    @extend_schema(
        summary="Create a secret",
        request=documents.NewSecretDocument,
        responses={201: documents.SecretWithWarnings},
    )
    def post(self, request: Request) -> Response:
        """Create a secret; the answer does not hold its value. That of a decoy may have warnings."""
        given = self.valid(documents.NewSecretDocument)
        fields = given.validated_data
        secret = write.create(
            actor=self.actor,
            environment=place_of(self.actor, fields),
            name=fields["name"],
            secret_type=fields["secret_type"],
            value=fields["value"],
            comment=fields.get("comment", ""),
            decoy=fields.get("decoy", False),
            **given.metadata,
        )
        return self.respond(documents.SecretWithWarnings, secret, status.HTTP_201_CREATED)


class SecretView(SecretsView):
    opens_values = True
    needs_approval = frozenset({"PUT", "PATCH", "DELETE"})
    serializer_class = documents.SecretWithValue

    @extend_schema(
        summary="Read a secret",
        parameters=[STAGE, IF_NONE_MATCH],
        responses={200: documents.SecretWithValue, 304: UNCHANGED},
    )
    def get(self, request: Request, id: int) -> Response:
        """Return a secret with its value; a viewer gets it without."""
        return self.shown(find_secret(actor=self.actor, id=id))

    @extend_schema(
        summary="Change a secret",
        request=documents.SecretChange,
        responses=documents.SecretDocument,
        parameters=[IF_MATCH],
    )
    def put(self, request: Request, id: int) -> Response:
        """Change a secret; what is left out is kept, the value as well.

        An equal value creates no version, unless the secret becomes JSON or no longer is, and is recorded as
        a comparison: the answer reveals the value.
        """
        return self._change(id)

    @extend_schema(
        summary="Change a secret in part",
        request=documents.SecretChange,
        responses=documents.SecretDocument,
        parameters=[IF_MATCH],
    )
    def patch(self, request: Request, id: int) -> Response:
        """Change a secret; the same as PUT."""
        return self._change(id)

    @extend_schema(summary="Delete a secret", responses={204: NO_CONTENT}, parameters=[IF_MATCH])
    def delete(self, request: Request, id: int) -> Response:
        """Delete a secret softly; it can be restored until it is purged."""
        secret = find_secret(actor=self.actor, id=id)
        lifecycle.delete(actor=self.actor, secret=secret, expected=self.expected(secret))
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _change(self, id: int) -> Response:
        secret = find_secret(actor=self.actor, id=id)
        given = self.valid(documents.SecretChange)
        fields = given.validated_data
        if fields.get("name", secret.name) != secret.name:
            raise InvalidInput("name", "Rename a secret with POST to …/rename.")
        if fields.get("environment_id", secret.environment_id) != secret.environment_id:
            raise InvalidInput("environment_id", "Move a secret with POST to …/move.")
        if fields.get("environment", secret.environment.name) != secret.environment.name:
            raise InvalidInput("environment", "Move a secret with POST to …/move.")
        changed = write.update(
            actor=self.actor,
            secret=secret,
            value=fields.get("value"),
            secret_type=fields.get("secret_type"),
            expected=self.expected(secret),
            comment=fields.get("comment", ""),
            **given.metadata,
        )
        return answer(changed)


_FORMS: Final[dict[str, dict[str, Any]]] = {
    "purge": {"answer": NO_CONTENT, "code": status.HTTP_204_NO_CONTENT},
    "make_decoy": {"answer": documents.SecretWithWarnings},
    "rollback": {"body": documents.RollbackDocument},
    "request_read": {"body": documents.ReadRequestDocument},
    "rename": {"body": documents.RenameDocument},
    "copy": {"body": documents.DestinationDocument, "code": status.HTTP_201_CREATED},
    "move": {"body": documents.DestinationDocument, "code": status.HTTP_201_CREATED},
}
ACT_VIEWS: Final = {
    act.slug: act_view(SecretsView, act, **{"answer": documents.SecretDocument, **_FORMS.get(act.name, {})})
    for act in acts.SECRETS
    if act.summary
}


class VersionPagination(KeysetPagination):
    """The pages of a list of versions, with what their secret has for clients of KV v2."""

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        page_schema: dict[str, Any] = super().get_paginated_response_schema(schema)
        page_schema["required"] = [*page_schema["required"], *_OF_THE_SECRET]
        page_schema["properties"] |= _OF_THE_SECRET
        return page_schema


class VersionListView(SecretsView):
    pagination_class = VersionPagination
    opens_values = True
    serializer_class = documents.VersionDocument
    ordering_fields: ClassVar[Mapping[str, str]] = {"number": "number"}
    default_ordering = "-number"
    filter_names: ClassVar[tuple[str, ...]] = ()

    @extend_schema(summary="List versions", responses=documents.VersionDocument(many=True))
    def get(self, request: Request, id: int) -> Response:
        """List the versions of a secret, without values."""
        secret = find_secret(actor=self.actor, id=id)
        require_authentic(secret)
        versions = SecretVersion.objects.filter(secret_id=secret.pk).select_related("origin").defer("value")
        context = {"secret": secret}
        rows = self.paginate_queryset(versions) or []
        page = self.get_paginated_response(
            [documents.VersionDocument(row, context=context).data for row in rows]
        )
        page.data |= {
            "previous_version": secret.previous_number,
            "max_versions": secret.max_versions,
            "custom_metadata": secret.custom_metadata or {},
        }
        return page


class VersionView(SecretsView):
    opens_values = True
    serializer_class = documents.VersionWithValue

    @extend_schema(summary="Read a version", responses=documents.VersionWithValue)
    def get(self, request: Request, id: int, number: int) -> Response:
        """Return a version with its value."""
        secret = find_secret(actor=self.actor, id=id)
        revealed = reveal(actor=self.actor, secret=secret, number=number)
        document = documents.VersionDocument(revealed.version, context={"secret": secret}).data
        return Response({**document, "value": revealed.value})


class GenerateView(SecretsView):
    serializer_class = documents.GenerateDocument

    @extend_schema(
        summary="Generate a value",
        request=documents.GenerateDocument,
        responses=documents.GeneratedDocument,
    )
    def post(self, request: Request) -> Response:
        """Return a fresh random value; nothing is stored."""
        given = self.given(documents.GenerateDocument)
        body: dict[str, Any] = dict(request.data)
        own = {name: value for name, value in body.items() if name not in documents.GenerateDocument().fields}
        kind = kind_for(given.get("kind"), given.get("secret_type"))
        generated = generate(kind, {**given.get("options", {}), **own})
        return Response(
            {
                "kind": kind,
                "secret_type": generated.secret_type,
                "value": generated.value,
                "public": generated.public,
            }
        )
