"""The API by which all that a person or token knows is rotated: a preview, then a result of each."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from environments_app.api.fields import StrictSerializer, Text, Truth
from environments_app.errors import InvalidField
from sync_app.api.base import SyncView
from sync_app.rotation.execution.compromise_response import find_reader, preview, rotate_known


class ExposureRequest(StrictSerializer):
    """Whose knowledge is rotated, and how."""

    who = Text(max_length=150, help_text="Username, token name or UUID.")
    confirm = Text(max_length=150, help_text="The reader's name, as the preview tells it.")
    emergency = Truth(required=False, help_text="Leave no grace: needs the right to cut it.")
    reason = Text(max_length=200, required=False, allow_blank=True)


class ExposedDocument(serializers.Serializer[Any]):
    """A known secret that is still served, and the planned action."""

    secret = serializers.CharField(source="known.secret.name", read_only=True)
    secret_id = serializers.IntegerField(source="known.secret.pk", read_only=True)
    environment = serializers.CharField(source="known.secret.environment.name", read_only=True)
    versions = serializers.ListField(source="known.numbers", child=serializers.IntegerField(), read_only=True)
    policy = serializers.IntegerField(source="policy.pk", read_only=True, default=None, allow_null=True)
    by_hand = serializers.SerializerMethodField(help_text="No rotation policy. It is marked as due.")
    reason = serializers.CharField(read_only=True, help_text="Why nothing would be, or was, done about it.")
    unconfirmed = serializers.ListField(
        source="slow", child=serializers.CharField(), read_only=True, help_text="Who may be cut off."
    )

    def get_by_hand(self, exposed: Any) -> bool:
        return exposed.policy is None


class ResultDocument(serializers.Serializer[Any]):
    """What became of one of them."""

    secret = serializers.CharField(source="exposed.known.secret.name", read_only=True)
    environment = serializers.CharField(source="exposed.known.secret.environment.name", read_only=True)
    done = serializers.BooleanField(read_only=True)
    rotation = serializers.IntegerField(source="rotation.pk", read_only=True, default=None, allow_null=True)
    marked = serializers.BooleanField(read_only=True, help_text="Marked as due, to be changed by hand.")
    approval = serializers.IntegerField(
        read_only=True, allow_null=True, help_text="The request that waits for a second person."
    )
    reason = serializers.CharField(read_only=True)


class ExposureDocument(serializers.Serializer[Any]):
    """All known secrets that are still served."""

    who = serializers.CharField(read_only=True)
    secrets = ExposedDocument(many=True, read_only=True)


class ExposureResultDocument(serializers.Serializer[Any]):
    """What became of each; `left` are asked for by the next call."""

    results = ResultDocument(many=True, read_only=True)
    left = serializers.IntegerField(read_only=True)
    cut_off = serializers.ListField(
        child=serializers.CharField(),
        read_only=True,
        help_text="Who did not confirm a version that an emergency replaces.",
    )


_WHO = OpenApiParameter("who", str, required=True, description="A username, a token's name, or a uuid.")
_EMERGENCY = OpenApiParameter("emergency", bool, description="Ask as for an emergency.")


class ExposureView(SyncView):
    serializer_class = ExposureDocument
    pagination_class = None

    @extend_schema(
        summary="What a person or token knows", parameters=[_WHO, _EMERGENCY], responses=ExposureDocument
    )
    def get(self, request: Request) -> Response:
        """Return the read values that are still served, where the actor may read the audit log."""
        reader = find_reader(actor=self.actor, name=request.query_params.get("who", ""))
        emergency = request.query_params.get("emergency", "") in {"1", "true", "True"}
        looked = preview(actor=self.actor, reader=reader, emergency=emergency)
        return Response(ExposureDocument({"who": reader.name, "secrets": looked}).data)

    @extend_schema(
        summary="Rotate what a person or token knows",
        request=ExposureRequest,
        responses=ExposureResultDocument,
    )
    def post(self, request: Request) -> Response:
        """Ask for a rotation of each that has a policy, and mark each other as due."""
        given = self.given(ExposureRequest)
        reader = find_reader(actor=self.actor, name=given["who"])
        if given["confirm"] != reader.name:
            raise InvalidField("confirm", "This is not the name of whose knowledge is rotated.")
        asked = rotate_known(
            actor=self.actor,
            reader=reader,
            emergency=given.get("emergency", False),
            reason=given.get("reason", ""),
        )
        return Response(ExposureResultDocument(asked).data)
