"""The reference of the API: in Keeper's frame for a signed-in person, on its own for anyone else."""

from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularSwaggerSplitView
from rest_framework.request import Request
from rest_framework.response import Response

from environments_app.authentication.drf import plain_request


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
