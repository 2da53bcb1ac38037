"""The API of the audit log: read only."""

from collections.abc import Mapping
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from audit_app.crypto.canonical_json import parsed_details
from audit_app.events.actions import Action, Outcome
from audit_app.interfaces.access_policy import viewer_of
from audit_app.models import AuditEvent
from audit_app.queries import search
from audit_app.queries.access_log import record_view


class EventDocument(serializers.Serializer[AuditEvent]):
    """One event of the audit log."""

    stream = serializers.CharField()
    sequence = serializers.IntegerField()
    at = serializers.DateTimeField()
    actor_kind = serializers.CharField()
    actor = serializers.CharField(source="actor_name")
    action = serializers.CharField()
    object_kind = serializers.CharField()
    object_uuid = serializers.UUIDField()
    object_name = serializers.CharField()
    outcome = serializers.ChoiceField(choices=[(item.value, item.value) for item in Outcome])
    address = serializers.CharField()
    request_id = serializers.CharField()
    details = serializers.SerializerMethodField()

    def get_details(self, event: AuditEvent) -> dict[str, Any]:
        return parsed_details(event.details)


class EventQuery(serializers.Serializer[Any]):
    """What a search for events may name."""

    action = serializers.ChoiceField(
        choices=[(search.EVERY_READ, search.EVERY_READ), *((item.value, item.value) for item in Action)],
        required=False,
        help_text="`reads` finds every act for which values were opened",
    )
    outcome = serializers.ChoiceField(choices=[(item.value, item.value) for item in Outcome], required=False)
    actor = serializers.CharField(required=False)
    object = serializers.CharField(required=False)
    object_uuid = serializers.UUIDField(required=False)
    stream = serializers.CharField(required=False)
    since = serializers.DateTimeField(required=False)
    until = serializers.DateTimeField(required=False)
    environment = serializers.CharField(required=False)
    address = serializers.CharField(required=False)
    request_id = serializers.CharField(required=False)
    q = serializers.CharField(
        required=False,
        help_text="How the name of an object or actor begins, or an address or request id",
    )


class EventListView(GenericAPIView[AuditEvent]):
    """The events that the actor may read."""

    queryset = AuditEvent.objects.none()
    serializer_class = EventDocument
    ordering_fields: ClassVar[Mapping[str, str]] = {"id": "id"}
    default_ordering = "-id"
    filter_names: ClassVar[tuple[str, ...]] = tuple(EventQuery().fields)

    @extend_schema(summary="List events", parameters=[EventQuery], responses=EventDocument(many=True))
    def get(self, request: Request) -> Response:
        """List events, newest first; an object is also found in reads of many."""
        query = EventQuery(
            data={name: text for name, text in request.query_params.items() if name in self.filter_names}
        )
        query.is_valid(raise_exception=True)
        given: dict[str, Any] = query.validated_data
        names = {"actor": "actor_name", "object": "object_name", "q": "text"}
        wanted: dict[str, Any] = {
            **search.acts(given.pop("action", "")),
            **{names.get(name, name): value for name, value in given.items()},
        }
        record_view(viewer=viewer_of(request), face="api", wanted=wanted)
        rows = self.paginate_queryset(search.events(viewer=viewer_of(request), **wanted))
        return self.get_paginated_response([EventDocument(row).data for row in rows or []])
