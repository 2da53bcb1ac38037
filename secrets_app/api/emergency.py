"""The API of emergency reads: list them, and mark one as reviewed. It opens no value."""

from collections.abc import Mapping
from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from audit_app.api import CountingPagination
from audit_app.models import AuditEvent
from environments_app.api.base import AccessView
from environments_app.api.fields import StrictSerializer, Text
from environments_app.environments.service import find_environment
from secrets_app.services import emergency


class EmergencyReadDocument(serializers.Serializer[Any]):
    """Who read a guarded value alone, why, and who reviewed that; null: nobody did."""

    id = serializers.UUIDField(source="uuid", read_only=True)
    environment = serializers.CharField(source="environment.name", read_only=True)
    name = serializers.CharField(read_only=True, help_text="The name of the secret at that time.")
    version = serializers.IntegerField(source="details.number", read_only=True)
    reader = serializers.CharField(source="reader_name", read_only=True)
    address = serializers.CharField(read_only=True)
    at = serializers.DateTimeField(read_only=True)
    reason = serializers.CharField(source="details.reason", read_only=True)
    reviewed_at = serializers.DateTimeField(source="review.at", default=None, allow_null=True, read_only=True)
    reviewed_by = serializers.CharField(source="review.actor_name", default="", read_only=True)
    comment = serializers.CharField(read_only=True)


class EmergencyReadQuery(serializers.Serializer[Any]):
    environment = serializers.CharField(required=False, max_length=63)
    reviewed = serializers.BooleanField(required=False, allow_null=True, default=None)


class EmergencyReview(StrictSerializer):
    comment = Text(required=False, max_length=emergency.MAX_COMMENT, allow_blank=True)


class EmergencyReadPagination(CountingPagination):
    number = "unreadable"
    description = "How many more events of this page were modified outside Keeper."


class EmergencyReadListView(AccessView):
    queryset = AuditEvent.objects.none()
    pagination_class = EmergencyReadPagination
    serializer_class = EmergencyReadDocument
    ordering_fields: ClassVar[Mapping[str, str]] = {"id": "id"}
    default_ordering = "-id"
    filter_names: ClassVar[tuple[str, ...]] = tuple(EmergencyReadQuery().fields)

    @extend_schema(
        summary="List emergency reads",
        parameters=[EmergencyReadQuery],
        responses=EmergencyReadDocument(many=True),
    )
    def get(self, request: Request) -> Response:
        """List those of environments whose audit log you may read, the newest first."""
        query = EmergencyReadQuery(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        name = query.validated_data.get("environment")
        place = find_environment(actor=self.actor, name=name) if name else None
        rows = emergency.visible_reads(
            actor=self.actor, environment=place, reviewed=query.validated_data["reviewed"]
        )
        events = self.page(rows)
        reads = emergency.described(events)
        page = self.get_paginated_response(EmergencyReadDocument(reads, many=True).data)
        page.data["unreadable"] = len(events) - len(reads)
        return page


class EmergencyReadView(AccessView):
    queryset = AuditEvent.objects.none()
    serializer_class = EmergencyReadDocument
    pagination_class = None

    @extend_schema(summary="Read who read what in an emergency", responses=EmergencyReadDocument)
    def get(self, request: Request, uuid: UUID) -> Response:
        """Return one emergency read, without the value."""
        return Response(EmergencyReadDocument(emergency.find_read(actor=self.actor, uuid=uuid)).data)


class EmergencyReviewView(AccessView):
    queryset = AuditEvent.objects.none()
    serializer_class = EmergencyReadDocument
    pagination_class = None

    @extend_schema(
        summary="Review an emergency read", request=EmergencyReview, responses=EmergencyReadDocument
    )
    def post(self, request: Request, uuid: UUID) -> Response:
        """Mark it as reviewed, which ends its alert: a person who is not its reader. No token may."""
        comment = self.given(EmergencyReview).get("comment", "")
        done = emergency.review(actor=self.actor, uuid=uuid, comment=comment)
        return Response(EmergencyReadDocument(done).data)
