"""The API of released programs: list releases, ask for one, and end one."""

from collections.abc import Mapping
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from audit_app.events.actions import Action
from environments_app.api.base import NO_CONTENT, AccessView
from environments_app.api.fields import Moment, StrictSerializer, Text, WholeNumber
from environments_app.approvals.program_releases import (
    Standing,
    described,
    end_release,
    find_program_release,
)
from environments_app.authorization.policy import require
from environments_app.environments.service import find_environment
from environments_app.models import ProgramKind, ProgramRelease
from environments_app.names import MAX_PREFIX
from secrets_app.services.guarded import MAX_REASON
from secrets_app.services.releases import release_by_name


class ReleaseDocument(serializers.Serializer[Any]):
    """A program that reads guarded values: of one secret, or of each one under a path."""

    id = serializers.IntegerField(source="release.pk", read_only=True)
    uuid = serializers.UUIDField(source="release.uuid", read_only=True)
    environment = serializers.CharField(source="release.environment.name", read_only=True)
    kind = serializers.ChoiceField(source="release.program_kind", choices=ProgramKind.choices, read_only=True)
    program = serializers.CharField(source="release.program_name", read_only=True)
    program_uuid = serializers.UUIDField(source="release.program_uuid", read_only=True)
    secret_uuid = serializers.UUIDField(
        source="release.secret_uuid", read_only=True, allow_null=True, help_text="null: all under the path."
    )
    path = serializers.CharField(
        source="release.path", read_only=True, help_text="The name of the secret, or the path."
    )
    reason = serializers.CharField(source="release.reason", read_only=True)
    asked_by = serializers.CharField(source="release.asked_by_name", read_only=True)
    agreed_by = serializers.CharField(source="release.agreed_by", read_only=True)
    created_at = serializers.DateTimeField(source="release.created_at", read_only=True)
    expires_at = serializers.DateTimeField(source="release.expires_at", read_only=True, allow_null=True)
    ended_at = serializers.DateTimeField(source="release.ended_at", read_only=True, allow_null=True)
    ended_by = serializers.CharField(source="release.ended_by", read_only=True)
    hindrance = serializers.CharField(
        read_only=True, help_text="Why it counts for nothing now; empty if the program reads by it."
    )


class NewRelease(StrictSerializer):
    """Which program is released: a service token or a trust; and for what: one secret, or a path."""

    token = WholeNumber(required=False, help_text="Id of a service token.")
    trust = WholeNumber(required=False, help_text="Id of a trust. Give one of the two.")
    secret = Text(required=False, max_length=MAX_PREFIX, help_text="Name of a guarded secret.")
    path = Text(
        required=False,
        max_length=MAX_PREFIX,
        help_text="A path: each guarded secret under it, later ones too. Give one of the two.",
    )
    reason = Text(max_length=MAX_REASON, help_text="10 characters at least. Who agrees reads it.")
    expires_at = Moment(required=False, allow_null=True)


class ReleaseListView(AccessView):
    queryset = ProgramRelease.objects.none()
    serializer_class = ReleaseDocument
    needs_approval = frozenset({"POST"})
    ordering_fields: ClassVar[Mapping[str, str]] = {"id": "id"}
    default_ordering = "-id"

    @extend_schema(summary="List releases of programs", responses=ReleaseDocument(many=True))
    def get(self, request: Request, environment: str) -> Response:
        """List the programs that are released for guarded secrets, ended releases as well."""
        place = find_environment(actor=self.actor, name=environment)
        require(actor=self.actor, action=Action.TOKEN_VIEW, environment=place)
        rows = ProgramRelease.objects.select_related("environment").filter(environment=place)
        found = described(self.page(rows))
        return self.get_paginated_response(ReleaseDocument(found, many=True).data)

    @extend_schema(
        summary="Request the release of a program", request=NewRelease, responses={201: ReleaseDocument}
    )
    def post(self, request: Request, environment: str) -> Response:
        """Ask to let a program read guarded values; another manager approves that, in any environment."""
        place = find_environment(actor=self.actor, name=environment)
        row = release_by_name(actor=self.actor, environment=place, **self.given(NewRelease))
        return Response(ReleaseDocument(Standing(row, "")).data, status=status.HTTP_201_CREATED)


class ReleaseView(AccessView):
    queryset = ProgramRelease.objects.none()
    serializer_class = ReleaseDocument

    @extend_schema(summary="Read a release of a program", responses=ReleaseDocument)
    def get(self, request: Request, environment: str, id: int) -> Response:
        return Response(ReleaseDocument(described([self._found(environment, id)])[0]).data)

    @extend_schema(summary="End a release of a program", responses={204: NO_CONTENT})
    def delete(self, request: Request, environment: str, id: int) -> Response:
        """End a release at once; it takes no approval."""
        end_release(actor=self.actor, release=self._found(environment, id))
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _found(self, environment: str, id: int) -> ProgramRelease:
        place = find_environment(actor=self.actor, name=environment)
        return find_program_release(actor=self.actor, environment=place, id=id)
