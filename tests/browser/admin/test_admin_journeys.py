"""What operators come to do in the Django admin, without leaving it; each journey ends with its result."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hvac
import pytest
from django.test import Client
from django.urls import reverse
from playwright.sync_api import expect
from pytest_django import Settings

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app import operator_jobs
from environments_app.models import (
    Environment,
    GroupMember,
    JobState,
    Membership,
    ServiceToken,
    Session,
    User,
)
from environments_app.tests.cast import PASSWORD, Cast
from operations_app.backup import requests as backup_requests
from secrets_app.key_operations import jobs as key_jobs
from secrets_app.models import DataKey, KeyJobKind, Secret
from secrets_app.services import read
from secrets_app.tests.keys.conftest import REGION, forget_process, kms_client
from sync_app.models import Rotation, Run
from sync_app.rotation.execution import runner as rotation_runner
from sync_app.rotators.postgresql.tests.world import PostgreSqlWorld
from sync_app.runs import runner
from sync_app.targets import service as targets
from sync_app.tests.rotation.making import made_policy, made_secret
from tests.browser.admin.operator import Operator
from tests.browser.visitor import Visitor
from tests.servers.fixtures import moto_url, openbao, postgresql

__all__ = ["kms_client", "moto_url", "openbao", "postgresql"]

Make = Callable[..., Secret]
Enter = Callable[..., Operator]
HANDS = pytest.mark.parametrize("by_keys", [False, True], ids=["desktop", "phone-by-keys"])


@pytest.fixture
def enter(visitor: Visitor, cast: Cast) -> Iterator[Enter]:
    """Open the admin for root, perhaps as a manager of development, who has never left it by the end."""
    entered: list[Operator] = []

    def at(*, by_keys: bool = False, manages: bool = False) -> Operator:
        if manages:
            Membership.objects.create(environment=cast.development, user=cast.root, role="manager")
        page = visitor.open("/admin/", user=cast.root, phone=by_keys)
        entered.append(Operator(page, by_keys=by_keys))
        return entered[-1]

    yield at
    assert [operator.strayed() for operator in entered] == [[] for _ in entered]


def _done(action: Action, name: str) -> AuditEvent:
    """Return the last event of an act on an object, which names the operator."""
    found = AuditEvent.objects.filter(action=action, object_name=name, outcome="allowed").latest("pk")
    assert found.actor_name == "root"
    return found


def _sign_in(username: str, password: str) -> int:
    return Client().post(reverse("sign-in"), {"username": username, "password": password}).status_code


@HANDS
def test_a_person_is_invited(enter: Enter, by_keys: bool) -> None:
    operator = enter(by_keys=by_keys)
    operator.list_of("environments_app/user")
    operator.act("invite")
    operator.fill(username="dora", email="dora@example.com")
    operator.choose(role="Auditor")
    operator.agree()
    password = operator.copied_once()

    assert User.objects.get(username="dora").role == "auditor"
    assert _sign_in("dora", password) == 302
    assert password not in _done(Action.USER_CREATE, "dora").details


def test_a_person_is_unlocked(enter: Enter) -> None:
    answers = [_sign_in("alice", "wrong") for _ in range(4)]
    assert answers[-1] == 429
    operator = enter()
    operator.follow("#content a[href*='failedsignins/?attention=locked']")
    operator.open("alice")
    operator.act("unlock")
    operator.agree()

    expect(operator.page.locator(".messagelist")).to_contain_text("Unlocked. (alice)")
    assert '"unlocked":true' in _done(Action.USER_CHANGE, "alice").details
    assert _sign_in("alice", PASSWORD) == 302


def test_a_person_is_offboarded(enter: Enter, cast: Cast, secret: Make) -> None:
    known, unknown = secret(name="payments/db"), secret(name="payments/never-read")
    read.reveal(actor=cast.principal(cast.erin), secret=known)
    Client().force_login(cast.erin, backend="environments_app.users.password_backend.LocalBackend")
    operator = enter()
    operator.list_of("environments_app/user")
    operator.open("erin")
    operator.act("offboard")
    asked = operator.row("erin")
    expect(asked).to_contain_text("1 of 1 secrets that they have seen are current.")
    expect(asked).to_contain_text("development/payments/db")
    operator.agree()
    expect(operator.page.locator(".messagelist")).to_contain_text("Marked as due: 1.")

    assert not User.objects.get(username="erin").is_active
    assert not Session.objects.filter(user=cast.erin).exists()
    assert Secret.objects.get(pk=known.pk).rotation_due_at
    assert Secret.objects.get(pk=unknown.pk).rotation_due_at is None
    assert '"marked":1' in _done(Action.USER_OFFBOARD, "erin").details


def test_a_team_is_given_an_environment(enter: Enter, cast: Cast) -> None:
    operator = enter()
    operator.list_of("environments_app/environment")
    operator.follow(".object-tools .addlink")
    operator.fill(name="staging", display_name="Staging")
    operator.follow("input[name=_save]")
    operator.list_of("auth/group")
    operator.follow(".object-tools .addlink")
    operator.fill(name="payments team")
    operator.follow("input[name=_save]")
    operator.list_of("environments_app/user")
    operator.on_each("bob", "charlie", act="add_to_group")
    operator.choose(group="payments team")
    operator.agree()
    expect(operator.page.locator(".act-text")).to_have_text("2 of 2 done.")
    operator.list_of("auth/group")
    operator.open("payments team")
    operator.act("grant")
    operator.choose(environment="staging", role="Editor")
    operator.agree()

    expect(operator.page.locator(".messagelist")).to_contain_text("Access granted. (payments team)")
    staging = Environment.objects.get(name="staging")
    assert {member.user.username for member in GroupMember.objects.select_related("user")} == {
        "bob",
        "charlie",
    }
    assert Membership.objects.get(environment=staging, group__isnull=False).role == "editor"
    _done(Action.ENVIRONMENT_CREATE, "staging")
    assert cast.principal(cast.charlie).grants


@HANDS
def test_a_token_is_issued_and_rotated(
    enter: Enter, cast: Cast, secret: Make, site: str, by_keys: bool
) -> None:
    stored = secret(name="app/key", value="v-of-the-app")
    operator = enter(by_keys=by_keys)

    def read_with(token: str) -> int:
        path = f"{site}/api/environments/development/secrets/{stored.name}"
        return operator.page.request.get(path, headers={"Authorization": f"Bearer {token}"}).status

    operator.list_of("environments_app/servicetoken")
    operator.act("issue")
    operator.fill(name="ci")
    operator.choose(environment="development", role="Reader")
    operator.agree()
    first = operator.copied_once()
    assert read_with(first) == 200
    operator.follow("#content a.button")
    operator.follow("#result_list tbody th a")
    operator.act("rotate")
    operator.fill(overlap_hours="0")
    operator.agree()
    second = operator.copied_once()

    assert (read_with(first), read_with(second)) == (401, 200)
    assert ServiceToken.objects.filter(name="ci").count() == 2
    assert not {first, second} & set(_done(Action.TOKEN_ISSUE, "ci").details.split('"'))


@pytest.fixture
def vault(openbao: tuple[str, str], settings: Settings) -> Iterator[hvac.Client]:
    """Return a client of OpenBao, with a token of its own that tests may revoke."""
    settings.KEEPER_OUTBOUND_ALLOWED = ["127.0.0.0/8"]
    address, root = openbao
    given = hvac.Client(url=address, token=root).auth.token.create(policies=["root"], ttl="1h")
    client = hvac.Client(url=address, token=given["auth"]["client_token"])
    yield client
    client.adapter.close()


def _delivered(openbao: tuple[str, str], path: str) -> object:
    address, token = openbao
    client = hvac.Client(url=address, token=token)
    found = client.secrets.kv.v2.read_secret_version(
        path=path, mount_point="secret", raise_on_deleted_version=True
    )
    client.adapter.close()
    return found["data"]["data"]


def _work() -> None:
    """Carry out the newest run, as a worker would."""
    runner.execute(Run.objects.latest("pk").pk)


def test_a_vault_target_is_added_and_delivered_to(
    enter: Enter, secret: Make, vault: hvac.Client, openbao: tuple[str, str]
) -> None:
    secret(name="payments/db", value="delivered-1")
    operator = enter(manages=True)
    operator.list_of("sync_app/target")
    operator.follow(".object-tools .addlink")
    operator.follow(".act-kinds a[href$='/add_vault_kv2/']")
    operator.choose(environment="development")
    operator.fill(name="vault")
    operator.fill_in({"destination-address": vault.url, "destination-prefix": "admin-journey"})
    operator.fill_in({"credential-token": "wrong"})
    operator.agree()
    expect(operator.page.locator(".errorlist")).to_be_visible()
    expect(operator.page.locator("[name=credential-token]")).to_have_value("")
    operator.fill_in({"credential-token": vault.token})
    operator.agree()
    assert vault.token not in operator.page.content()
    operator.follow("#content a.button")
    operator.open("vault")
    operator.act("request_test")
    operator.agree()
    _work()
    operator.follow("#content a[href*='/sync_app/run/']")
    expect(operator.page.locator(".field-error")).to_contain_text("answered, at admin-journey.")
    operator.list_of("sync_app/target")
    operator.open("vault")
    operator.act("sync")
    operator.agree()
    _work()
    operator.list_of("sync_app/run")

    expect(operator.row("sync").first).to_contain_text("done")
    assert _delivered(openbao, "admin-journey/payments/db") == {"value": "delivered-1"}
    assert vault.token not in _done(Action.TARGET_CREATE, "vault").details


def test_a_failed_delivery_is_found_and_repaired(
    enter: Enter, cast: Cast, secret: Make, vault: hvac.Client, openbao: tuple[str, str]
) -> None:
    secret(name="payments/db", value="delivered-2")
    target = targets.create(
        actor=cast.principal(cast.alice),
        environment=cast.development,
        name="vault",
        backend="vault_kv2",
        destination={"address": vault.url, "prefix": "admin-repair"},
        credentials={"token": vault.token},
        interval_seconds=0,
    )
    vault.auth.token.revoke_self()
    runner.request_sync(actor=cast.principal(cast.alice), target=target)
    _work()
    operator = enter(manages=True)
    operator.follow("#content a[href*='target/?attention=failing']")
    operator.open("vault")
    expect(operator.page.locator(".field-last_error")).to_contain_text("token")
    operator.act("credentials")
    operator.fill_in({"credential-token": openbao[1]})
    operator.agree()
    operator.act("sync")
    operator.agree()
    _work()
    operator.page.goto("/admin/")

    expect(operator.page.locator("#content a[href*='target/?attention=failing']")).to_have_count(0)
    assert _delivered(openbao, "admin-repair/payments/db") == {"value": "delivered-2"}
    _done(Action.TARGET_CHANGE, "vault")


def test_a_database_password_is_rotated(
    enter: Enter, cast: Cast, postgresql: dict[str, str], settings: Settings
) -> None:
    settings.KEEPER_OUTBOUND_ALLOWED = ["127.0.0.0/8"]
    world = PostgreSqlWorld(postgresql)
    stored = made_secret(cast, world, name="app/db")
    made_policy(cast, world, secret=stored)
    operator = enter(manages=True)
    operator.list_of("sync_app/rotationpolicy")
    operator.open("app/db")
    operator.act("dry_run")
    operator.agree()
    expect(operator.row("development/app/db")).to_contain_text("OK")
    operator.follow("#content a.button")
    operator.act("rotate")
    operator.fill(reason="a laptop was lost")
    operator.agree()
    rotation_runner.execute(Rotation.objects.latest("pk").pk)
    operator.list_of("sync_app/rotation")

    expect(operator.row("app/db")).to_contain_text("overlapping")
    stored.refresh_from_db()
    value = read.reveal(actor=cast.principal(cast.bob), secret=stored).value
    assert value != world.current
    assert world.works(value)
    assert "a laptop was lost" in _done(Action.ROTATION_RUN, "app/db").details


@pytest.fixture
def kms_keys(kms_client: Any, moto_url: str, settings: Settings) -> Iterator[tuple[str, str]]:
    """Return two keys of KMS; Keeper is configured for the first."""
    first, second = (kms_client.create_key()["KeyMetadata"]["Arn"] for _ in range(2))
    settings.KEY_MANAGEMENT_BACKEND, settings.KMS_KEY_ID = "kms", first
    settings.AWS_REGION, settings.AWS_ENDPOINT_URL_KMS = REGION, moto_url
    forget_process()
    yield first, second
    forget_process()


def test_the_kms_key_is_rotated(kms_keys: tuple[str, str], enter: Enter, cast: Cast, secret: Make) -> None:
    first, second = kms_keys
    stored = secret(name="app/key", value="sealed-by-kms")
    wrapped = DataKey.objects.filter(environment=cast.development, active=True)
    assert wrapped.get().key_uri.endswith(first)
    operator = enter()
    operator.list_of("environments_app/environment")
    operator.open("development")
    operator.fill(kms_key_alias=second)
    operator.follow("input[name=_save]")
    operator.list_of("keys")
    operator.choose(kind=KeyJobKind.REWRAP.label, environment="development")
    operator.follow("#content form[method=get] input[type=submit]")
    operator.agree()
    key_jobs.run()

    # The page of a job loads itself again until it has ended.
    expect(operator.page.locator("#state-title")).to_have_text("Done")
    assert wrapped.get().key_uri.endswith(second)
    forget_process()
    assert read.reveal(actor=cast.principal(cast.bob), secret=stored).value == "sealed-by-kms"
    assert AuditEvent.objects.filter(action=Action.DATA_KEY_ROTATE, actor_name="root").exists()


def test_who_read_a_secret_last_week_is_found(enter: Enter, cast: Cast, secret: Make) -> None:
    stored = secret(name="payments/db")
    read.reveal_environment(actor=cast.principal(cast.bob), environment=cast.development)
    read.reveal(actor=cast.principal(cast.bob), secret=stored)
    read.reveal(actor=cast.principal(cast.erin), secret=secret(name="payments/other"))
    operator = enter()
    operator.list_of("secrets_app/secret")
    operator.open("payments/db")
    operator.act("readers")
    operator.choose(days="Last 7 days")
    operator.agree()
    found = operator.row("development/payments/db")

    expect(found).to_contain_text("bob (user): 2 times, v1")
    expect(found).not_to_contain_text("erin")
    assert AuditEvent.objects.filter(action=Action.TRAIL_VIEW, actor_name="root").exists()
    operator.follow("#content a.button")
    operator.follow(".object-tools a.historylink")
    operator.filter("period", "7d")
    # One event of its own, and one of an export that has it among others.
    expect(operator.row("bob")).to_have_count(2)
    expect(operator.row("erin")).to_have_count(0)


def test_the_audit_log_is_proven(enter: Enter, cast: Cast, secret: Make) -> None:
    read.reveal(actor=cast.principal(cast.bob), secret=secret(name="payments/db"))
    operator = enter()

    def verify() -> None:
        operator.list_of("audit")
        operator.follow(".tabs a[href='?tab=verification']")
        operator.follow("#verification button[value=verify_new]")
        operator_jobs.run()

    verify()
    expect(operator.page.locator("#state-title")).to_have_text("Done")
    verified = AuditEvent.objects.filter(action=Action.TRAIL_VERIFY, actor_name="root")
    assert verified.latest("pk").outcome == "allowed"
    # As somebody with SQL would hide who read it.
    AuditEvent._base_manager.filter(action=Action.SECRET_REVEAL).update(actor_name="erin")
    verify()
    expect(operator.page.locator("#state-title")).to_have_text(JobState.PROBLEMS.label.capitalize())
    assert verified.latest("pk").outcome == "failed"


def test_a_backup_is_taken_and_verified(
    enter: Enter, secret: Make, settings: Settings, tmp_path: Path
) -> None:
    settings.KEEPER_BACKUP_DIR = str(tmp_path / "backups")
    settings.KEEPER_DATA_DIR = tmp_path / "data"
    secret(name="payments/db")
    operator = enter()
    operator.page.goto(f"{operator.page.url.partition('/admin')[0]}/backups")
    operator.follow("main .page-actions button")
    backup_requests.run()
    operator.page.reload()
    operator.follow("main button[name=backup]")
    backup_requests.run()
    operator.page.reload()

    expect(operator.page.get_by_role("table")).to_contain_text("healthy")
    assert len(list(Path(settings.KEEPER_BACKUP_DIR).glob("*"))) > 0
    assert AuditEvent.objects.filter(action=Action.BACKUP_VERIFY, actor_name="root").exists()
