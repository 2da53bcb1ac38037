"""The API of device sign-in: a client begins, and asks until its person has answered (RFC 8628, as JSON)."""

from typing import Any

from django.urls import reverse
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from environments_app.api.base import AccessView
from environments_app.api.fields import StrictSerializer, Text
from environments_app.authentication.drf import address_of, plain_request
from environments_app.models import PersonalToken
from environments_app.tokens import device, loopback


class DeviceRequest(StrictSerializer):
    client_name = Text(min_length=1, max_length=100)


class DeviceAnswer(serializers.Serializer[Any]):
    """The codes of a sign-in (RFC 8628, 3.2)."""

    device_code = serializers.CharField(help_text="For the client alone.")
    user_code = serializers.CharField(help_text="For the person to type.")
    verification_uri = serializers.URLField()
    expires_in = serializers.IntegerField()
    interval = serializers.IntegerField(help_text="Seconds between two questions.")


class DeviceCode(StrictSerializer):
    device_code = Text(max_length=100)


class LoopbackCode(StrictSerializer):
    """The code that the browser brought, and the verifier of the challenge (RFC 7636, 4.5)."""

    code = Text(max_length=1024)
    code_verifier = Text(max_length=128)


class DeviceToken(serializers.Serializer[Any]):
    access_token = serializers.CharField()
    token_type = serializers.CharField()
    expires_in = serializers.IntegerField()


class DevicePending(serializers.Serializer[Any]):
    """No person has answered yet."""

    error = serializers.ChoiceField(choices=["authorization_pending"])


class _OpenView(AccessView):
    """Needs no sign-in: it is one. The use cases limit each address."""

    authentication_classes = ()
    permission_classes = ()
    pagination_class = None


class DeviceStartView(_OpenView):
    @extend_schema(summary="Begin a device sign-in", auth=[], request=DeviceRequest, responses=DeviceAnswer)
    def post(self, request: Request) -> Response:
        """Return a code for the client and one for its person, who enters it on the page of the address."""
        name = self.given(DeviceRequest)["client_name"]
        started = device.start(name=name, address=address_of(plain_request(request)))
        return Response(
            {
                "device_code": started.device_code,
                "user_code": started.row.shown_code,
                "verification_uri": request.build_absolute_uri(reverse("device")),
                "expires_in": int(device.LIFETIME.total_seconds()),
                "interval": device.INTERVAL,
            },
            headers={"Cache-Control": "no-store"},
        )


class DeviceTokenView(_OpenView):
    @extend_schema(
        summary="Fetch the token of a device sign-in",
        auth=[],
        request=DeviceCode,
        responses={200: DeviceToken, 202: DevicePending},
    )
    def post(self, request: Request) -> Response:
        """Return the personal token once the person has approved; 202 until then, 403 if they denied."""
        code = self.given(DeviceCode)["device_code"]
        issued = device.redeem(device_code=code, address=address_of(plain_request(request)))
        if issued is None:
            return Response({"error": "authorization_pending"}, status=status.HTTP_202_ACCEPTED)
        return _token(*issued)


class LoopbackTokenView(_OpenView):
    @extend_schema(
        summary="Fetch the token of a loopback sign-in", auth=[], request=LoopbackCode, responses=DeviceToken
    )
    def post(self, request: Request) -> Response:
        """Return the personal token of a code, once and within a minute."""
        body = self.given(LoopbackCode)
        address = address_of(plain_request(request))
        return _token(*loopback.redeem(code=body["code"], verifier=body["code_verifier"], address=address))


def _token(text: str, token: PersonalToken) -> Response:
    seconds_left = int((token.expires_at - timezone.now()).total_seconds())
    return Response(
        {"access_token": text, "token_type": "Bearer", "expires_in": max(seconds_left, 0)},
        headers={"Cache-Control": "no-store"},
    )
