"""Default targets, against the real OpenBao and moto: what makes them, what does not stop a start."""

import json
import logging
from io import StringIO

import pytest
from django.core.management import call_command
from pytest_django import Settings

from audit_app.models import AuditEvent
from environments_app.tests.cast import Cast
from sync_app.backends.aws.tests.world import REGION, AwsWorld
from sync_app.backends.vault.tests.world import VaultWorld
from sync_app.models import Target
from sync_app.targets import default_targets
from sync_app.targets.credentials import open_backend
from sync_app.targets.default_targets import Attempt, create_missing

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nothing_is_set(settings: Settings) -> None:
    settings.KEEPER_DEFAULT_TARGET_ENVIRONMENT = "development"
    settings.VAULT_URL = settings.VAULT_TOKEN = settings.AWS_REGION = ""
    settings.AWS_ACCESS_KEY_ID = settings.AWS_SECRET_ACCESS_KEY = settings.AWS_SESSION_TOKEN = ""


@pytest.fixture
def by_vault(settings: Settings, vault: VaultWorld) -> VaultWorld:
    settings.VAULT_URL, settings.VAULT_TOKEN, settings.VAULT_MOUNT_POINT = vault.url, vault.token, "secret"
    return vault


@pytest.fixture
def by_aws(settings: Settings, aws: AwsWorld) -> AwsWorld:
    settings.AWS_REGION = REGION
    settings.AWS_ACCESS_KEY_ID = settings.AWS_SECRET_ACCESS_KEY = "testing"
    settings.AWS_ENDPOINT_URL_SECRETS_MANAGER = settings.AWS_ENDPOINT_URL_STS = aws.strict_url
    return aws


def command(*arguments: str) -> tuple[int, str]:
    out = StringIO()
    try:
        call_command("sync", "default-targets", *arguments, stdout=out)
    except SystemExit as error:
        return int(error.code or 0), out.getvalue()
    return 0, out.getvalue()


@pytest.mark.every_database
def test_both_are_made_once_and_usable(cast: Cast, by_vault: VaultWorld, by_aws: AwsWorld) -> None:
    made = [Attempt(name=name, environment="development", created=True) for name in ("vault", "aws")]
    assert create_missing() == made
    for target in Target.objects.select_related("environment"):
        assert (target.environment, target.place) == (cast.development, "keeper/development")
        assert (target.direction, target.conflict, target.deletion) == ("push", "ask", "never")
        assert (target.automatic, target.interval_seconds, target.due_at) == (False, 0, None)
        with open_backend(actor=cast.principal(cast.alice), target=target) as backend:
            backend.check_connection()
    assert not any(attempt.created or attempt.problem for attempt in create_missing())
    assert Target.objects.count() == 2


@pytest.mark.usefixtures("cast")
def test_no_log_event_column_or_output_has_the_token(
    by_vault: VaultWorld, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        code, text = command()
    assert (code, text) == (0, "development/vault: made; plan it first\n")
    texts = [text, caplog.text, repr(list(default_targets.read_configured()))]
    texts += [str(row) for row in AuditEvent.objects.values_list("details", "object_name")]
    texts += [str(row) for row in Target.objects.values_list()]
    assert by_vault.token not in "".join(texts)


@pytest.mark.usefixtures("cast")
def test_a_refused_token_is_logged_and_can_be_repeated(
    by_vault: VaultWorld, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.VAULT_TOKEN = "hvs.hunter2"
    create_missing()
    assert not Target.objects.exists()
    assert "default target vault of development was not made" in caplog.text
    assert "keeper sync default-targets" in caplog.text
    assert "hunter2" not in caplog.text
    code, text = command("--format", "json")
    assert (code, json.loads(text)[0]["created"]) == (1, False)
    settings.VAULT_TOKEN = by_vault.token
    assert command()[0] == 0
    assert Target.objects.get().name == "vault"


@pytest.mark.usefixtures("cast", "by_vault")
def test_an_address_inside_names_the_setting_that_allows_it(settings: Settings) -> None:
    settings.KEEPER_OUTBOUND_ALLOWED = []
    (attempt,) = create_missing()
    assert "KEEPER_OUTBOUND_ALLOWED" in attempt.problem


@pytest.mark.usefixtures("cast", "by_aws")
def test_one_that_fails_leaves_the_other(settings: Settings) -> None:
    settings.VAULT_URL, settings.VAULT_TOKEN = "https://127.0.0.1:1", "token"
    vault, aws = create_missing()
    assert vault.problem
    assert aws.created


@pytest.mark.usefixtures("by_vault")
def test_another_environment_can_be_named(cast: Cast, settings: Settings) -> None:
    settings.KEEPER_DEFAULT_TARGET_ENVIRONMENT = cast.production.name
    create_missing()
    target = Target.objects.get()
    assert (target.environment, target.place) == (cast.production, f"keeper/{cast.production.name}")


@pytest.mark.usefixtures("cast", "by_vault")
def test_an_environment_that_is_not_there_is_said(settings: Settings) -> None:
    settings.KEEPER_DEFAULT_TARGET_ENVIRONMENT = "nowhere"
    (attempt,) = create_missing()
    assert "KEEPER_DEFAULT_TARGET_ENVIRONMENT" in attempt.problem


@pytest.mark.usefixtures("cast", "by_aws")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KEEPER_DEFAULT_TARGET_ENVIRONMENT", ""),
        ("AWS_SESSION_TOKEN", "ends within hours"),
        ("AWS_REGION", ""),
        ("AWS_SECRET_ACCESS_KEY", ""),
    ],
)
def test_what_is_not_described_is_not_made(settings: Settings, name: str, value: str) -> None:
    setattr(settings, name, value)
    code, text = command()
    assert code == 0
    assert text.startswith("No default target is described")
    assert not Target.objects.exists()
