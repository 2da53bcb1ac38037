"""The API of an environment: secrets by name, export, comparison with another one, and manifest.

A manifest has the names and versions of what the caller may read, without values.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from django.db.models import F
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from audit_app.events.actions import Action
from environments_app.api.base import NO_CONTENT
from environments_app.authorization.policy import require
from environments_app.environments.service import find_environment
from environments_app.tokens import bearers
from secrets_app.api import serializers as documents
from secrets_app.api.base import (
    IF_MATCH,
    IF_NONE_MATCH,
    STAGE,
    UNCHANGED,
    SecretsView,
    answer,
)
from secrets_app.errors import InvalidInput, TooManyItems
from secrets_app.models import Secret, SecretVersion
from secrets_app.models.secret import etag_of
from secrets_app.queries import last_asked
from secrets_app.queries.listed import genuine, listed
from secrets_app.queries.lookup import can_in_any_scope, find_in_environment, find_secret_by_names
from secrets_app.queries.states import is_unchanged, known_etags, readable_secrets, state_of
from secrets_app.rows.store import ANY, NO_STATE
from secrets_app.services import lifecycle, write
from secrets_app.services.comparison import compare
from secrets_app.services.decoys import note_missed
from secrets_app.services.exporting import EXPORT_RENDERERS, HEADER, export_renderer, export_values
from secrets_app.services.read import LEFT_OUT, MAX_EXPORT, reveal_environment
from secrets_app.values.names import validate_prefix, validate_secret_name

UNLESS: Final = OpenApiParameter(
    "If-None-Match",
    str,
    OpenApiParameter.HEADER,
    description="`*` creates only: 412 if the secret exists. ETags: 412 if it is in one of these states.",
)


class NamedSecretView(SecretsView):
    opens_values = True
    needs_approval = frozenset({"PUT", "DELETE"})
    serializer_class = documents.SecretWithValue

    @extend_schema(
        summary="Read a secret by name",
        parameters=[STAGE, IF_NONE_MATCH],
        responses={200: documents.SecretWithValue, 304: UNCHANGED},
    )
    def get(self, request: Request, environment: str, name: str) -> Response:
        """Return a secret with its value; a viewer gets it without."""
        validate_secret_name(name)
        return self.shown(find_secret_by_names(actor=self.actor, environment=environment, name=name))

    @extend_schema(
        summary="Create or change a secret by name",
        request=documents.SecretChange,
        responses={200: documents.SecretDocument, 201: documents.SecretDocument},
        parameters=[IF_MATCH, UNLESS],
    )
    def put(self, request: Request, environment: str, name: str) -> Response:
        """Create the secret or change it; what is left out is kept, the value as well.

        An equal value creates no version, unless the secret becomes JSON or no longer is, and is recorded as
        a comparison: the answer reveals the value. With `If-None-Match: *` it only creates.
        """
        validate_secret_name(name)
        place, stored = find_in_environment(actor=self.actor, environment=environment, name=name)
        given = self.valid(documents.SecretChange)
        fields = given.validated_data
        named = {"name": name, "environment": place.name, "environment_id": place.pk}
        for field in named.keys() & fields.keys():
            if fields[field] != named[field]:
                raise InvalidInput(field, "Name and environment are those of the address; leave them out.")
        secret, created = write.put(
            actor=self.actor,
            environment=place,
            name=name,
            secret_type=fields.get("secret_type"),
            value=fields.get("value"),
            expected=self._required(stored),
            secret=stored,
            only_new=_is_new_only(request.headers.get("If-None-Match")),
            comment=fields.get("comment", ""),
            **given.metadata,
        )
        return answer(secret, status_code=status.HTTP_201_CREATED if created else status.HTTP_200_OK)

    def _required(self, secret: Secret | None) -> str | None:
        """Return the state that the conditions of a PUT require; `write.put` asks for the rights."""
        unless = known_etags(self.request.headers.get("If-None-Match", "")) - {ANY}
        if not unless and "If-Match" not in self.request.headers:
            return None
        if not secret or not unless:
            return self.expected(secret)
        # Not one of these states: the one that was just seen, or none.
        return NO_STATE if f'"{secret.etag}"' in unless else self.expected(secret) or secret.etag

    @extend_schema(summary="Delete a secret by name", responses={204: NO_CONTENT}, parameters=[IF_MATCH])
    def delete(self, request: Request, environment: str, name: str) -> Response:
        """Delete a secret softly; it can be restored until it is purged."""
        validate_secret_name(name)
        secret = find_secret_by_names(actor=self.actor, environment=environment, name=name)
        lifecycle.delete(actor=self.actor, secret=secret, expected=self.expected(secret))
        return Response(status=status.HTTP_204_NO_CONTENT)


def _is_new_only(header: str | None) -> bool:
    """Return whether `If-None-Match` lets a PUT create alone.

    So does a star in quotes or among tags, and what is no tag, or empty: a condition that is not understood
    must not let the PUT overwrite.
    """
    return header is not None and (ANY in header or not known_etags(header))


EXPORT: Final = "export"


class ExportNegotiation(DefaultContentNegotiation):
    """Chooses the form of an export by `format`; an unknown one is the caller's mistake."""

    def filter_renderers(self, renderers: Iterable[BaseRenderer], format: str) -> list[BaseRenderer]:
        """Return the renderer of a format. Raises InvalidInput."""
        renderers = list(renderers)
        chosen = [renderer for renderer in renderers if renderer.format == format]
        if not chosen:
            raise InvalidInput("format", f"Choose one of {', '.join(r.format for r in renderers)}.")
        return chosen


class ExportView(SecretsView):
    opens_values = True
    serializer_class = documents.SecretWithValue
    content_negotiation_class = ExportNegotiation
    renderer_classes = EXPORT_RENDERERS

    def options(self, request: Request, *args: Any, **kwargs: Any) -> Response:  # type: ignore[override]  # as DRF has it
        """Answer without a body: the forms of an export hold names and values alone."""
        answered: Response = super().options(request, *args, **kwargs)
        answered.data = None
        return answered

    @extend_schema(
        summary="Export values",
        parameters=[
            OpenApiParameter(
                "format", str, enum=[renderer.format for renderer in EXPORT_RENDERERS], default="json"
            ),
            OpenApiParameter("prefix", str, description="Only the names under it, by whole segments."),
            IF_NONE_MATCH,
            OpenApiParameter(
                HEADER,
                str,
                OpenApiParameter.HEADER,
                response=[200],
                description="The variables of a dotenv file that a reader does not read as they are.",
            ),
            OpenApiParameter(
                LEFT_OUT,
                int,
                OpenApiParameter.HEADER,
                response=[200],
                description="How many guarded secrets the answer leaves out. Without it there are none.",
            ),
            OpenApiParameter(
                bearers.HEADER,
                int,
                OpenApiParameter.HEADER,
                response=[200],
                description="The seconds for which a client may use its encrypted copy of this answer while "
                "Keeper cannot be reached. Without it no copy may be kept.",
            ),
        ],
        responses={
            **{(200, renderer.media_type): OpenApiTypes.OBJECT for renderer in EXPORT_RENDERERS},
            304: UNCHANGED,
        },
    )
    def get(self, request: Request, environment: str) -> Response:
        """Return name and current value of every secret that the actor may read; recorded as one read.

        304 without a value, and without a record, while none of them has changed.
        """
        place = find_environment(actor=self.actor, name=environment)
        prefix = validate_prefix(request.query_params.get("prefix", ""))
        renderer = export_renderer(request.accepted_renderer.format)
        # Before the values are read: a change in between is sent again, and none is missed.
        state = state_of(self.actor, place, prefix=prefix, form=renderer.format)
        etag = {"ETag": f'"{state}"'} if state else {}
        if is_unchanged(self.actor, state, request.headers.get("If-None-Match", ""), kind=EXPORT):
            last_asked.note_at_once(self.actor, environment=place.uuid, prefix=prefix)
            return Response(status=status.HTTP_304_NOT_MODIFIED, headers=etag)
        revealed = reveal_environment(actor=self.actor, environment=place, prefix=prefix)
        values = export_values(revealed, format=renderer.format)
        seconds = bearers.offline_seconds(actor=self.actor, environment=place)
        offline = {bearers.HEADER: str(seconds)} if seconds else {}
        without = {LEFT_OUT: str(len(revealed.left_out))} if revealed.left_out else {}
        return Response(values, headers={**renderer.headers(values), **etag, **offline, **without})


class CompareView(SecretsView):
    opens_values = True
    serializer_class = documents.Comparison

    @extend_schema(summary="Compare two environments", responses=documents.Comparison)
    def get(self, request: Request, environment: str, other: str) -> Response:
        """Return for each name whether both sides hold the same value; needs the right to reveal on both."""
        left = find_environment(actor=self.actor, name=environment)
        right = find_environment(actor=self.actor, name=other)
        rows = compare(actor=self.actor, left=left, right=right)
        results = documents.ComparisonRow(rows, many=True).data
        return Response({"left": left.name, "right": right.name, "results": results})


KIND = "manifest"


class ManifestEntryDocument(serializers.Serializer[Any]):
    """One secret of a manifest."""

    name = serializers.CharField()
    version = serializers.IntegerField()
    version_id = serializers.UUIDField(allow_null=True)
    etag = serializers.CharField()


class ManifestDocument(serializers.Serializer[Any]):
    """The secrets that the caller may read."""

    environment = serializers.CharField()
    secrets = ManifestEntryDocument(many=True)


class ManifestView(SecretsView):
    serializer_class = ManifestDocument

    @extend_schema(
        summary="List what may be read, without values",
        parameters=[
            OpenApiParameter("prefix", str, description="Only the names under it, by whole segments."),
            IF_NONE_MATCH,
        ],
        responses={200: ManifestDocument, 304: UNCHANGED},
    )
    def get(self, request: Request, environment: str) -> Response:
        """Return name, version and ETag of each secret; 304 while none of them has changed."""
        place = find_environment(actor=self.actor, name=environment)
        if not can_in_any_scope(self.actor, Action.SECRET_EXPORT, place):
            require(actor=self.actor, action=Action.SECRET_EXPORT, environment=place)
        prefix = validate_prefix(request.query_params.get("prefix", ""))
        state = state_of(self.actor, place, prefix=prefix, form=KIND)
        headers = {"ETag": f'"{state}"'} if state else {}
        if is_unchanged(self.actor, state, request.headers.get("If-None-Match", ""), kind=KIND):
            last_asked.note_at_once(self.actor, environment=place.uuid, prefix=prefix)
            return Response(status=status.HTTP_304_NOT_MODIFIED, headers=headers)
        secrets = readable_secrets(self.actor, place, prefix)
        rows = genuine([*listed(secrets.order_by("name")[: MAX_EXPORT + 1])])
        note_missed(actor=self.actor, environment=place, prefix=prefix, found=bool(rows))
        if len(rows) > MAX_EXPORT:
            raise TooManyItems(f"A manifest has at most {MAX_EXPORT:,} secrets: give a prefix.")
        current = SecretVersion.objects.filter(secret__in=secrets, number=F("secret__current_number"))
        ids: Mapping[int, Any] = dict(current.values_list("secret_id", "uuid"))
        entries = [
            {
                "name": row.name,
                "version": row.current_number,
                "version_id": ids.get(row.pk),
                "etag": etag_of(row.pk, row.current_number, row.revision),
            }
            for row in rows
        ]
        return Response({"environment": place.name, "secrets": entries}, headers=headers)
