"""API of the project: the version, the OpenAPI document and its reference.

The version is what a client needs before it signs in: the server's version, its API level and its features.
The reference is framed for a signed-in person, and on its own for anyone else.
"""

from functools import cache
from typing import Any, Final

from django.http import HttpResponse
from django.shortcuts import render
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from environments_app.authentication.drf import plain_request
from operations_app.health.schema import installed_version


class ApiSchemaView(SpectacularAPIView):
    """The OpenAPI document of this installation, the same one for anyone who asks."""

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponse:
        """Answer in the form that is asked for."""
        renderer: Any = request.accepted_renderer
        return HttpResponse(
            _document(renderer.__class__),
            content_type=f"{renderer.media_type}; charset=utf-8",
            headers={"Content-Disposition": f'inline; filename="Keeper.{renderer.format}"'},
        )


@cache
def _document(form: Any) -> bytes:
    """Make the document, which takes a second, once a process and class of renderer."""
    generator: Any = SchemaGenerator
    return bytes(form().render(generator().get_schema(public=True), renderer_context={}))


class ApiReferenceView(SpectacularSwaggerSplitView):
    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response | HttpResponse:
        """Show the reference, or give its script."""
        answer: Response = super().get(request, *args, **kwargs)  # type: ignore[no-untyped-call]  # the package has no types
        plain = plain_request(request)
        if "script" in request.GET or not getattr(plain.user, "is_authenticated", False):
            return answer
        return render(plain, "keeper_project/api_reference.html", answer.data)


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
    "import-parts",
)


class VersionAnswer(serializers.Serializer[Any]):
    """The server's version, as clients negotiate by it."""

    version = serializers.CharField(help_text="The version of Keeper, or `development`.")
    api_level = serializers.IntegerField(help_text="A client refuses to work with a level it does not know.")
    features = serializers.ListField(child=serializers.CharField())


class ServerVersionView(APIView):
    # A token that has ended must not hide which server answers.
    authentication_classes = ()
    permission_classes = ()

    @extend_schema(summary="Show the server's version", auth=[], responses=VersionAnswer)
    def get(self, request: Request) -> Response:
        """Return version, API level and features; needs no sign-in."""
        return Response({"version": installed_version(), "api_level": API_LEVEL, "features": FEATURES})
