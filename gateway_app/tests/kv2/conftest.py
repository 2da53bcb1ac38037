"""Tokens of each role, and a client of the protocol."""

from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from django.test import Client

from environments_app.tests.cast import Cast
from environments_app.tokens.service import issue
from gateway_app.tests.kv2.recorded_requests import compared

# The tests whose client has a table of its requests, and whether it makes the same ones each time: what an
# agent asks depends on the moment.
RECORDED: Final = {
    "test_the_cli_reads_lists_writes_deletes_and_restores": ("bao kv", True),
    "test_the_cli_signs_in_and_asks_what_it_may": ("bao login, token and status", True),
    "test_the_cli_signs_in_and_reads": ("bao write auth/jwt/login and auth/kubernetes/login", False),
    "test_hvac_reads_lists_writes_and_deletes": ("hvac", True),
    "test_node_vault_reads_lists_writes_and_deletes": ("node-vault", True),
    "test_the_agent_renders_a_template_and_again_when_the_value_changes": ("bao agent, AppRole", False),
    "test_the_agent_signs_in_with_a_jwt_and_renders_a_template": ("bao agent, JWT and Kubernetes", False),
    "test_the_agent_restarts_a_program_when_a_value_changes": ("bao agent, exec", False),
    "test_the_proxy_adds_the_token_that_it_signed_in_for": ("bao proxy", False),
}
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


@pytest.fixture(autouse=True)
def requests_of_a_client(request: pytest.FixtureRequest) -> Iterator[None]:
    """Compare what a client asks with its table."""
    client, whole = RECORDED.get(getattr(request.node, "originalname", ""), ("", False))
    if not client:
        yield
        return
    with compared(client, whole=whole):
        yield


@pytest.fixture
def ask(cast: Cast) -> Ask:
    """Send a request as an editor of `development`, or by `token`; its body is sent without a media type."""
    own = token(cast)

    def send(method: str, path: str, body: bytes = b"", *, token: str = own, **headers: str) -> Any:
        given: dict[str, Any] = {"X-Vault-Token": token} if token else {}
        given |= {name.replace("_", "-"): text for name, text in headers.items()}
        media_type = "application/merge-patch+json" if method == "PATCH" else ""
        return Client().generic(method, f"/vault/v1/{path}", body, content_type=media_type, headers=given)

    return send
