"""The API of departures: what ended, which values are open, and what people decide about them."""

from collections.abc import Mapping
from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from environments_app.api.base import AccessView
from environments_app.api.fields import StrictSerializer, Text
from environments_app.models import Departure
from secrets_app.api.offboarding import OutletDocument
from secrets_app.departures import decisions


class DepartureDocument(serializers.ModelSerializer[Departure]):
    """A person who left or moved; it is open until nothing follows from it any more."""

    user = serializers.CharField(source="user.username")
    open = serializers.SerializerMethodField()
    ended_by = serializers.CharField(source="ended_by_name")
    ended = serializers.DictField(
        child=serializers.IntegerField(),
        help_text="What ended at once, by kind.",
    )

    class Meta:
        model = Departure
        fields = [
            "id", "uuid", "user", "kind", "open", "at", "ended_by", "ended", "counted_at", "held_at",
            "closed_at", "closed_by", "reason",
        ]  # fmt: skip
        read_only_fields = fields

    def get_open(self, row: Departure) -> bool:
        return bool(row.open)


class DepartureValueDocument(serializers.Serializer[Any]):
    """A secret of which the person knows versions."""

    id = serializers.IntegerField(source="pk", read_only=True)
    secret = serializers.IntegerField(source="secret_id", read_only=True)
    name = serializers.CharField(source="secret.name", read_only=True)
    environment = serializers.CharField(source="secret.environment.name", read_only=True)
    versions = serializers.ListField(source="numbers", child=serializers.IntegerField(), read_only=True)
    state = serializers.ChoiceField(
        choices=["waits", "by policy", "kept", "replaced", "deleted"], read_only=True
    )
    assignee = serializers.CharField(
        source="assignee.username",
        default="",
        read_only=True,
        help_text="Empty: the managers there.",
    )
    read_by = serializers.CharField(
        read_only=True,
        help_text="The service token or trust of theirs by which programs read it. Empty: themselves.",
    )
    kept_by = serializers.CharField(read_only=True)
    reason = serializers.CharField(read_only=True)


class DecidedOutlet(OutletDocument):
    """What the person set up, and what was decided."""

    state = serializers.ChoiceField(choices=["waits", "kept", "paused"], read_only=True)
    kept_by = serializers.CharField(read_only=True)
    reason = serializers.CharField(read_only=True)
    read_count = serializers.IntegerField(
        read_only=True,
        allow_null=True,
        help_text="Secrets of which programs read or wrote a served value by it. Null: no token or trust.",
    )
    read_since = serializers.DateTimeField(read_only=True, allow_null=True, help_text="Counted since.")
    unlisted_count = serializers.IntegerField(
        read_only=True, help_text="How many of these are not among the values."
    )


class MarkedDocument(serializers.Serializer[Any]):
    """What was marked."""

    marked = serializers.IntegerField(read_only=True, help_text="Secrets that are new among the values.")


class DepartureDetail(DepartureDocument):
    values = serializers.SerializerMethodField()
    outlets = serializers.SerializerMethodField()

    class Meta(DepartureDocument.Meta):
        fields = [*DepartureDocument.Meta.fields, "values", "outlets"]
        read_only_fields = fields

    @extend_schema_field(DecidedOutlet(many=True))
    def get_outlets(self, _row: Departure) -> Any:
        return DecidedOutlet(self.context["outlets"], many=True).data

    @extend_schema_field(DepartureValueDocument(many=True))
    def get_values(self, _row: Departure) -> Any:
        return DepartureValueDocument(self.context["values"], many=True).data


class Reason(StrictSerializer):
    reason = Text(max_length=decisions.MAX_REASON)


class Assignee(StrictSerializer):
    username = Text(max_length=150)


class DepartureListView(AccessView):
    queryset = Departure.objects.none()
    serializer_class = DepartureDocument
    ordering_fields: ClassVar[Mapping[str, str]] = {"id": "id"}
    default_ordering = "-id"

    @extend_schema(summary="List departures", responses=DepartureDocument(many=True))
    def get(self, request: Request) -> Response:
        """List the people who left or moved and of whom the actor may see something, the newest first."""
        rows = decisions.visible_departures(self.actor)
        return self.get_paginated_response(DepartureDocument(self.page(rows), many=True).data)


class DepartureView(AccessView):
    queryset = Departure.objects.none()
    serializer_class = DepartureDetail

    @extend_schema(summary="Read a departure", responses=DepartureDetail)
    def get(self, request: Request, id: int) -> Response:
        """Return what ended, the values that the person knows, and what they set up, as far as seen."""
        found, values = decisions.read_departure(actor=self.actor, id=id)
        outlets = decisions.visible_outlets(self.actor, found)
        return Response(DepartureDetail(found, context={"values": values, "outlets": outlets}).data)


class DepartureCloseView(AccessView):
    queryset = Departure.objects.none()
    serializer_class = DepartureDocument

    @extend_schema(summary="Close a departure", request=Reason, responses=DepartureDocument)
    def post(self, request: Request, id: int) -> Response:
        """Close a departure although something is open, with the reason."""
        found = decisions.find_departure(actor=self.actor, id=id)
        closed = decisions.close_departure(actor=self.actor, departure=found, **self.given(Reason))
        return Response(DepartureDocument(closed).data)


class DepartureContinueView(AccessView):
    queryset = Departure.objects.none()
    serializer_class = DepartureDocument

    @extend_schema(summary="Let rotations go on", request=None, responses=DepartureDocument)
    def post(self, request: Request, id: int) -> Response:
        """Let rotations go on that wait since a SCIM client ended many people at once: of all of these."""
        found = decisions.find_departure(actor=self.actor, id=id)
        continued = decisions.continue_rotations(actor=self.actor, departure=found)
        return Response(DepartureDocument(continued).data)


class OutletKeepView(AccessView):
    queryset = Departure.objects.none()
    serializer_class = DecidedOutlet

    @extend_schema(summary="Keep what somebody set up", request=Reason, responses=DecidedOutlet)
    def post(self, request: Request, id: int, uuid: UUID) -> Response:
        """State why a target, webhook, address, sink or trust of a person who left stays."""
        found = decisions.find_departure(actor=self.actor, id=id)
        kept = decisions.keep_outlet(actor=self.actor, departure=found, uuid=uuid, **self.given(Reason))
        return Response(DecidedOutlet(kept).data)


class OutletMarkView(AccessView):
    queryset = Departure.objects.none()
    serializer_class = MarkedDocument

    @extend_schema(summary="Mark what a program read", request=None, responses=MarkedDocument)
    def post(self, request: Request, id: int, uuid: UUID) -> Response:
        """Put what programs read by a service token or trust of a person who left among the values."""
        found = decisions.find_departure(actor=self.actor, id=id)
        marked = decisions.mark_reads(actor=self.actor, departure=found, uuid=uuid)
        return Response(MarkedDocument({"marked": marked}).data)


class ValueKeepView(AccessView):
    queryset = Departure.objects.none()
    serializer_class = DepartureValueDocument

    @extend_schema(summary="Keep a value", request=Reason, responses=DepartureValueDocument)
    def post(self, request: Request, id: int) -> Response:
        """State why a value stays as it is although a person who left knows it."""
        found = decisions.find_value(actor=self.actor, id=id)
        kept = decisions.keep_value(actor=self.actor, value=found, **self.given(Reason))
        return Response(DepartureValueDocument(kept).data)


class ValueAssignView(AccessView):
    queryset = Departure.objects.none()
    serializer_class = DepartureValueDocument

    @extend_schema(summary="Assign a value", request=Assignee, responses=DepartureValueDocument)
    def post(self, request: Request, id: int) -> Response:
        """Give a value to the person who shall replace it."""
        found = decisions.find_value(actor=self.actor, id=id)
        assigned = decisions.assign_value(actor=self.actor, value=found, **self.given(Assignee))
        return Response(DepartureValueDocument(assigned).data)
