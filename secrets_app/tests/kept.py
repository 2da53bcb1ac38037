"""Secrets that tests keep, and the ways to them, in a few words."""

from typing import Any

from django.test import Client

from environments_app.models import Environment, User
from environments_app.tests.cast import Cast
from secrets_app.models import Secret, SecretVersion
from secrets_app.services import write
from secrets_app.types.registry import SecretType

# Distinct enough to be found wherever it should not be.
VALUE = "canary-4d1f-value"


def keep(
    cast: Cast,
    name: str = "payments/key",
    value: str = VALUE,
    *,
    environment: Environment | None = None,
    actor: User | None = None,
    secret_type: SecretType = SecretType.TEXT,
    **metadata: Any,
) -> Secret:
    """Store a secret, by default alice's text in development."""
    return write.create(
        actor=cast.principal(actor or cast.alice),
        environment=environment or cast.development,
        name=name,
        secret_type=secret_type,
        value=value,
        **metadata,
    )


def change(cast: Cast, secret: Secret, value: str, **options: Any) -> Secret:
    """Give a stored secret another value, as alice."""
    stored = Secret.objects.select_related("environment").get(pk=secret.pk)
    return write.update(actor=cast.principal(cast.alice), secret=stored, value=value, **options)


def version(secret: Secret, number: int = 1) -> SecretVersion:
    """Return a stored version."""
    return SecretVersion.objects.select_related("secret__environment").get(secret_id=secret.pk, number=number)


def send(client: Client, method: str, path: str, body: Any = None, **headers: str) -> Any:
    """Send a JSON body and return the response."""
    options: dict[str, Any] = {"headers": {name.replace("_", "-"): text for name, text in headers.items()}}
    if body is not None:
        options |= {"data": body, "content_type": "application/json"}
    return getattr(client, method.lower())(path, **options)
