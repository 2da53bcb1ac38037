"""Trying targets, against the real OpenBao and moto: what is missing is named, nothing is changed."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from pytest_django import Settings

from audit_app.models import AuditEvent
from audit_app.tests.trail import take_away
from environments_app.errors import Forbidden, Tampered
from environments_app.models import Alert
from environments_app.tests.cast import Cast
from sync_app.api.target_serializers import DraftTest
from sync_app.backends.aws.tests.world import AwsWorld
from sync_app.backends.vault.tests.world import VaultWorld
from sync_app.errors import BadDestination
from sync_app.models import Run, Target
from sync_app.models.run import RunState
from sync_app.runs import runner
from sync_app.targets import connection_check
from sync_app.tests.making import made
from sync_app.tests.shown import make_target
from sync_app.tests.worlds import World
from tests.aws_strict.faults import Fault

pytestmark = pytest.mark.django_db
Bearer = Callable[..., Client]


def draft(cast: Cast, world: World, **changes: Any) -> connection_check.Report:
    given: dict[str, Any] = {
        "actor": cast.principal(cast.alice),
        "environment": cast.development,
        "backend": world.kind,
        "destination": world.destination,
        "credentials": world.credentials,
        "direction": "push",
        "deletion": "never",
    } | changes
    return connection_check.test_draft(**given)


@pytest.mark.every_database
def test_a_target_that_may_do_all_is_well(cast: Cast, world: World) -> None:
    target = made(cast, world, deletion="recoverable")
    report = connection_check.test(actor=cast.principal(cast.alice), target=target)
    assert report.ok
    assert report.problem == ""
    assert (report.system, report.place) == (target.system, world.prefix)
    assert list(world.backend().list_secrets()) == []
    assert AuditEvent.objects.filter(action="target.test", outcome="allowed").count() == 1


def test_what_cannot_be_proven_in_aws_is_said(cast: Cast, aws: AwsWorld) -> None:
    report = draft(cast, aws, destination=aws.destination | {"kms_key_id": "alias/sync"})
    assert [each.name for each in report.unproven] == [
        "secretsmanager:CreateSecret",
        "kms:GenerateDataKey",
        "kms:Decrypt",
    ]


@pytest.mark.parametrize(
    "operation", ["DescribeSecret", "GetSecretValue", "PutSecretValue", "UpdateSecretVersionStage",
                  "TagResource", "UntagResource", "RestoreSecret", "DeleteSecret"],
)  # fmt: skip
def test_a_permission_that_is_missing_in_aws_is_named(cast: Cast, aws: AwsWorld, operation: str) -> None:
    aws.plan.fail(operation, Fault.ACCESS_DENIED)
    report = draft(cast, aws, deletion="recoverable")
    assert not report.ok
    assert [each.name for each in report.missing] == [f"secretsmanager:{operation}"]


POLICY = """
path "secret/data/{0}/*" {{ capabilities = [{1}] }}
path "secret/metadata/{0}/*" {{ capabilities = ["create", "update", "read", "list"] }}
path "secret/undelete/{0}/*" {{ capabilities = ["update"] }}
"""


def token(vault: VaultWorld, policy: str, *, default: bool = True) -> dict[str, str]:
    vault.client.sys.create_or_update_policy(vault.prefix, policy)
    reply = vault.client.auth.token.create(policies=[vault.prefix], no_default_policy=not default)
    return {"token": reply["auth"]["client_token"]}


def test_a_worker_tests_and_leaves_the_state_of_the_target(cast: Cast, vault: VaultWorld) -> None:
    actor = cast.principal(cast.alice)
    credentials = token(vault, POLICY.format(vault.prefix, '"read", "create", "update"'))
    target = made(cast, vault, credentials=credentials)
    run = runner.execute(runner.request_test(actor=actor, target=target).pk)
    assert run is not None
    assert (run.state, f"{target.system} answered" in run.error) == (RunState.DONE, True)
    vault.client.sys.create_or_update_policy(vault.prefix, POLICY.format(vault.prefix, '"read"'))

    failed = runner.execute(runner.request_test(actor=actor, target=target).pk)

    assert failed is not None
    assert failed.state == RunState.FAILED
    assert f"Missing permission: update on secret/data/{vault.prefix}/*" in failed.error
    target.refresh_from_db()
    assert (target.last_error, target.failures, target.last_success_at) == ("", 0, None)
    assert not Alert.objects.exists()


def test_a_capability_that_is_missing_in_vault_is_named(cast: Cast, vault: VaultWorld) -> None:
    credentials = token(vault, POLICY.format(vault.prefix, '"read", "create"'))
    report = draft(cast, vault, credentials=credentials)
    assert [each.name for each in report.missing] == [f"update on secret/data/{vault.prefix}/*"]


def test_only_what_the_rules_need_is_missing(cast: Cast, vault: VaultWorld) -> None:
    credentials = token(vault, POLICY.format(vault.prefix, '"read"'))
    assert draft(cast, vault, credentials=credentials, direction="pull").ok
    assert [each.name for each in draft(cast, vault, credentials=credentials).missing] == [
        f"create on secret/data/{vault.prefix}/*",
        f"update on secret/data/{vault.prefix}/*",
    ]
    deleting = draft(cast, vault, credentials=credentials, deletion="recoverable").missing
    assert f"update on secret/delete/{vault.prefix}/*" in [each.name for each in deleting]


@pytest.mark.parametrize(
    ("page", "mount", "prefix"), [("deployment.md", "kv", "prod"), ("sync.md", "secret", "team")]
)
def test_the_policy_that_the_docs_give_lacks_nothing(
    cast: Cast, vault: VaultWorld, page: str, mount: str, prefix: str
) -> None:
    text = (settings.BASE_DIR / "docs" / page).read_text()
    policy = text.split("```hcl\n")[1].split("```")[0]
    policy = policy.replace(f'"{mount}/', '"secret/').replace(f"/{prefix}/*", f"/{vault.prefix}/*")
    report = draft(cast, vault, credentials=token(vault, policy), deletion="recoverable")
    assert (report.problem, report.missing, report.unproven) == ("", [], [])
    assert {str(each.grant) for each in report.permissions} == {"granted"}


def test_a_token_that_may_not_ask_about_itself_proves_nothing(cast: Cast, vault: VaultWorld) -> None:
    policy = (
        POLICY.format(vault.prefix, '"read"')
        + 'path "sys/internal/ui/mounts/secret" { capabilities = ["read"] }'
        + 'path "auth/token/lookup-self" { capabilities = ["read"] }'
    )
    report = draft(cast, vault, credentials=token(vault, policy, default=False))
    assert report.missing == []
    assert "sys/capabilities-self" in report.unproven[0].note


def test_what_stops_the_test_is_told(
    cast: Cast, aws: AwsWorld, vault: VaultWorld, settings: Settings
) -> None:
    assert "sign in again" in draft(cast, vault, credentials={"token": "hvs.wrong"}).problem
    aws.plan.fail("ListSecrets", Fault.ACCESS_DENIED)
    assert "secretsmanager:ListSecrets" in draft(cast, aws).problem
    made(cast, vault)
    assert "target first of development" in draft(cast, vault).problem
    settings.KEEPER_OUTBOUND_ALLOWED = []
    assert "KEEPER_OUTBOUND_ALLOWED" in draft(cast, vault).problem
    failed = AuditEvent.objects.filter(action="target.test", outcome="failed")
    assert failed.count() == 4
    assert "hvs.wrong" not in "".join(failed.values_list("details", flat=True))


def test_a_target_behind_which_another_system_stands_is_told(
    cast: Cast, vault: VaultWorld, second_vault: tuple[str, str]
) -> None:
    """As if the address led elsewhere by now: the row is genuine, the cluster is not the one it names."""
    target = made(cast, vault)
    take_away(Target.objects.filter(pk=target.pk))
    target.pk, target.system = None, "vault/another/secret"
    target.save(force_insert=True)
    report = connection_check.test(actor=cast.principal(cast.alice), target=target)
    assert "made for vault/another/secret" in report.problem


def test_a_wrong_field_is_told_as_such(cast: Cast, vault: VaultWorld) -> None:
    with pytest.raises(BadDestination) as caught:
        draft(cast, vault, destination={"address": "ftp://x"})
    assert caught.value.field == "address"


@pytest.mark.parametrize("who", ["erin", "root"])
def test_only_managers_test(cast: Cast, vault: VaultWorld, who: str) -> None:
    actor, target = cast.principal(getattr(cast, who)), made(cast, vault)
    with pytest.raises(Forbidden):
        draft(cast, vault, actor=actor)
    with pytest.raises(Forbidden):
        connection_check.test(actor=actor, target=target)


def test_the_body_that_creates_a_target_tests_it_first(cast: Cast, vault: VaultWorld, bearer: Bearer) -> None:
    manager, path = bearer("manager", cast.development), "/api/environments/development/targets"
    body = {
        "name": "vault",
        "backend": vault.kind,
        "destination": vault.destination,
        "credentials": vault.credentials,
        "scope": "app",
        "conflict": "keeper_wins",
        "automatic": True,
        "interval_seconds": 300,
    }
    tested = manager.post(f"{path}/test", json.dumps(body), content_type="application/json")
    assert tested.status_code < 300, tested.json()
    assert not Target.objects.exists()
    assert manager.post(path, json.dumps(body), content_type="application/json").status_code == 201


def test_less_than_the_body_that_creates_a_target_suffices(vault: VaultWorld) -> None:
    least = {"backend": vault.kind, "destination": vault.destination, "credentials": vault.credentials}
    assert DraftTest(data=least).is_valid()
    assert not DraftTest(data={**least, "unheard_of": 1}).is_valid()


@pytest.mark.parametrize("ask", [runner.request_sync, runner.request_check, runner.request_test])
def test_nothing_is_asked_for_a_target_that_sql_changed(cast: Cast, ask: Callable[..., Run]) -> None:
    target = make_target(cast.development)
    Target.objects.filter(pk=target.pk).update(place="elsewhere")
    stored = Target.objects.select_related("environment").get(pk=target.pk)
    with pytest.raises(Tampered):
        ask(actor=cast.principal(cast.alice), target=stored)
    assert not Run.objects.exists()
