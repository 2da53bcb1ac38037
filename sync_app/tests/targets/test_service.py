"""Creating targets, against the real OpenBao and moto: who may, what is refused, what is kept."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.db import connection
from pytest_django import Settings

from audit_app.integrity.check_registry import run_checks
from audit_app.models import AuditEvent
from audit_app.tests.trail import take_away
from environments_app.authorization.policy import Grant, Principal
from environments_app.authorization.principals import system_principal
from environments_app.errors import Forbidden, InvalidField, Invisible, NameInUse, Tampered
from environments_app.models import Membership, Role
from environments_app.tests.cast import Cast
from secrets_app.errors import EnvelopeError
from sync_app.backends.aws.tests.world import AwsWorld
from sync_app.backends.vault.backend import VaultKv2
from sync_app.backends.vault.tests.world import VaultWorld
from sync_app.errors import (
    BadDestination,
    CredentialsRejected,
    DestinationTaken,
    MountMissing,
    PermissionMissing,
    TargetUnreachable,
)
from sync_app.models import Target
from sync_app.targets import credentials, destinations
from sync_app.targets import service as targets
from sync_app.targets.credentials import open_backend
from sync_app.targets.lookup import find_target, visible_targets
from sync_app.tests.making import made
from sync_app.tests.worlds import World
from tests.aws_strict.faults import Fault

pytestmark = pytest.mark.django_db


def find_or_none(actor: Principal, cast: Cast, pk: int) -> Target | None:
    try:
        return find_target(actor=actor, environment=cast.development, id=pk)
    except Invisible:
        return None


@pytest.mark.every_database
def test_a_target_is_made_and_its_backend_used(cast: Cast, world: World) -> None:
    target = made(cast, world, direction="push", automatic=True)
    stored = Target.objects.get(pk=target.pk)
    assert stored.is_authentic()
    assert stored.place == world.prefix
    with open_backend(actor=cast.principal(cast.erin), target=stored) as backend:
        assert list(backend.list_secrets()) == []
    actions = list(AuditEvent.objects.order_by("id").values_list("action", flat=True))
    assert actions[-2:] == ["target.create", "target.connect"]


def test_the_system_is_told_by_the_system_itself(cast: Cast, aws: AwsWorld, vault: VaultWorld) -> None:
    assert made(cast, aws).system == "aws/123456789012/eu-central-1"
    cluster = vault.client.sys.read_health_status(method="GET")["cluster_id"]
    assert made(cast, vault, name="second").system == f"vault/{cluster}/secret"


def test_credentials_are_in_no_event_and_no_column(cast: Cast, vault: VaultWorld) -> None:
    made(cast, vault)
    texts = [str(row) for row in AuditEvent.objects.values_list("details", "object_name")]
    texts += [str(row) for row in Target.objects.values_list()]
    assert vault.token not in "".join(texts)


@pytest.mark.parametrize("who", ["erin", "bob", "vera", "root"])
def test_only_managers_create(cast: Cast, world: World, who: str) -> None:
    with pytest.raises(Forbidden):
        made(cast, world, actor=cast.principal(getattr(cast, who)))
    assert AuditEvent.objects.filter(action="target.create", outcome="denied").exists()
    assert not Target.objects.exists()


def test_who_may_not_see_the_environment_finds_none(cast: Cast, world: World) -> None:
    with pytest.raises(Invisible):
        made(cast, world, actor=cast.principal(cast.charlie))


def test_a_manager_of_a_prefix_creates_none(cast: Cast, vault: VaultWorld) -> None:
    Membership.objects.create(
        environment=cast.development, user=cast.charlie, role=Role.MANAGER, prefix="team"
    )
    with pytest.raises(Forbidden):
        made(cast, vault, actor=cast.principal(cast.charlie), scope="team")


def test_an_editor_of_a_prefix_uses_the_targets_of_its_scope(cast: Cast, vault: VaultWorld) -> None:
    target = made(cast, vault, scope="team/a")
    for prefix, finds in {"team": True, "team/a": True, "team/b": False, "team/a/b": False}.items():
        take_away(Membership.objects.filter(user=cast.charlie))
        Membership.objects.create(
            environment=cast.development, user=cast.charlie, role=Role.EDITOR, prefix=prefix
        )
        charlie = cast.principal(cast.charlie)
        assert visible_targets(charlie).filter(pk=target.pk).exists() is finds
        found = find_or_none(charlie, cast, target.pk)
        assert (found == target) is finds


def test_scheduled_work_connects_within_the_scope_of_its_target(cast: Cast, vault: VaultWorld) -> None:
    target = made(cast, vault, scope="team")

    def system(prefix: str) -> Principal:
        grant = Grant(
            environment_id=cast.development.pk,
            environment_uuid=cast.development.uuid,
            environment_name="development",
            role=Role.EDITOR,
            prefix=prefix,
        )
        return system_principal(grants=(grant,))

    with open_backend(actor=system("team"), target=target) as backend:
        backend.check_connection()
    with pytest.raises(Invisible), open_backend(actor=system("others"), target=target):
        pytest.fail("it must not connect")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "Upper"),
        ("name", "a/b"),
        ("direction", "sideways"),
        ("interval_seconds", 5),
        ("interval_seconds", -1),
        ("budget_percent", 101),
        ("scope", "../x"),
        ("live", None),
        ("system", "mine"),
    ],
)
def test_rules_are_checked(cast: Cast, vault: VaultWorld, field: str, value: Any) -> None:
    with pytest.raises(InvalidField) as caught:
        made(cast, vault, **{field: value})
    assert caught.value.field in {field, "prefix"}
    assert not Target.objects.exists()


# --- Overlaps -----------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["{0}", "/{0}/", "{0}/below", "", "{upper}", "{upper}/below"], ids=str)
def test_one_destination_is_one_target_s(cast: Cast, world: World, prefix: str) -> None:
    made(cast, world)
    text = prefix.format(world.prefix, upper=world.prefix.upper())
    with pytest.raises(DestinationTaken, match="target first of development"):
        made(cast, world, name="second", destination=world.destination | {"prefix": text})


def test_neighbours_are_not_refused(cast: Cast, world: World) -> None:
    made(cast, world)
    beside = world.destination | {"prefix": world.prefix + "-b"}
    assert made(cast, world, name="second", destination=beside).pk


def test_a_target_that_one_may_not_see_is_not_named(cast: Cast, vault: VaultWorld) -> None:
    made(cast, vault, environment=cast.production)
    Membership.objects.create(environment=cast.development, user=cast.charlie, role=Role.MANAGER)
    with pytest.raises(DestinationTaken) as caught:
        made(cast, vault, actor=cast.principal(cast.charlie))
    assert "target first" not in str(caught.value)
    assert "production" not in str(caught.value)


def test_one_vault_under_other_spellings_and_names_is_found(cast: Cast, vault: VaultWorld) -> None:
    made(cast, vault)
    port = vault.url.rpartition(":")[2]
    for address in (f"http://LOCALHOST:{port}/", f"http://localhost.:{port}", f"HTTP://127.0.0.1:{port}//"):
        with pytest.raises(DestinationTaken):
            made(cast, vault, name="second", destination=vault.destination | {"address": address})


def test_the_namespace_root_is_the_empty_one(cast: Cast, vault: VaultWorld) -> None:
    named = vault.destination | {"namespace": "root/"}
    target = made(cast, vault, destination=named)
    assert target.system.endswith("/secret")
    assert "root" not in target.system
    with pytest.raises(DestinationTaken):
        made(cast, vault, name="second")


def test_a_target_that_was_made_for_the_namespace_root_goes_on_and_keeps_its_place(
    cast: Cast, vault: VaultWorld
) -> None:
    old = made_for_root(cast, vault)
    with open_backend(actor=cast.principal(cast.alice), target=old) as backend:
        backend.check_connection()
    with pytest.raises(DestinationTaken):
        made(cast, vault, name="second")


def test_two_targets_that_share_a_place_are_found(cast: Cast, vault: VaultWorld) -> None:
    assert not list(run_checks())
    old = made_for_root(cast, vault)
    old.live = None
    old.save()
    made(cast, vault, name="second")
    old.live = True
    old.save()
    (problem,) = [each for each in run_checks() if each.kind == "overlap"]
    assert "target first of development" in problem.message
    assert "disconnect" in problem.message


def made_for_root(cast: Cast, vault: VaultWorld) -> Target:
    """Return a target as earlier versions made it."""
    old = made(cast, vault)
    namespace = "root"
    old.destination |= {"namespace": namespace}
    old.system = old.system.replace("/secret", f"/{namespace}/secret")
    old.save()
    return old


def test_two_credentials_of_one_account_are_one_account(cast: Cast, aws: AwsWorld, moto_url: str) -> None:
    made(cast, aws)
    other = {"access_key_id": "another", "secret_access_key": "another"}
    with pytest.raises(DestinationTaken):
        made(cast, aws, name="second", credentials=other)
    with pytest.raises(DestinationTaken):
        made(cast, aws, name="second", destination=aws.destination | {"endpoint": moto_url})


def test_other_regions_are_other_places(cast: Cast, aws: AwsWorld) -> None:
    made(cast, aws)
    assert made(cast, aws, name="second", destination=aws.destination | {"region": "us-east-1"}).pk


def test_a_name_is_taken_once(cast: Cast, world: World) -> None:
    made(cast, world)
    with pytest.raises(NameInUse):
        made(cast, world, destination=world.destination | {"prefix": "elsewhere"})


def test_a_path_inside_a_mount_is_no_mount(cast: Cast, vault: VaultWorld) -> None:
    for mount in ("secret/data", "secret/metadata"):
        with pytest.raises(MountMissing):
            made(cast, vault, destination=vault.destination | {"mount": mount})


@pytest.mark.every_database
@pytest.mark.django_db(transaction=True)
def test_of_two_who_claim_a_place_at_once_one_gets_it(
    cast: Cast, vault: VaultWorld, transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have asked Vault and sealed before either stores anything."""
    actor, both_are_here = cast.principal(cast.alice), Barrier(2)
    seal = credentials.seal_credentials

    def seal_and_wait(*args: Any) -> None:
        seal(*args)
        both_are_here.wait(30)

    monkeypatch.setattr(targets, "seal_credentials", seal_and_wait)

    def claim(name: str) -> str:
        try:
            below = vault.destination | {"prefix": f"{vault.prefix}/{name}" if name == "b" else vault.prefix}
            made(cast, vault, name=name, actor=actor, destination=below)
        except DestinationTaken:
            return "taken"
        else:
            return "made"
        finally:
            connection.close()

    def count(_: int) -> int:
        try:
            return Target.objects.count()
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(claim, ["a", "b"])) == ["made", "taken"]
        assert list(pool.map(count, [0])) == [1]


# --- Connecting ---------------------------------------------------------------------------------


def test_addresses_inside_are_refused_unless_configured(cast: Cast, world: World, settings: Settings) -> None:
    settings.KEEPER_OUTBOUND_ALLOWED = []
    with pytest.raises(TargetUnreachable, match="KEEPER_OUTBOUND_ALLOWED"):
        made(cast, world)
    assert AuditEvent.objects.filter(action="target.create", outcome="failed").exists()


@pytest.mark.parametrize("address", ["http://169.254.169.254", "http://[::1]:8200", "http://10.0.0.1"])
def test_the_metadata_service_is_no_vault(cast: Cast, vault: VaultWorld, address: str) -> None:
    with pytest.raises(TargetUnreachable, match="KEEPER_OUTBOUND_ALLOWED"):
        made(cast, vault, destination=vault.destination | {"address": address})


def test_wrong_credentials_make_no_target(cast: Cast, aws: AwsWorld, vault: VaultWorld) -> None:
    with pytest.raises(CredentialsRejected):
        made(cast, vault, credentials={"token": "hvs.wrong"})
    aws.plan.fail("ListSecrets", Fault.ACCESS_DENIED)
    with pytest.raises(PermissionMissing, match="secretsmanager:ListSecrets"):
        made(cast, aws)
    assert not Target.objects.exists()


def test_half_a_key_and_the_machines_own_are_refused(
    cast: Cast, aws: AwsWorld, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for given in ({}, {"access_key_id": "a"}, {"secret_access_key": "b"}, {"session_token": "c"}):
        with pytest.raises(BadDestination):
            made(cast, aws, credentials=given)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "machine")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "machine")
    settings.KEEPER_SYNC_ALLOW_INSTANCE_CREDENTIALS = True
    assert made(cast, aws, credentials={}).pk


@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE sync_app_target SET destination = '{other}'",
        "UPDATE sync_app_target SET endpoint = 'https://vault.evil.example'",
        "UPDATE sync_app_target SET direction = 'both'",
        "UPDATE sync_app_target SET automatic = 1",
        "UPDATE sync_app_target SET place = ''",
    ],
)
def test_an_edited_row_does_nothing_and_is_reported(
    cast: Cast, vault: VaultWorld, sql: Callable[..., None], edit: str
) -> None:
    target = made(cast, vault)
    other = json.dumps(dict(target.destination) | {"address": "https://vault.evil.example"})
    sql(edit.replace("{other}", other).replace("%", "%%"))
    with (
        pytest.raises(Tampered),
        open_backend(actor=cast.principal(cast.alice), target=Target.objects.get(pk=target.pk)),
    ):
        pytest.fail("it must not connect")
    assert AuditEvent.objects.filter(action="integrity.violation", object_uuid=target.uuid).exists()
    assert not AuditEvent.objects.filter(action="target.connect").exists()


def test_credentials_open_for_their_endpoint_only(cast: Cast, vault: VaultWorld) -> None:
    """Even if the MAC could be forged: the endpoint is part of what the envelope is bound to."""
    target = made(cast, vault)
    elsewhere = "https://vault.evil.example"
    target.endpoint = elsewhere
    target.destination = target.destination | {"address": elsewhere}
    Target.objects.filter(pk=target.pk).update(endpoint=elsewhere, destination=target.destination)
    target.seal_row()
    Target.objects.filter(pk=target.pk).update(row_mac=target.row_mac)
    stored = Target.objects.get(pk=target.pk)
    assert stored.is_authentic()
    with pytest.raises(EnvelopeError), open_backend(actor=cast.principal(cast.alice), target=stored):
        pytest.fail("it must not connect")
    assert AuditEvent.objects.filter(action="target.connect", outcome="failed").exists()


def test_identities_overlap_by_whole_segments() -> None:
    whole = destinations.Identity(system="s", place="a/b")
    assert all(whole.overlaps(place) for place in ("a/b", "a", "", "a/b/c"))
    assert not any(whole.overlaps(place) for place in ("a/bc", "b", "a/c"))


def test_a_backend_tells_its_endpoint_without_connecting() -> None:
    assert VaultKv2.endpoint({"address": "https://VAULT.example:443/"}) == "https://vault.example"
    assert VaultKv2.endpoint({"address": "https://bücher.example."}) == "https://xn--bcher-kva.example"
