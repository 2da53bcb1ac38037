"""The OpenAPI document, and its reference: framed for a signed-in person, on its own for anyone else."""

from functools import cache
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.request import Request
from rest_framework.response import Response

from environments_app.authentication.drf import plain_request


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
    """Swagger UI over the schema of this installation."""

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response | HttpResponse:
        """Show the reference, or give its script."""
        answer: Response = super().get(request, *args, **kwargs)  # type: ignore[no-untyped-call]  # the package has no types
        plain = plain_request(request)
        if "script" in request.GET or not getattr(plain.user, "is_authenticated", False):
            return answer
        return render(plain, "keeper_project/api_reference.html", answer.data)
