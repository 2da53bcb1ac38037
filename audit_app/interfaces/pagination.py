"""The paginator that all lists share, injected by REST_FRAMEWORK["DEFAULT_PAGINATION_CLASS"]."""

from typing import Any, Protocol, cast

from django.http import HttpRequest
from rest_framework.settings import api_settings


class ListPaginator(Protocol):
    """What a page of HTML asks of the paginator of the API."""

    def paginate_queryset(self, queryset: Any, request: HttpRequest, view: Any = None) -> list[Any]:
        """Return the rows of the page that the request's query names."""
        ...

    def get_next_link(self) -> str | None:
        """Return the address of the page after this one, or None."""
        ...

    def get_previous_link(self) -> str | None:
        """Return the address of the page before this one, or None."""
        ...


def list_paginator() -> ListPaginator:
    """Return a new paginator for one page."""
    return cast("type[ListPaginator]", api_settings.DEFAULT_PAGINATION_CLASS)()
