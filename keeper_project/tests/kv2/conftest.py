"""Tokens of each role, and a client of the protocol."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from environments_app.tests.cast import Cast
from environments_app.tokens.service import issue

Ask = Callable[..., Any]


def token(cast: Cast, role: str = "editor", **options: Any) -> str:
    _, text = issue(
        actor=cast.principal(cast.alice),
        environment=cast.development,
        role=role,
        name=f"kv2-{role}",
        **options,
    )
    return text


@pytest.fixture
def ask(cast: Cast) -> Ask:
    """Send a request as an editor of `development`, or by `token`; its body is sent without a media type."""
    own = token(cast)

    def send(method: str, path: str, body: bytes = b"", *, token: str = own, **headers: str) -> Any:
        given: dict[str, Any] = {"X-Vault-Token": token} if token else {}
        given |= {name.replace("_", "-"): text for name, text in headers.items()}
        return Client().generic(method, f"/vault/v1/{path}", body, content_type="", headers=given)

    return send
