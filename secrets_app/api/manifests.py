"""The API of an environment's manifest: names and versions of what the caller may read, without values."""

from collections.abc import Mapping
from typing import Any

from django.db.models import F
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from audit_app.events.actions import Action
from environments_app.authorization.policy import require
from environments_app.environments.service import find_environment
from secrets_app.api.base import IF_NONE_MATCH, UNCHANGED, SecretsView
from secrets_app.errors import TooManyItems
from secrets_app.models import SecretVersion
from secrets_app.models.secret import etag_of
from secrets_app.queries.listed import genuine, listed
from secrets_app.queries.lookup import can_in_any_scope
from secrets_app.queries.states import is_unchanged, readable_secrets, state_of
from secrets_app.services.read import MAX_EXPORT
from secrets_app.values.names import validate_prefix

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
    """Names, versions and ETags of what the caller may read."""

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
            return Response(status=status.HTTP_304_NOT_MODIFIED, headers=headers)
        secrets = readable_secrets(self.actor, place, prefix)
        rows = genuine([*listed(secrets.order_by("name")[: MAX_EXPORT + 1])])
        if len(rows) > MAX_EXPORT:
            raise TooManyItems(f"A manifest has at most {MAX_EXPORT:,} secrets: give a prefix.")
        current = SecretVersion.objects.filter(secret__in=secrets, number=F("secret__current_number"))
        ids: Mapping[int, Any] = dict(current.values_list("secret_id", "uuid"))
        entries = [
            {
                "name": row.name,
                "version": row.current_number,
                "version_id": ids.get(row.pk),
                "etag": etag_of(row.current_number, row.revision),
            }
            for row in rows
        ]
        return Response({"environment": place.name, "secrets": entries}, headers=headers)
