"""Remembers which environment a page is inside, so that its frame can wear the colour."""

from django.http import HttpRequest

from environments_app.models import Environment

_ATTRIBUTE = "current_environment"


def set_page_environment(request: HttpRequest, environment: Environment) -> None:
    """Mark the page of this request as inside an environment."""
    setattr(request, _ATTRIBUTE, environment)


def page_environment(request: HttpRequest) -> Environment | None:
    """Return the environment that the page is inside, if any."""
    environment: Environment | None = getattr(request, _ATTRIBUTE, None)
    return environment
