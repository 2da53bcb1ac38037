"""Chooses how an answer of the API is written."""

from collections.abc import Iterable
from typing import Any, Final

from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

_ANY: Final = "*/*"


class Negotiation(DefaultContentNegotiation):
    """Takes the first renderer at once for a client that takes anything, as most programs do."""

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> Any:
        """Return a renderer and its media type. Raises NotAcceptable."""
        meta, renderers = request.META, [*renderers]
        if meta.get("HTTP_ACCEPT", _ANY) == _ANY and not meta.get("QUERY_STRING") and not format_suffix:
            return renderers[0], renderers[0].media_type
        return super().select_renderer(request, renderers, format_suffix)
