"""What a client asks before it signs in: the server's version, its API level and its features."""

from typing import Any, Final

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from keeper_project.ui.navigation import installed_version

# Raised when a client of the level before could misread an answer; features need no new level.
API_LEVEL: Final = 1
# What a client may use if it is named here, in the order in which it was added.
FEATURES: Final = (
    "export",
    "import",
    "conditional-read",
    "kv2",
    "personal-tokens",
    "device-sign-in",
    "offline",
    "loopback-sign-in",
)


class VersionAnswer(serializers.Serializer[Any]):
    """The server's version, as clients negotiate by it."""

    version = serializers.CharField(help_text="The version of Keeper, or `development`.")
    api_level = serializers.IntegerField(help_text="A client refuses to work with a level it does not know.")
    features = serializers.ListField(child=serializers.CharField())


class ServerVersionView(APIView):
    """The version of the server."""

    # A token that has ended must not hide which server answers.
    authentication_classes = ()
    permission_classes = ()

    @extend_schema(summary="Show the server's version", auth=[], responses=VersionAnswer)
    def get(self, request: Request) -> Response:
        """Return version, API level and features; needs no sign-in."""
        return Response({"version": installed_version(), "api_level": API_LEVEL, "features": FEATURES})
