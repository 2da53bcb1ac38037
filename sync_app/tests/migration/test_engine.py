"""How a migration is carried out while workers die, the source is away, and rights and rows change."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.integrity.check_registry import run_checks
from audit_app.models import AuditEvent
from audit_app.verification.stream_verifier import verify
from core.canonical_json import parsed_details
from environments_app.approvals import service as approvals
from environments_app.errors import ApprovalNeeded, ApprovalVoid, Forbidden, Invisible
from environments_app.models import Approval, Environment, Membership
from environments_app.tests.cast import Cast
from secrets_app.models import Secret, SecretVersion, VersionOrigin
from secrets_app.services import histories
from sync_app.errors import BadDestination, MigrationNotReady, PermissionMissing, TargetUnreachable
from sync_app.migration import engine, passes, service
from sync_app.migration.placing import How, Rule
from sync_app.migration.sources import registry
from sync_app.migration.sources.base import Found, FoundVersion, Source, Value
from sync_app.models import Migration, MigrationLine, MountRule, SourceCredentials
from sync_app.models.migration import LineState, MigrationState, Word

pytestmark = pytest.mark.every_database

Events = Callable[..., list[AuditEvent]]
CANARY = "canary-5f2c9d"


class Memory(Source):
    """A source in memory, whose requests may be made to fail."""

    kind = "memory"
    label = "Memory"
    setting_fields = ()
    credential_fields = registry.SOURCES["vault"].credential_fields
    secrets: dict[str, list[str]] = {}
    before: Callable[[str], None] = staticmethod(lambda _path: None)

    @classmethod
    def endpoint(cls, settings: Any) -> str:
        return "https://memory.example"

    def places(self) -> list[str]:
        return ["mem"]

    def paths(self, place: str) -> Iterator[str]:
        yield from sorted(self.secrets)

    def find(self, place: str, path: str) -> Found:
        versions = [FoundVersion(number=number + 1) for number in range(len(self.secrets[path]))]
        return Found(path=path, versions=versions, current=len(versions))

    def open(self, place: str, path: str, version: FoundVersion) -> Value:
        type(self).before(path)
        return Value(self.secrets[path][version.number - 1])


@pytest.fixture(autouse=True)
def memory(monkeypatch: pytest.MonkeyPatch) -> type[Memory]:
    monkeypatch.setattr(registry, "SOURCES", {**registry.SOURCES, "memory": Memory})
    for module in (service, engine, passes):
        if hasattr(module, "SOURCES"):
            monkeypatch.setattr(module, "SOURCES", registry.SOURCES)
    monkeypatch.setattr("sync_app.migration.credentials.SOURCES", registry.SOURCES)
    monkeypatch.setattr(passes, "_BATCH", 3)
    monkeypatch.setattr(
        Memory, "secrets", {f"s{each}": [f"{CANARY} {each} {n}" for n in (1, 2)] for each in range(10)}
    )
    monkeypatch.setattr(Memory, "before", staticmethod(lambda _path: None))
    return Memory


def start(cast: Cast, *, who: Any = None, place: Environment | None = None) -> Migration:
    rule = Rule(place="mem", how=How.ALL, environments={"": str((place or cast.development).uuid)})
    return service.start(
        actor=cast.principal(who or cast.erin),
        source="memory",
        settings={},
        credentials={"token": CANARY},
        rules=[rule],
    )


def work(migration: Migration) -> Migration:
    engine.execute(migration.pk)
    migration.refresh_from_db()
    return migration


def apply(cast: Cast, migration: Migration, *, who: Any = None, **given: Any) -> list[int]:
    return service.request_apply(
        actor=cast.principal(who or cast.erin), migration=migration, digest=migration.plan_digest, **given
    )


def states(migration: Migration) -> list[str]:
    return [
        *MigrationLine.objects.filter(migration=migration).order_by("path").values_list("state", flat=True)
    ]


class Killed(BaseException):
    """What ends a worker without a word."""


def kill_at(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Kill the worker at its n-th request for a value."""
    count = iter(range(1, 10_000))

    def before(_path: str) -> None:
        if next(count) == number:
            raise Killed

    monkeypatch.setattr(Memory, "before", staticmethod(before))


def forget_lease(migration: Migration) -> None:
    Migration.objects.filter(pk=migration.pk).update(lease_until=None, due_at=None)


@pytest.mark.parametrize("number", [1, 7, 8, 13, 20])
def test_a_worker_that_is_killed_leaves_what_the_next_one_completes(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, events: Events, number: int
) -> None:
    migration = start(cast)
    kill_at(monkeypatch, number)
    with pytest.raises(Killed):
        engine.execute(migration.pk)
    assert engine.execute(migration.pk) is None
    forget_lease(migration)
    assert work(migration).state == MigrationState.PLANNED
    assert MigrationLine.objects.count() == 10
    apply(cast, migration)
    kill_at(monkeypatch, number)
    with pytest.raises(Killed):
        engine.execute(migration.pk)
    stored = Secret.objects.count()
    assert stored % 3 == 0
    assert sum(parsed_details(event.details)["count"] for event in events(Action.SECRET_MIGRATE)) == stored
    forget_lease(migration)
    assert work(migration).state == MigrationState.DONE
    assert Secret.objects.count() == 10
    assert SecretVersion.objects.count() == 20
    listed = [event.manifest.items.count() for event in events(Action.SECRET_MIGRATE) if event.manifest]
    assert sum(listed) == 20
    assert not [*verify(), *run_checks()]


def test_a_worker_without_its_lease_stores_nothing(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    migration = work(start(cast))
    apply(cast, migration)

    def taken(_path: str) -> None:
        Migration.objects.filter(pk=migration.pk).update(epoch=99)

    real = histories.carry

    def carry(**given: Any) -> None:
        taken("")
        real(**given)

    monkeypatch.setattr(passes, "carry", carry)
    engine.execute(migration.pk)
    assert not Secret.objects.exists()
    assert states(migration) == [LineState.PLANNED] * 10


def test_a_source_that_is_away_is_asked_again(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    migration = start(cast)

    def away(_path: str) -> None:
        raise TargetUnreachable("no answer")

    monkeypatch.setattr(Memory, "before", staticmethod(away))
    assert work(migration).state == MigrationState.PLANNING
    assert (migration.error, migration.due_at is not None) == ("no answer", True)
    monkeypatch.setattr(Memory, "before", staticmethod(lambda _path: None))
    forget_lease(migration)
    assert work(migration).state == MigrationState.PLANNED
    assert migration.error == ""


def test_what_the_source_refuses_is_unreadable(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: str) -> None:
        if path == "s4":
            raise PermissionMissing("the token's policy lacks read on it")

    monkeypatch.setattr(Memory, "before", staticmethod(refused))
    migration = work(start(cast))
    assert migration.counts["words"] == {"new": 9, "unreadable": 1}
    assert MigrationLine.objects.get(path="s4").reason == "the token's policy lacks read on it"


def test_a_right_that_is_lost_meanwhile_leaves_the_lines(cast: Cast) -> None:
    migration = work(start(cast))
    apply(cast, migration)
    Membership.objects.filter(user=cast.erin)._raw_delete("default")
    assert work(migration).state == MigrationState.DONE
    assert not Secret.objects.exists()
    assert states(migration) == [LineState.LEFT] * 10
    assert "may not import" in MigrationLine.objects.filter(migration=migration)[0].reason


@pytest.mark.parametrize("who", ["bob", "vera", "charlie", "root"])
def test_who_may_not_import_starts_none(cast: Cast, who: str) -> None:
    with pytest.raises((Forbidden, Invisible)):
        start(cast, who=getattr(cast, who))


def test_a_forged_line_is_not_carried(cast: Cast) -> None:
    migration = work(start(cast))
    apply(cast, migration)
    MigrationLine.objects.filter(path="s3").update(name="elsewhere")
    work(migration)
    assert MigrationLine.objects.get(path="s3").state == LineState.LEFT
    assert not Secret.objects.filter(name__in=["s3", "elsewhere"]).exists()


def test_a_forged_rule_carries_nothing(cast: Cast) -> None:
    migration = work(start(cast))
    apply(cast, migration)
    rules = [Rule(place="mem", how=How.ALL, environments={"": str(cast.production.uuid)}).stored()]
    Migration.objects.filter(pk=migration.pk).update(rules=rules)
    assert work(migration).state == MigrationState.FAILED
    assert not Secret.objects.exists()


def test_another_plan_than_was_seen_is_not_applied(cast: Cast) -> None:
    migration = work(start(cast))
    with pytest.raises(MigrationNotReady):
        service.request_apply(actor=cast.principal(cast.erin), migration=migration, digest="0" * 64)
    seen = migration.plan_digest
    Memory.secrets["s1"].append("more")
    service.plan_again(actor=cast.principal(cast.erin), migration=migration)
    work(migration)
    assert migration.plan_digest != seen
    with pytest.raises(MigrationNotReady):
        service.request_apply(actor=cast.principal(cast.erin), migration=migration, digest=seen)


def test_an_old_plan_is_not_applied(cast: Cast) -> None:
    migration = work(start(cast))
    Migration.objects.update(planned_at=timezone.now() - service.PLAN_HOLDS)
    migration.refresh_from_db()
    with pytest.raises(MigrationNotReady):
        apply(cast, migration)


def protect(place: Environment) -> None:
    stored = Environment.objects.get(pk=place.pk)
    stored.protected = True
    stored.save()


def test_a_protected_environment_asks_for_one_approval_of_the_plan(cast: Cast, events: Events) -> None:
    protect(cast.development)
    migration = work(start(cast))
    with pytest.raises(ApprovalNeeded) as asked:
        apply(cast, migration)
    assert engine.execute(migration.pk) is None
    assert not Secret.objects.exists()
    approval = Approval.objects.get(pk=asked.value.approval)
    approvals.approve(actor=cast.principal(cast.alice), approval=approval)
    approval.refresh_from_db()
    approvals.carry_out(actor=cast.principal(cast.erin), approval=approval)
    assert work(migration).state == MigrationState.DONE
    assert Secret.objects.count() == 10
    assert {parsed_details(event.details)["approval"] for event in events(Action.SECRET_MIGRATE)} == {
        str(approval.uuid)
    }
    assert not [*verify(), *run_checks()]


def test_the_request_tells_what_is_approved(cast: Cast, signed_in: Any) -> None:
    protect(cast.development)
    migration = work(start(cast))
    with pytest.raises(ApprovalNeeded) as asked:
        apply(cast, migration, follow_seconds=300)
    page = signed_in(cast.alice).get(f"/approvals/{asked.value.approval}").content.decode()
    for text in (
        "mem → development: /", "mem: development: /", f'href="/migrations/{migration.pk}"', ">s3<", "every 300 s"
    ):  # fmt: skip
        assert text in page, text


def test_what_old_clients_reach_is_approved_as_it_was_shown(cast: Cast) -> None:
    protect(cast.development)
    migration = work(start(cast))
    with pytest.raises(ApprovalNeeded) as asked:
        apply(cast, migration)
    approval = Approval.objects.get(pk=asked.value.approval)
    approvals.approve(actor=cast.principal(cast.alice), approval=approval)
    approval.refresh_from_db()
    MountRule(environment=cast.development, mount="mem", prefix="elsewhere").save()
    with pytest.raises(ApprovalVoid):
        approvals.carry_out(actor=cast.principal(cast.erin), approval=approval)


def test_an_approval_is_of_one_plan(cast: Cast) -> None:
    protect(cast.development)
    migration = work(start(cast))
    with pytest.raises(ApprovalNeeded) as asked:
        apply(cast, migration)
    Memory.secrets["s1"].append("another value")
    service.plan_again(actor=cast.principal(cast.erin), migration=migration)
    work(migration)
    approval = Approval.objects.get(pk=asked.value.approval)
    approvals.approve(actor=cast.principal(cast.alice), approval=approval)
    approval.refresh_from_db()
    with pytest.raises((ApprovalVoid, MigrationNotReady)):
        approvals.carry_out(actor=cast.principal(cast.erin), approval=approval)
    work(migration)
    assert not Secret.objects.exists()


def test_protected_meanwhile_it_waits_for_an_approval(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    migration = work(start(cast))
    apply(cast, migration)
    real = histories.carry

    def carry(**given: Any) -> None:
        protect(cast.development)
        real(**given)

    monkeypatch.setattr(passes, "carry", carry)
    assert work(migration).state == MigrationState.PLANNED
    assert not Secret.objects.exists()
    assert states(migration) == [LineState.PLANNED] * 10


def test_what_is_paused_goes_on_where_it_was(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    erin = cast.principal(cast.erin)
    migration = work(start(cast))
    apply(cast, migration)
    real = histories.carry

    def carry(**given: Any) -> None:
        real(**given)
        monkeypatch.setattr(passes, "carry", real)
        service.pause(actor=erin, migration=Migration.objects.get())

    monkeypatch.setattr(passes, "carry", carry)
    assert work(migration).state == MigrationState.PAUSED
    assert Secret.objects.count() == 3
    assert engine.execute(migration.pk) is None
    service.resume(actor=erin, migration=migration)
    assert work(migration).state == MigrationState.DONE
    assert Secret.objects.count() == 10


def test_what_is_stopped_has_no_credentials_and_keeps_what_is_stored(cast: Cast) -> None:
    erin = cast.principal(cast.erin)
    migration = work(start(cast))
    service.stop(actor=erin, migration=migration)
    assert not SourceCredentials.objects.exists()
    for act in (service.resume, service.plan_again, service.pause, service.stop):
        with pytest.raises(MigrationNotReady):
            act(actor=erin, migration=migration)
    with pytest.raises(MigrationNotReady):
        apply(cast, migration)
    assert not [*verify(), *run_checks()]


def test_credentials_last_two_weeks(cast: Cast) -> None:
    migration = work(start(cast))
    SourceCredentials.objects.update(created_at=timezone.now() - service.CREDENTIALS_LAST)
    assert service.end_overdue() == 1
    migration.refresh_from_db()
    assert (migration.state, migration.is_authentic()) == (MigrationState.STOPPED, True)
    assert not SourceCredentials.objects.exists()


def test_followed_it_carries_what_is_newer_and_new_until_it_is_stopped(cast: Cast) -> None:
    migration = work(start(cast))
    apply(cast, migration, follow_seconds=300)
    assert work(migration).state == MigrationState.FOLLOWING
    assert engine.execute(migration.pk) is None
    Memory.secrets["s1"] += ["three", "four"]
    Memory.secrets["new"] = ["one"]
    forget = {"due_at": timezone.now() - timedelta(seconds=1), "lease_until": None}
    Migration.objects.update(**forget)
    assert work(migration).state == MigrationState.FOLLOWING
    assert Secret.objects.get(name="s1").current_number == 4
    assert Secret.objects.filter(name="new").exists()
    assert {*MigrationLine.objects.values_list("word", flat=True)} == {Word.NEW, Word.NEWER}
    service.stop(actor=cast.principal(cast.erin), migration=migration)
    Memory.secrets["s1"].append("five")
    Migration.objects.update(**forget)
    assert engine.execute(migration.pk) is None
    assert not [*verify(), *run_checks()]


def test_no_value_is_stored_besides_the_sealed_ones(cast: Cast) -> None:
    migration = work(start(cast))
    apply(cast, migration)
    work(migration)
    for model in (Migration, MigrationLine, AuditEvent):
        assert CANARY not in repr([*model.objects.values()])


@pytest.mark.parametrize("given", [{"source": "none"}, {"rules": []}, {"credentials": {}}])
def test_what_cannot_be_is_refused_before_anything_is_stored(cast: Cast, given: dict[str, Any]) -> None:
    rule = Rule(place="kv", how=How.ALL, environments={"": str(cast.development.uuid)})
    fields: dict[str, Any] = {
        "source": "vault", "settings": {"address": "https://vault.example"}, "credentials": {"token": "t"},
        "rules": [rule], **given,
    }  # fmt: skip
    with pytest.raises(BadDestination):
        service.start(actor=cast.principal(cast.erin), **fields)
    assert not Migration.objects.exists()


def test_environments_that_are_unprotected_do_not_wait_for_those_that_are_not(cast: Cast) -> None:
    protect(cast.production)
    rule = Rule(
        place="mem",
        how=How.FIRST_FOLDER,
        environments={"d": str(cast.development.uuid), "p": str(cast.production.uuid)},
    )
    Memory.secrets.clear()
    Memory.secrets.update({"d/a": ["one"], "p/a": ["two"]})
    migration = service.start(
        actor=cast.principal(cast.alice),
        source="memory",
        settings={},
        credentials={"token": "t"},
        rules=[rule],
    )
    work(migration)
    assert len(apply(cast, migration, who=cast.alice)) == 1
    assert work(migration).state == MigrationState.PLANNED
    assert [secret.environment for secret in Secret.objects.all()] == [cast.development]


FALLING = [f"n/a{each}b" for each in " \"#%&'()*,:;<>?[]^`{|}~"]


def again(cast: Cast) -> Migration:
    migration = work(start(cast))
    apply(cast, migration)
    return work(migration)


def names() -> dict[str, str]:
    return dict(VersionOrigin.objects.values_list("path", "version__secret__name"))


def test_names_that_fall_together_are_known_again(cast: Cast) -> None:
    Memory.secrets.clear()
    Memory.secrets.update({path: [f"of {path}"] for path in (*FALLING, "n/a_b")})
    again(cast)
    carried = names()
    assert carried["n/a_b"] == "n/a_b"
    assert len(set(carried.values())) == len(FALLING) + 1
    assert again(cast).counts["words"] == {"same": len(FALLING) + 1}
    Memory.secrets[FALLING[-1]].append("newer")
    Memory.secrets["n/a!b"] = ["one more"]
    found = again(cast)
    assert found.counts["words"] == {"same": len(FALLING), "newer": 1, "renamed": 1}
    assert (found.state, names() | carried) == (MigrationState.DONE, names())
    assert Secret.objects.get(name=carried[FALLING[-1]]).current_number == 2


def test_a_new_path_of_a_carried_name_does_not_take_its_place(cast: Cast) -> None:
    Memory.secrets.clear()
    Memory.secrets.update({"s/p|q": ["one"], "s/p~q": ["two"]})
    again(cast)
    carried = names()
    assert carried == {"s/p|q": "s/p_q", "s/p~q": "s/p_q-2"}
    Memory.secrets.update({"s/p!q": ["three"], "s/p_q": ["four"]})
    assert again(cast).counts["words"] == {"same": 2, "renamed": 2}
    assert names().items() >= carried.items()
    assert (len(names()), Secret.objects.count()) == (4, 4)
    assert again(cast).counts["words"] == {"same": 4}
