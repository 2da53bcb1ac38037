"""The API that finds whose a leaked token or value is."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from environments_app.api.base import AccessView
from environments_app.api.fields import StrictSerializer, Text
from secrets_app.models import Secret
from secrets_app.types.bounds import MAX_VALUE_BYTES
from sync_app.rotation.leaks import find_leaked


class LeakRequest(StrictSerializer):
    """The leaked text; no answer and no record holds it."""

    text = Text(max_length=MAX_VALUE_BYTES, allow_blank=False, write_only=True)


class LeakMatch(serializers.Serializer[Any]):
    """A token that the caller may see, or a version of a secret that they may reveal."""

    kind = serializers.CharField(read_only=True)
    name = serializers.CharField(read_only=True)
    environment = serializers.CharField(read_only=True)
    version = serializers.IntegerField(read_only=True, allow_null=True)
    state = serializers.CharField(read_only=True)
    act = serializers.CharField(
        read_only=True, help_text="What to do about it. Empty if it is revoked, or another person does it."
    )
    page = serializers.CharField(source="act_url", read_only=True, help_text="Where that is done.")


class LeakDocument(serializers.Serializer[Any]):
    matches = LeakMatch(many=True, read_only=True)


class LeakView(AccessView):
    queryset = Secret.objects.none()
    serializer_class = LeakDocument
    pagination_class = None

    @extend_schema(summary="Find a leaked token or value", request=LeakRequest, responses=LeakDocument)
    def post(self, request: Request) -> Response:
        """Return whose a text is, among what the caller may see and reveal; the search is recorded."""
        matches = find_leaked(actor=self.actor, text=self.given(LeakRequest)["text"])
        return Response(LeakDocument({"matches": matches}).data)
