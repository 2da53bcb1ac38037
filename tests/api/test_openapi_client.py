"""A client that a generator makes of the OpenAPI document reads every refusal as a typed problem."""

import importlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import httpx
import pytest
from django.core.management import call_command
from pytest_django.live_server_helper import LiveServer

from environments_app.authorization.principals import system_principal
from environments_app.tests.cast import Cast
from environments_app.tokens.service import issue
from secrets_app.tests.kept import keep

NAME = "keeper_client_of_a_test"


@pytest.fixture(scope="module")
def client_package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], ModuleType]]:
    """Generate the client once; return a function that imports one of its modules."""
    folder = tmp_path_factory.mktemp("client")
    document = folder / "openapi.json"
    options = ["--api-version", "1", "--format", "openapi-json", "--file", str(document)]
    call_command("spectacular", *options)
    (folder / "config.yaml").write_text(
        f"package_name_override: {NAME}\npost_hooks: []\n"
        "content_type_overrides:\n  application/x-amz-json-1.1: application/json\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "openapi_python_client", "generate", "--path", str(document), "--meta", "none",
         "--output-path", str(folder / NAME), "--config", str(folder / "config.yaml"), "--fail-on-warning"],
        capture_output=True, text=True, check=False, cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    sys.path.insert(0, str(folder))
    yield lambda name: importlib.import_module(f"{NAME}.{name}")
    sys.path.remove(str(folder))


@pytest.fixture
def call(
    client_package: Callable[[str], ModuleType], cast: Cast, live_server: LiveServer
) -> Callable[..., Any]:
    """Call an operation of the generated client as a program of a role, and return what it answers."""

    def ask(operation: str, *, role: str = "editor", **arguments: Any) -> Any:
        _, token = issue(
            actor=system_principal(is_admin=True), environment=cast.development, role=role, name=role
        )
        client = client_package("client").AuthenticatedClient(
            base_url=live_server.url, token=token, timeout=httpx.Timeout(60)
        )
        with client as opened:
            return client_package(f"api.{operation}").sync_detailed(client=opened, **arguments)

    return ask


@pytest.mark.django_db(transaction=True)
def test_refusals_are_typed_problems(
    client_package: Callable[[str], ModuleType], call: Callable[..., Any], cast: Cast
) -> None:
    models = client_package("models")
    secret = keep(cast, "db/password")
    new = {"name": "db/password", "secret_type": "TEXT", "value": "v", "environment": "development"}
    wanted = models.NewSecretDocumentRequest.from_dict(new)
    change = models.SecretChangeRequest.from_dict({"owner": "team"})
    bad = models.NewSecretDocumentRequest.from_dict({**new, "name": "/"})
    answers = {
        403: call("secrets.secrets_create", role="reader", body=wanted),
        404: call("secrets.secrets_retrieve", id=987654),
        409: call("secrets.secrets_create", role="manager", body=wanted),
        412: call("secrets.secrets_update", id=secret.pk, body=change, if_match='"1.0"'),
        400: call("secrets.secrets_create", body=bad),
    }
    for status, answer in answers.items():
        assert answer.status_code == status
        assert isinstance(answer.parsed, models.Problem)
        assert (answer.parsed.status, bool(answer.parsed.title), bool(answer.parsed.detail)) == (
            status,
            True,
            True,
        )
    (fault,) = answers[400].parsed.errors
    assert (fault.field, bool(fault.reason)) == ("name", True)
