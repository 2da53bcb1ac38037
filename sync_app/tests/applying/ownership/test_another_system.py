"""Where the address leads to another system than the target's, nothing is written there, and nothing is forgotten."""

import contextlib
import itertools
import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import hvac
import pytest
from django.test import Client
from django.urls import reverse

from audit_app.models import AuditEvent
from audit_app.tests.trail import take_away
from environments_app.approvals import service as approvals
from environments_app.errors import ApprovalNeeded, Forbidden
from environments_app.models import Alert, Approval, Membership, Role, User
from environments_app.tests.cast import Cast
from sync_app.applying import service as applying
from sync_app.backends.aws.tests.world import AwsWorld, client
from sync_app.backends.vault.adapter import PooledAdapter
from sync_app.backends.vault.tests.world import VaultWorld
from sync_app.errors import TargetConflict
from sync_app.models import Plan, Run
from sync_app.planning.service import request_confirmation
from sync_app.runs import runner as runs_runner
from sync_app.targets import credentials
from sync_app.targets.connection_check import identify_answering_system
from sync_app.tests.applying.stage import Stage
from tests.servers.tcp_switch import TcpSwitch, tcp_switch

pytestmark = pytest.mark.every_database_weekly

SHARED = "known-to-both-clusters"


@pytest.fixture
def switch(vault: VaultWorld) -> Iterator[TcpSwitch]:
    with tcp_switch(urlsplit(vault.url).port or 0) as made:
        yield made


@pytest.fixture
def other(second_vault: tuple[str, str], vault: VaultWorld) -> hvac.Client:
    """Another cluster that knows the same token."""
    url, root = second_vault
    made = hvac.Client(url=url, token=root)
    share_token(made)
    return made


def share_token(cluster: hvac.Client) -> None:
    with contextlib.suppress(hvac.exceptions.InvalidRequest):
        # An earlier test made it.
        cluster.auth.token.create(id=SHARED, policies=["root"])


@pytest.fixture
def stage(cast: Cast, vault: VaultWorld, switch: TcpSwitch, other: hvac.Client) -> Stage:
    """A target whose address may lead elsewhere."""
    share_token(vault.client)
    vault.destination |= {"address": f"http://127.0.0.1:{switch.port}"}
    vault.credentials = {"token": SHARED}
    return Stage(cast, vault)


def paths_of(cluster: hvac.Client, stage: Stage) -> Any:
    return cluster.list(f"secret/metadata/{stage.world.prefix}")


def execute(stage: Stage) -> Run:
    done = runs_runner.execute(runs_runner.request_sync(actor=stage.alice, target=stage.fresh()).pk)
    assert done is not None
    return done


@pytest.mark.parametrize("conflict", ["keeper_wins", "target_wins", "ask"])
def test_a_pass_over_another_cluster_writes_nothing(
    stage: Stage, switch: TcpSwitch, other: hvac.Client, vault: VaultWorld, conflict: str
) -> None:
    stage.rules(conflict=conflict)
    stage.keep("app/one", "first")
    stage.sync()
    stage.keep("app/one", "second")
    stage.keep("app/two", "new")
    switch.turn(urlsplit(other.url).port or 0)
    failed = execute(stage)
    assert failed.state == "failed"
    assert f"made for {stage.target.system}" in failed.error
    assert paths_of(other, stage) is None
    alert = Alert.objects.get(about=stage.target.uuid, kind="sync.run_failed")
    assert alert.open
    switch.turn(urlsplit(vault.url).port or 0)
    assert stage.sync(rest=True).counts == {"create": 1, "update": 1}
    assert stage.theirs("app/one") == "second"
    assert stage.sync().counts == {"unchanged": 2}


@pytest.mark.parametrize("at", [1, 2, 5, 9])
def test_a_pass_stops_where_another_cluster_answers_between_two_requests(
    stage: Stage,
    switch: TcpSwitch,
    other: hvac.Client,
    vault: VaultWorld,
    monkeypatch: pytest.MonkeyPatch,
    at: int,
) -> None:
    """Each connection has to lead to the cluster that the pass began with, before anything goes over it."""
    stage.rules(conflict="keeper_wins")
    for number in range(4):
        stage.keep(f"app/{number}", "first")
    stage.sync()
    for number in range(12):
        stage.keep(f"app/{number}", "second")
    stage.world_rest()
    writes, send = itertools.count(1), PooledAdapter.request

    def request(self: PooledAdapter, method: str, url: str, **options: Any) -> Any:
        if method in {"POST", "PATCH"} and "/secret/" in url and next(writes) == at:
            switch.turn(urlsplit(other.url).port or 0)
        return send(self, method, url, **options)

    with monkeypatch.context() as patched:
        patched.setattr(PooledAdapter, "request", request)
        failed = execute(stage)
    assert failed.state == "failed"
    assert "answers by now" in failed.error
    assert paths_of(other, stage) is None
    assert Alert.objects.get(about=stage.target.uuid, kind="sync.run_failed").open
    switch.turn(urlsplit(vault.url).port or 0)
    stage.sync(rest=True)
    assert {stage.theirs(f"app/{number}") for number in range(12)} == {"second"}
    assert stage.sync().counts == {"unchanged": 12}


def test_a_plan_is_not_carried_out_in_another_cluster(
    stage: Stage, switch: TcpSwitch, other: hvac.Client
) -> None:
    stage.keep("app/one", "first")
    plan = stage.plan()
    run = applying.request_apply(actor=stage.alice, plan=plan)
    switch.turn(urlsplit(other.url).port or 0)
    done = runs_runner.execute(run.pk)
    assert done is not None
    assert done.state == "failed"
    assert Plan.objects.get(pk=plan.pk).state == "failed"
    assert paths_of(other, stage) is None


@pytest.mark.parametrize("assumed", [True, False])
def test_a_pass_over_another_account_writes_nothing(cast: Cast, aws: AwsWorld, assumed: bool) -> None:
    stage = Stage(cast, aws)
    stage.keep("app/one", "first")
    role = "arn:aws:iam::222222222222:role/keeper"
    if assumed:
        stage.target.destination |= {"role_arn": role}
        given = aws.credentials
    else:
        sts = client("sts", aws.strict_url)
        lent = sts.assume_role(RoleArn=role, RoleSessionName="other")["Credentials"]
        given = {
            "access_key_id": lent["AccessKeyId"],
            "secret_access_key": lent["SecretAccessKey"],
            "session_token": lent["SessionToken"],
        }
    # As after a mistake of whoever keeps the keys: the same fields, and another account.
    credentials.seal_credentials(stage.target, given)
    stage.target.save()
    failed = execute(stage)
    assert failed.state == "failed"
    assert "this is aws/222222222222/" in failed.error
    assert aws.plan.asked["CreateSecret"] == 0


def test_a_rebuilt_cluster_is_confirmed_and_planned(
    stage: Stage, switch: TcpSwitch, other: hvac.Client, signed_in: Callable[[User], Client]
) -> None:
    """What is there under the same names is nobody's until it is adopted; nothing is written before a plan."""
    stage.rules(conflict="keeper_wins", deletion="recoverable", budget_percent=100, automatic=True)
    for name in ("app/one", "app/two", "app/three"):
        stage.keep(name, "first")
    stage.sync()
    stage.keep("app/one", "second")
    stage.drop("app/three")
    kv = other.secrets.kv.v2
    for name in ("app/one", "app/three"):
        kv.create_or_update_secret(stage.path(name), {"value": "theirs"}, mount_point="secret")
    switch.turn(urlsplit(other.url).port or 0)
    assert execute(stage).state == "failed"
    client, page = signed_in(stage.cast.alice), reverse("target-system", args=[stage.target.pk])
    assert "Answering system" not in client.get(page).content.decode()
    shown = client.post(page)
    system = shown.context["found"]
    assert system != stage.target.system
    assert {stage.target.system, system} <= set(re.findall(r">(vault/[^<]+)<", shown.content.decode()))
    client.post(page, {"system": "vault/neither"})
    assert stage.fresh().system == stage.target.system
    assert client.post(page, {"system": system}).status_code == 302
    confirmed = stage.fresh()
    assert (confirmed.system, confirmed.automatic) == (system, False)
    event = AuditEvent.objects.filter(action="target.change").latest("pk")
    assert json.loads(event.details)["before"] == stage.target.system
    planned = runs_runner.execute(Run.objects.get(active=True).pk)
    assert planned is not None
    assert planned.plan is not None
    assert planned.plan.counts == {"create": 1, "ownership_lost": 2}
    stage.world_rest()
    stage.apply(planned.plan)
    values = [
        kv.read_secret_version(stage.path(name), mount_point="secret", raise_on_deleted_version=True)
        for name in ("app/one", "app/two", "app/three")
    ]
    assert [value["data"]["data"]["value"] for value in values] == ["theirs", "first", "theirs"]
    with pytest.raises(TargetConflict, match="nothing to confirm"):
        request_confirmation(actor=stage.alice, target=stage.fresh(), system=system)


def test_a_rebuilt_cluster_takes_a_second_person(stage: Stage, switch: TcpSwitch, other: hvac.Client) -> None:
    switch.turn(urlsplit(other.url).port or 0)
    system = identify_answering_system(actor=stage.alice, target=stage.fresh()).system
    stage.environment.protected = True
    stage.environment.save()
    with pytest.raises(ApprovalNeeded):
        request_confirmation(actor=stage.alice, target=stage.fresh(), system=system)
    assert stage.fresh().system == stage.target.system
    assert Approval.objects.get().arguments["system"] == system
    bob = stage.cast.principal(stage.cast.bob)
    with pytest.raises(Forbidden):
        request_confirmation(actor=bob, target=stage.fresh(), system=system)


def test_what_a_second_person_approved_is_carried_out(
    stage: Stage, switch: TcpSwitch, other: hvac.Client
) -> None:
    switch.turn(urlsplit(other.url).port or 0)
    system = identify_answering_system(actor=stage.alice, target=stage.fresh()).system
    approval = asked_for(stage, system)
    done = approvals.carry_out(actor=stage.alice, approval=approved(stage, approval))
    assert "Creating a plan" in done.sentence
    assert (stage.fresh().system, stage.fresh().automatic) == (system, False)
    planned = runs_runner.execute(Run.objects.get(active=True).pk)
    assert planned is not None
    assert planned.state == "done"


def test_an_approval_counts_for_the_system_that_was_shown(
    stage: Stage, switch: TcpSwitch, other: hvac.Client, vault: VaultWorld
) -> None:
    """By the time it is carried out the address leads back to the target's own system."""
    switch.turn(urlsplit(other.url).port or 0)
    system = identify_answering_system(actor=stage.alice, target=stage.fresh()).system
    approval = approved(stage, asked_for(stage, system))
    switch.turn(urlsplit(vault.url).port or 0)
    with pytest.raises(TargetConflict):
        approvals.carry_out(actor=stage.alice, approval=approval)
    assert stage.fresh().system == stage.target.system


def test_another_account_is_confirmed_with_a_second_person(cast: Cast, aws: AwsWorld) -> None:
    stage = Stage(cast, aws)
    stage.keep("app/one", "first")
    stage.target.destination |= {"role_arn": "arn:aws:iam::222222222222:role/keeper"}
    credentials.seal_credentials(stage.target, aws.credentials)
    stage.target.save()
    assert "this is aws/222222222222/" in execute(stage).error
    system = identify_answering_system(actor=stage.alice, target=stage.fresh()).system
    assert system.startswith("aws/222222222222/")
    approvals.carry_out(actor=stage.alice, approval=approved(stage, asked_for(stage, system)))
    assert (stage.fresh().system, stage.fresh().automatic) == (system, False)
    planned = runs_runner.execute(Run.objects.get(active=True).pk)
    assert planned is not None
    assert planned.plan is not None
    assert (planned.state, planned.plan.counts) == ("done", {"create": 1})
    assert aws.plan.asked["CreateSecret"] == 0


def asked_for(stage: Stage, system: str) -> Approval:
    """Ask for the confirmation in a protected environment, which takes a second person."""
    stage.environment.protected = True
    stage.environment.save()
    with pytest.raises(ApprovalNeeded):
        request_confirmation(actor=stage.alice, target=stage.fresh(), system=system)
    return Approval.objects.select_related("environment").get()


def approved(stage: Stage, approval: Approval) -> Approval:
    """Have another manager approve it."""
    take_away(Membership.objects.filter(environment=stage.environment, user=stage.cast.erin))
    Membership.objects.create(environment=stage.environment, user=stage.cast.erin, role=Role.MANAGER)
    return approvals.approve(actor=stage.cast.principal(stage.cast.erin), approval=approval)
