"""The API of access requests: submit and answer."""

from collections.abc import Mapping
from typing import ClassVar, Final

from django.urls import reverse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from audit_app.integrity.row_authentication import verified_rows
from environments_app import acts
from environments_app.access_requests import service as access_requests
from environments_app.access_requests.decisions import MAX_TEXT
from environments_app.api.base import AccessView, act_view
from environments_app.api.fields import (
    StateField,
    StrictSerializer,
    Text,
    WholeNumber,
    public_states,
    stored_state,
)
from environments_app.models import AccessRequest, RequestState, Role

STATE = OpenApiParameter(
    "state", str, description="Only requests in this state.", enum=public_states(RequestState)
)


class AccessRequestDocument(serializers.ModelSerializer[AccessRequest]):
    environment = serializers.CharField(source="environment_name")
    requester = serializers.CharField(source="requester.username")
    state = StateField(RequestState, source="shown_state")
    decided_by = serializers.CharField(source="decided_by.username", default="")

    class Meta:
        model = AccessRequest
        fields = [
            "id", "uuid", "environment", "requester", "role", "prefix", "minutes", "reason", "state",
            "decided_by", "comment", "asked_at", "expires_at", "decided_at",
        ]  # fmt: skip
        read_only_fields = fields


class NewAccessRequest(StrictSerializer):
    """A requested role; without `minutes` it has no end."""

    environment = Text(max_length=63)
    role = serializers.ChoiceField(choices=Role.choices)
    prefix = Text(required=False, max_length=600)
    minutes = WholeNumber(required=False, allow_null=True, min_value=1, max_value=10_000_000)
    reason = Text(required=False, max_length=MAX_TEXT)


class AccessGrant(StrictSerializer):
    """What is granted of it; what is left out is granted as it was asked for."""

    role = serializers.ChoiceField(choices=Role.choices, required=False)
    prefix = Text(required=False, max_length=600)
    minutes = WholeNumber(required=False, min_value=1, max_value=10_000_000)
    comment = Text(required=False, max_length=MAX_TEXT)


class AccessRefusal(StrictSerializer):
    comment = Text(required=False, max_length=MAX_TEXT)


class AccessRequestListView(AccessView):
    queryset = AccessRequest.objects.none()
    serializer_class = AccessRequestDocument
    filter_names: ClassVar[tuple[str, ...]] = ("state",)
    ordering_fields: ClassVar[Mapping[str, str]] = {"id": "id"}
    default_ordering = "-id"

    @extend_schema(
        summary="List requests for access", responses=AccessRequestDocument(many=True), parameters=[STATE]
    )
    def get(self, request: Request) -> Response:
        """List requests, the newest first."""
        rows = access_requests.visible_requests(self.actor)
        state = request.query_params.get("state")
        if state is not None:
            rows = rows.filter(state=stored_state(RequestState, state))
        return self.get_paginated_response(
            AccessRequestDocument(verified_rows(self.page(rows)), many=True).data
        )

    @extend_schema(summary="Request access", request=NewAccessRequest, responses={202: AccessRequestDocument})
    def post(self, request: Request) -> Response:
        """Ask for a role in an environment; the answer does not return whether there is one of that name."""
        access_request = access_requests.submit(actor=self.actor, **self.given(NewAccessRequest))
        return Response(
            AccessRequestDocument(access_request).data,
            status=status.HTTP_202_ACCEPTED,
            headers={"Location": reverse("api-access-request", args=[access_request.pk])},
        )


class AccessRequestActs(AccessView):
    queryset = AccessRequest.objects.none()
    serializer_class = AccessRequestDocument

    def find_request(self, id: int) -> AccessRequest:
        """Return the request that the address names. Raises Invisible."""
        return access_requests.find_request(actor=self.actor, id=id)


class AccessRequestView(AccessRequestActs):
    @extend_schema(summary="Read a request for access", responses=AccessRequestDocument)
    def get(self, request: Request, id: int) -> Response:
        return Response(AccessRequestDocument(self.find_request(id)).data)


_BODIES: Final = {"grant": AccessGrant, "refuse": AccessRefusal}
ACT_VIEWS: Final = {
    act.slug: act_view(AccessRequestActs, act, answer=AccessRequestDocument, body=_BODIES.get(act.name))
    for act in acts.ACCESS_REQUESTS
}
