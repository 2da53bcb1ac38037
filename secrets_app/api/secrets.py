"""The API of secrets: thin over the use cases."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from django.utils.http import parse_etags
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer

from audit_app.events.actions import Action
from environments_app.authentication.drf import principal_of
from environments_app.authorization.policy import Principal, allows
from environments_app.environments.service import find_environment, find_environment_by_id
from environments_app.models import Environment
from secrets_app.api import serializers as documents
from secrets_app.api.bulk_items import valid_items
from secrets_app.api.stages import STAGE, staged, wanted_stage
from secrets_app.errors import InvalidInput
from secrets_app.generators.registry import generate
from secrets_app.generators.selection import kind_for
from secrets_app.metrics import UNCHANGED_READS
from secrets_app.models import Secret, SecretVersion
from secrets_app.persistence.secret_store import ANY, NO_STATE
from secrets_app.queries.filters import DEFAULT_ORDERING, ORDERINGS, filter_names, narrow, wants_deleted
from secrets_app.queries.listed import genuine, listed
from secrets_app.queries.lookup import find_secret, require_authentic, visible_secrets
from secrets_app.queries.states import is_known, known_etags
from secrets_app.services import bulk_create, lifecycle, transfer, write
from secrets_app.services.read import require_readable, reveal

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
NO_CONTENT = OpenApiResponse(description="Done; there is nothing to show.")
# The fields by which a body names an environment.
PLACE: Final = frozenset({"environment", "environment_id"})


class SecretsView(GenericAPIView[Any]):
    """The base of the views of secrets."""

    queryset = Secret.objects.none()
    serializer_class: type[Serializer[Any]] = documents.SecretDocument

    @property
    def actor(self) -> Principal:
        return principal_of(self.request)

    def given(self, serializer_class: type[Serializer[Any]]) -> Any:
        """Return the serializer of a valid body. Raises ValidationError."""
        serializer = serializer_class(data=self.request.data)
        serializer.is_valid(raise_exception=True)
        return serializer

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
        if not is_known(secret.etag, known_etags(self.request.headers.get("If-None-Match", ""))):
            return False
        require_readable(actor=self.actor, secret=secret)
        UNCHANGED_READS.inc()
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
    shown = _DOCUMENT.to_representation(secret)
    return Response(shown, status=status_code, headers={"ETag": f'"{secret.etag}"'})


_FILTERS: Final = filter_names()
# It writes documents without its fields, so that one serves all threads.
_DOCUMENT: Final = documents.SecretDocument()


class SecretListView(SecretsView):
    """The secrets that the actor may see, and new ones."""

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
        rows = genuine(self.paginate_queryset(listed(narrow(secrets, parameters))) or [])
        return self.get_paginated_response([_DOCUMENT.to_representation(row) for row in rows])

    @extend_schema(
        summary="Create a secret",
        request=documents.NewSecretDocument,
        responses={201: documents.SecretDocument},
    )
    def post(self, request: Request) -> Response:
        """Create a secret; the answer does not hold its value."""
        given = self.given(documents.NewSecretDocument)
        fields = given.validated_data
        secret = write.create(
            actor=self.actor,
            environment=place_of(self.actor, fields),
            name=fields["name"],
            secret_type=fields["secret_type"],
            value=fields["value"],
            comment=fields.get("comment", ""),
            **given.metadata,
        )
        return answer(secret, status_code=status.HTTP_201_CREATED)


class SecretView(SecretsView):
    """One secret, by its id."""

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

        An equal value creates no version, and is recorded as a comparison: the answer reveals the value.
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
        given = self.given(documents.SecretChange)
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


class RestoreView(SecretsView):
    """A deleted secret, brought back."""

    @extend_schema(summary="Restore a deleted secret", request=None, responses=documents.SecretDocument)
    def post(self, request: Request, id: int) -> Response:
        """Bring a deleted secret back under its name."""
        secret = find_secret(actor=self.actor, id=id, deleted=None)
        return answer(lifecycle.restore(actor=self.actor, secret=secret))


class PurgeView(SecretsView):
    """A deleted secret, destroyed."""

    @extend_schema(summary="Destroy a deleted secret", request=None, responses={204: NO_CONTENT})
    def post(self, request: Request, id: int) -> Response:
        """Destroy a deleted secret and all its versions for ever."""
        secret = find_secret(actor=self.actor, id=id, deleted=None)
        lifecycle.purge(actor=self.actor, secret=secret)
        return Response(status=status.HTTP_204_NO_CONTENT)


class RollbackView(SecretsView):
    """An earlier value, made current again."""

    @extend_schema(
        summary="Roll back to a version",
        request=documents.RollbackDocument,
        responses=documents.SecretDocument,
        parameters=[IF_MATCH],
    )
    def post(self, request: Request, id: int) -> Response:
        """Make the value of an earlier version current again, as a new version."""
        secret = find_secret(actor=self.actor, id=id)
        number = self.given(documents.RollbackDocument).validated_data["version"]
        return answer(
            write.rollback(actor=self.actor, secret=secret, number=number, expected=self.expected(secret))
        )


class RenameView(SecretsView):
    """A secret's name, changed."""

    @extend_schema(
        summary="Rename a secret",
        request=documents.RenameDocument,
        responses=documents.SecretDocument,
        parameters=[IF_MATCH],
    )
    def post(self, request: Request, id: int) -> Response:
        """Give a secret another name in its environment."""
        secret = find_secret(actor=self.actor, id=id)
        name = self.given(documents.RenameDocument).validated_data["name"]
        return answer(
            lifecycle.rename(actor=self.actor, secret=secret, name=name, expected=self.expected(secret))
        )


class CopyView(SecretsView):
    """A secret, copied elsewhere."""

    @extend_schema(
        summary="Copy a secret",
        request=documents.DestinationDocument,
        responses={201: documents.SecretDocument},
    )
    def post(self, request: Request, id: int) -> Response:
        """Create a secret with the current value of this one in another place."""
        return answer(transfer.copy(**self._destination(id)), status_code=status.HTTP_201_CREATED)

    def _destination(self, id: int) -> dict[str, Any]:
        secret = find_secret(actor=self.actor, id=id)
        fields = self.given(documents.DestinationDocument).validated_data
        environment = place_of(self.actor, fields)
        return {"actor": self.actor, "secret": secret, "environment": environment, "name": fields.get("name")}


class MoveView(CopyView):
    """A secret, moved elsewhere."""

    @extend_schema(
        summary="Move a secret",
        request=documents.DestinationDocument,
        responses={201: documents.SecretDocument},
    )
    def post(self, request: Request, id: int) -> Response:
        """Copy a secret to another environment and delete it here, softly."""
        return answer(transfer.move(**self._destination(id)), status_code=status.HTTP_201_CREATED)


class VersionListView(SecretsView):
    """The versions of a secret."""

    serializer_class = documents.VersionDocument
    ordering_fields: ClassVar[Mapping[str, str]] = {"number": "number"}
    default_ordering = "-number"
    filter_names: ClassVar[tuple[str, ...]] = ()

    @extend_schema(summary="List versions", responses=documents.VersionDocument(many=True))
    def get(self, request: Request, id: int) -> Response:
        """List the versions of a secret, without values."""
        secret = find_secret(actor=self.actor, id=id)
        require_authentic(secret)
        versions = SecretVersion.objects.filter(secret_id=secret.pk).defer("value")
        context = {"current_number": secret.current_number}
        rows = self.paginate_queryset(versions) or []
        return self.get_paginated_response(
            [documents.VersionDocument(row, context=context).data for row in rows]
        )


class VersionView(SecretsView):
    """One version of a secret."""

    serializer_class = documents.VersionWithValue

    @extend_schema(summary="Read a version", responses=documents.VersionWithValue)
    def get(self, request: Request, id: int, number: int) -> Response:
        """Return a version with its value."""
        secret = find_secret(actor=self.actor, id=id)
        revealed = reveal(actor=self.actor, secret=secret, number=number)
        context = {"current_number": secret.current_number}
        document = documents.VersionDocument(revealed.version, context=context).data
        return Response({**document, "value": revealed.value})


class BulkView(SecretsView):
    """Many secrets, created at once."""

    serializer_class = documents.BulkDocument

    @extend_schema(
        summary="Create many secrets",
        request=documents.BulkDocument,
        responses={201: documents.BulkResult},
    )
    def post(self, request: Request) -> Response:
        """Create up to 1,000 secrets, all or none."""
        given = self.given(documents.BulkDocument).validated_data
        bulk_create.refuse_too_many(len(given["secrets"]))
        items = valid_items(given["secrets"])
        default = {name: given[name] for name in PLACE if name in given}
        for item in items:
            if not PLACE & item.keys():
                item.update(default)
        if not all(PLACE & item.keys() for item in items):
            raise InvalidInput("environment_id", "Name the environment of every item, or one for all.")
        keys = [tuple((name, item[name]) for name in sorted(PLACE & item.keys())) for item in items]
        places = {key: place_of(self.actor, dict(key)) for key in set(keys)}
        secrets = bulk_create.create_many(
            actor=self.actor,
            items=[
                bulk_create.NewSecret(
                    environment=places[key],
                    name=item["name"],
                    secret_type=item["secret_type"],
                    value=item["value"],
                    comment=item.get("comment", ""),
                    metadata=documents.metadata_of(item),
                )
                for key, item in zip(keys, items, strict=True)
            ],
        )
        document = documents.SecretDocument()
        results = [document.to_representation(secret) for secret in secrets]
        return Response({"results": results, "created": len(results)}, status=status.HTTP_201_CREATED)


class GenerateView(SecretsView):
    """A fresh value."""

    serializer_class = documents.GenerateDocument

    @extend_schema(
        summary="Generate a value",
        request=documents.GenerateDocument,
        responses=documents.GeneratedDocument,
    )
    def post(self, request: Request) -> Response:
        """Return a fresh random value; nothing is stored."""
        given = self.given(documents.GenerateDocument).validated_data
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
