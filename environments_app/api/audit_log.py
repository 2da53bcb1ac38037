"""The API of the audit log's integrity: the keys that sign it, and a verification."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from audit_app.interfaces import keyring
from environments_app.api.fields import StrictSerializer
from environments_app.authentication.drf import principal_of
from environments_app.operator_jobs import Extent, verify_log


class PublicKeyDocument(serializers.Serializer[Mapping[str, Any]]):
    id = serializers.UUIDField()
    algorithm = serializers.CharField()
    public_key = serializers.CharField(help_text="32 bytes in hexadecimal")


class VerificationRequest(StrictSerializer):
    extent = serializers.ChoiceField(choices=[(item.value, item.value) for item in Extent])


class ProblemFound(serializers.Serializer[Any]):
    kind = serializers.CharField()
    object = serializers.CharField()
    message = serializers.CharField()
    stream = serializers.CharField()
    sequence = serializers.IntegerField(allow_null=True)


class DiscontinuityFound(serializers.Serializer[Any]):
    """A place where the audit log continues from an older state, or without old events."""

    kind = serializers.ChoiceField(choices=[(kind, kind) for kind in ("restore", "resume", "cut")])
    stream = serializers.CharField()
    sequence = serializers.IntegerField()
    message = serializers.CharField()


class VerificationDocument(serializers.Serializer[Any]):
    extent = serializers.CharField()
    sound = serializers.BooleanField()
    streams = serializers.IntegerField()
    events = serializers.IntegerField()
    manifests = serializers.IntegerField()
    anchors = serializers.IntegerField()
    checkpoints = serializers.IntegerField()
    discontinuities = serializers.IntegerField()
    cut = serializers.IntegerField()
    problems = ProblemFound(many=True)
    discontinuity_list = DiscontinuityFound(many=True)


class PublicKeysView(APIView):
    parameters: ClassVar[tuple[str, ...]] = ()

    @extend_schema(summary="List the keys that sign checkpoints", responses=PublicKeyDocument(many=True))
    def get(self, request: Request) -> Response:
        """List the public halves, retired ones too; pin them elsewhere."""
        public_keys = keyring().public_keys().items()
        rows: Any = [
            {"id": key_id, "algorithm": "ed25519", "public_key": key.hex()} for key_id, key in public_keys
        ]
        return Response(PublicKeyDocument(rows, many=True).data)


class TrailVerificationView(APIView):
    @extend_schema(
        summary="Verify the audit log", request=VerificationRequest, responses=VerificationDocument
    )
    def post(self, request: Request) -> Response:
        """Verify against the anchors: what is newer than the newest one, or everything."""
        body = VerificationRequest(data=request.data)
        body.is_valid(raise_exception=True)
        verification = verify_log(actor=principal_of(request), extent=Extent(body.validated_data["extent"]))
        document = {
            "extent": verification.extent,
            "sound": verification.is_sound,
            **asdict(verification.tally),
            "problems": [asdict(problem) for problem in verification.problems],
            "discontinuity_list": [asdict(discontinuity) for discontinuity in verification.discontinuities],
        }
        return Response(VerificationDocument(document).data)
