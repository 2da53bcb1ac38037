"""The API of the audit log: read only."""

from collections.abc import Mapping
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from audit_app.events.actions import Action, Outcome
from audit_app.interfaces import viewer_of
from audit_app.models import AuditEvent, ReadManifestItem
from audit_app.queries import search
from audit_app.queries.access_log import record_view, viewed_event
from core.canonical_json import parsed_details
from core.pagination import KeysetPagination


class EventDocument(serializers.Serializer[AuditEvent]):
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
    items = serializers.IntegerField(
        source="manifest.size",
        default=None,
        allow_null=True,
        help_text="How many versions the event lists, of secrets that it read or created; else null",
    )

    def get_details(self, event: AuditEvent) -> dict[str, Any]:
        return parsed_details(event.details)


class ManifestItemDocument(serializers.Serializer[ReadManifestItem]):
    """One version of one secret that an event about many lists, under the name that it had then."""

    secret_uuid = serializers.UUIDField()
    version = serializers.IntegerField(source="number")
    name = serializers.CharField()


class EventQuery(serializers.Serializer[Any]):
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
        required=False, help_text="How the name of an object or actor begins, or an address or request id"
    )


class CountingPagination(KeysetPagination):
    """The pages of a list with one number more, which the view adds to each."""

    number: ClassVar[str]
    description: ClassVar[str]

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        page_schema: dict[str, Any] = super().get_paginated_response_schema(schema)
        page_schema["required"] = [*page_schema["required"], self.number]
        page_schema["properties"][self.number] = {"type": "integer", "description": self.description}
        return page_schema


class EventPagination(CountingPagination):
    number = "search_behind"
    description = "How many events the search lacked, the newest above all."


class EventListView(GenericAPIView[AuditEvent]):
    queryset = AuditEvent.objects.none()
    pagination_class = EventPagination
    serializer_class = EventDocument
    ordering_fields: ClassVar[Mapping[str, str]] = {"id": "id"}
    default_ordering = "-id"
    filter_names: ClassVar[tuple[str, ...]] = tuple(EventQuery().fields)

    @extend_schema(summary="List events", parameters=[EventQuery], responses=EventDocument(many=True))
    def get(self, request: Request) -> Response:
        """List events, newest first; an object is also found in events about many secrets."""
        query = EventQuery(
            data={name: text for name, text in request.query_params.items() if name in self.filter_names}
        )
        query.is_valid(raise_exception=True)
        filters: dict[str, Any] = query.validated_data
        names = {"actor": "actor_name", "object": "object_name", "q": "text"}
        wanted: dict[str, Any] = {
            **search.acts(filters.pop("action", "")),
            **{names.get(name, name): value for name, value in filters.items()},
        }
        record_view(viewer=viewer_of(request), face="api", filters=wanted)
        events = search.find(viewer=viewer_of(request), **wanted)
        rows = self.paginate_queryset(events.events.select_related("manifest"))
        page = self.get_paginated_response([EventDocument(row).data for row in rows or []])
        page.data["search_behind"] = events.behind
        return page


class EventItemsView(GenericAPIView[ReadManifestItem]):
    queryset = ReadManifestItem.objects.none()
    serializer_class = ManifestItemDocument
    ordering_fields: ClassVar[Mapping[str, str]] = {"id": "id"}
    default_ordering = "id"

    @extend_schema(summary="List the secrets of an event", responses=ManifestItemDocument(many=True))
    def get(self, request: Request, stream: str, sequence: int) -> Response:
        """List the versions that an event read or created, in the order in which it lists them."""
        event = viewed_event(viewer=viewer_of(request), face="api", stream=stream, sequence=sequence)
        if event is None:
            raise NotFound
        items = ReadManifestItem.objects.filter(manifest=event.manifest_id)
        rows = self.paginate_queryset(items)
        return self.get_paginated_response([ManifestItemDocument(row).data for row in rows or []])
