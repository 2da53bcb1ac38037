"""How a migration is carried out while workers die, the source is away, and rights and rows change."""

import contextlib
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
from environments_app.authorization import policy
from environments_app.errors import ApprovalNeeded, ApprovalVoid, Forbidden, Invisible
from environments_app.models import Alert, Approval, Environment, Membership
from environments_app.tests.cast import Cast
from secrets_app.errors import KeyUnavailable
from secrets_app.models import Secret, SecretVersion, VersionOrigin
from secrets_app.services import decoys, guarded, histories, lifecycle
from secrets_app.tests.kept import change, keep
from sync_app.errors import BadDestination, MigrationNotReady, PermissionMissing, TargetUnreachable
from sync_app.migration import engine, mounts, passes, plan, service
from sync_app.migration.placing import How, Rule
from sync_app.migration.sources.base import Found, FoundVersion
from sync_app.models import Migration, MigrationLine, MountRule, SourceCredentials
from sync_app.models.migration import Choice, LineState, MigrationState, Word
from sync_app.tests.migration.driving import work
from sync_app.tests.migration.memory import (
    CANARY,
    Memory,
    again,
    apply,
    forget_lease,
    protect,
    start,
    start_by,
    states,
)

pytestmark = [pytest.mark.every_database, pytest.mark.usefixtures("memory")]

Events = Callable[..., list[AuditEvent]]


class Killed(BaseException):
    """What ends a worker without a word."""


def kill_at(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Kill the worker at its n-th request for a value."""
    count = iter(range(1, 10_000))

    def before(_path: str) -> None:
        if next(count) == number:
            raise Killed

    monkeypatch.setattr(Memory, "before", staticmethod(before))


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


@pytest.mark.parametrize(("path", "state"), [("s4", "planning"), ("s0", "failed")])
def test_what_a_batch_has_stored_lets_the_attempts_begin_anew(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, path: str, state: str
) -> None:
    migration = start(cast)
    # As many workers have been killed before.
    Migration.objects.filter(pk=migration.pk).update(attempts=7)

    def away(at: str) -> None:
        if at == path:
            raise TargetUnreachable("no answer")

    monkeypatch.setattr(Memory, "before", staticmethod(away))
    assert work(migration).state == state
    if state == "failed":
        return
    monkeypatch.setattr(Memory, "before", staticmethod(lambda _path: None))
    forget_lease(migration)
    migration = work(migration)
    apply(cast, migration)
    Migration.objects.filter(pk=migration.pk).update(attempts=7)
    monkeypatch.setattr(Memory, "before", staticmethod(away))
    assert work(migration).state == MigrationState.APPLYING


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


def test_who_may_import_in_one_of_two_environments_sees_no_migration_of_both(cast: Cast) -> None:
    folders = {"d": str(cast.development.uuid), "p": str(cast.production.uuid)}
    start_by(cast, Rule(place="mem", how=How.FIRST_FOLDER, environments=folders), who=cast.alice)
    own = start(cast)
    assert service.visible_migrations(cast.principal(cast.erin)) == [own]
    assert len(service.visible_migrations(cast.principal(cast.alice))) == 2


def test_a_forged_line_is_not_carried(cast: Cast) -> None:
    migration = work(start(cast))
    apply(cast, migration)
    MigrationLine.objects.filter(path="s3").update(name="elsewhere")
    work(migration)
    assert MigrationLine.objects.get(path="s3").state == LineState.LEFT
    assert not Secret.objects.filter(name__in=["s3", "elsewhere"]).exists()


def test_a_choice_that_is_made_by_sql_overwrites_nothing(cast: Cast) -> None:
    kept = keep(cast, "s0", "ours")
    migration = work(start(cast))
    MigrationLine.objects.filter(path="s0", word=Word.CHANGED).update(chosen=Choice.TAKE)
    apply(cast, migration)
    work(migration)
    assert states(migration) == [LineState.LEFT, *[LineState.CARRIED] * 9]
    assert Secret.objects.get(pk=kept.pk).current_number == 1


def test_a_folder_of_which_nothing_came_has_no_rule(cast: Cast, memory: type[Memory]) -> None:
    memory.secrets.clear()
    memory.secrets["d/a"] = ["one"]
    folders = {"d": str(cast.development.uuid), "p": str(cast.development.uuid)}
    migration = work(start_by(cast, Rule(place="mem", how=How.FIRST_FOLDER, environments=folders)))
    apply(cast, migration)
    assert work(migration).state == MigrationState.DONE
    assert [rule.folder for rule in MountRule.objects.all()] == ["d"]


def test_a_rule_that_sql_changed_to_what_is_wanted_is_no_rule_until_it_is_written_again(cast: Cast) -> None:
    apply(cast, migration := work(start(cast)))
    work(migration)
    MountRule.objects.update(prefix="team")
    places = {"": str(cast.development.uuid)}
    rule = Rule(place="mem", how=How.ALL, environments=places, prefix="team")
    migration = work(start_by(cast, rule, who=cast.alice))
    forged = "nothing: the rule was changed outside Keeper"
    assert service.led(migration) == [f"mem: led to development: /team, no longer to {forged}"]
    apply(cast, migration, who=cast.alice)
    work(migration)
    assert [each.prefix for each in mounts.rules_of(cast.principal(cast.erin))] == ["team"]


def test_a_path_that_is_refused_takes_no_name_from_the_one_that_has_it(cast: Cast) -> None:
    places = {"": str(cast.development.uuid)}
    migration = work(
        start_by(cast, *(Rule(place=each, how=How.ALL, environments=places) for each in ("mem", "other")))
    )
    assert MigrationLine.objects.filter(word=Word.REFUSED).count() == 10
    apply(cast, migration)
    work(migration)
    assert Secret.objects.count() == 10


def test_a_key_that_is_away_leaves_no_line_in_the_source(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    migration = work(start(cast))
    apply(cast, migration)
    real, away = histories.carry, iter([True])

    def carry(**given: Any) -> None:
        if next(away, False):
            raise KeyUnavailable("KMS gives no answer", permanent=False)
        real(**given)

    monkeypatch.setattr(passes, "carry", carry)
    assert work(migration).state == MigrationState.APPLYING
    forget_lease(migration)
    assert work(migration).state == MigrationState.DONE
    assert states(migration) == [LineState.CARRIED] * 10


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


def test_an_approval_covers_whether_the_source_is_followed(cast: Cast) -> None:
    protect(cast.development)
    migration = work(start(cast))
    with pytest.raises(ApprovalNeeded) as asked:
        apply(cast, migration)
    approval = Approval.objects.get(pk=asked.value.approval)
    approvals.approve(actor=cast.principal(cast.alice), approval=approval)
    approval.refresh_from_db()
    approvals.carry_out(actor=cast.principal(cast.erin), approval=approval)
    Migration.objects.update(state=MigrationState.FAILED)
    migration.refresh_from_db()
    with pytest.raises(ApprovalNeeded):
        apply(cast, migration, follow_seconds=300)
    assert apply(cast, migration) == []


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
    assert service.end_overdue() == 0
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


@pytest.mark.parametrize("seconds", [service.FOLLOW_SECONDS[0] - 1, service.FOLLOW_SECONDS[1] + 1])
def test_it_is_followed_neither_faster_nor_slower_than_it_may_be(cast: Cast, seconds: int) -> None:
    migration = work(start(cast))
    with pytest.raises(MigrationNotReady, match="5 minutes to 24 hours"):
        apply(cast, migration, follow_seconds=seconds)


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


def test_what_is_taken_from_the_source_waits_for_its_approval_as_well(cast: Cast) -> None:
    keep(cast, "a", "ours", environment=cast.production)
    protect(cast.production)
    places = {"d": str(cast.development.uuid), "p": str(cast.production.uuid)}
    Memory.secrets.clear()
    Memory.secrets.update({"d/a": ["one"], "p/a": ["theirs"]})
    migration = service.start(
        actor=cast.principal(cast.alice),
        source="memory",
        settings={},
        credentials={"token": "t"},
        rules=[Rule(place="mem", how=How.FIRST_FOLDER, environments=places)],
    )
    work(migration)
    line = MigrationLine.objects.get(word=Word.CHANGED)
    service.choose(actor=cast.principal(cast.alice), migration=migration, line=line, choice=Choice.TAKE)
    assert len(apply(cast, migration, who=cast.alice)) == 1
    assert work(migration).state == MigrationState.PLANNED
    assert SourceCredentials.objects.exists()


FALLING = [f"n/a{each}b" for each in " \"#%&'()*,:;<>?[]^`{|}~"]


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


def test_segments_of_dots_are_renamed_and_lead_nowhere(cast: Cast, memory: type[Memory]) -> None:
    memory.secrets = {"../up": ["1"], "app/./db": ["2"], "app/..": ["3"], "app/...": ["4"]}
    migration = work(start(cast))
    apply(cast, migration)
    assert work(migration).state == MigrationState.DONE
    assert set(Secret.objects.values_list("name", flat=True)) == {"__/up", "app/_/db", "app/__", "app/..."}


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


def test_a_plan_says_the_same_whatever_a_guarded_secret_holds(cast: Cast, memory: type[Memory]) -> None:
    alice = cast.principal(cast.alice)
    kept = keep(cast, "s0", "7391")
    guarded.guard(actor=alice, secret=kept)
    told = set()
    for guess in ("7391", "7392"):
        memory.secrets = {"s0": ["older", guess]}
        migration = work(start(cast))
        told.add(MigrationLine.objects.values_list("word", "reason").get(migration=migration, path="s0"))
        Migration.objects.filter(pk=migration.pk).update(state=MigrationState.STOPPED)
    ((word, reason),) = told
    assert word == Word.REFUSED
    assert "guarded" in reason


def test_a_plan_says_the_same_of_a_decoy_and_of_any_other_secret(
    cast: Cast, memory: type[Memory], events: Events
) -> None:
    decoys.make_decoy(actor=cast.principal(cast.alice), secret=keep(cast, "s0", "ours"))
    keep(cast, "s1", "ours")
    migration = work(start(cast))
    columns = ("word", "reason", "state", "chosen", "described")
    decoy, other = MigrationLine.objects.filter(path__in=["s0", "s1"]).order_by("path").values(*columns)
    assert decoy == other
    assert (decoy["word"], service.unsettled(migration)) == (Word.CHANGED, [])
    assert not events(Action.SECRET_DECOY)
    for line in MigrationLine.objects.filter(word=Word.CHANGED):
        service.choose(actor=cast.principal(cast.erin), migration=migration, line=line, choice=Choice.TAKE)
    apply(cast, migration)
    assert work(migration).state == MigrationState.DONE
    assert Secret.objects.filter(name__in=["s0", "s1"], current_number=2).count() == 2
    # Taking the source over it is a use.
    assert [event.object_name for event in events(Action.SECRET_DECOY)] == ["s0"]
    assert "carried over the decoy" in Alert.objects.get(kind="decoy").lines[0]
    # What has been carried is no guess.
    assert again(cast).counts["words"] == {"same": 10}
    assert len(events(Action.SECRET_DECOY)) == 1


@pytest.mark.parametrize("is_numbered", [True, False])
def test_an_equal_value_in_a_plan_is_a_use_of_the_decoy(
    cast: Cast, memory: type[Memory], monkeypatch: pytest.MonkeyPatch, events: Events, is_numbered: bool
) -> None:
    if not is_numbered:
        unnumbered(memory, monkeypatch)
    decoys.make_decoy(actor=cast.principal(cast.alice), secret=keep(cast, "s0", f"{CANARY} 0 2"))
    keep(cast, "s1", f"{CANARY} 1 2")
    migration = work(start(cast))
    assert migration.counts["words"] == {"same": 2, "new": 8}
    (event,) = events(Action.SECRET_DECOY)
    assert parsed_details(event.details)["reader"] == cast.erin.username
    assert Alert.objects.get(kind="decoy").subject == "Decoy read: development/s0"


def renamed(cast: Cast, name: str, new_name: str) -> None:
    secret = Secret.objects.select_related("environment").get(name=name, live=True)
    lifecycle.rename(actor=cast.principal(cast.alice), secret=secret, name=new_name)


def test_what_is_renamed_here_is_found_under_its_present_name(cast: Cast, memory: type[Memory]) -> None:
    again(cast)
    renamed(cast, "s0", "kept/other")
    renamed(cast, "s1", "kept/next")
    memory.secrets["s1"].append("newer")
    migration = work(start(cast))
    assert migration.counts["words"] == {"same": 9, "newer": 1}
    lines = MigrationLine.objects.filter(migration=migration, path__in=["s0", "s1"])
    told = {(line.path, line.name, line.reason) for line in lines}
    assert told == {
        ("s0", "kept/other", "carried as kept/other"),
        ("s1", "kept/next", "carried as kept/next"),
    }
    apply(cast, migration, follow_seconds=300)
    assert work(migration).state == MigrationState.FOLLOWING
    assert Secret.objects.get(name="kept/next").current_number == 3
    # The next look follows it as well.
    renamed(cast, "kept/next", "kept/last")
    memory.secrets["s1"].append("newest")
    forget_lease(migration)
    Migration.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    assert work(migration).state == MigrationState.FOLLOWING
    assert Secret.objects.get(name="kept/last").current_number == 4
    assert Secret.objects.filter(live=True).count() == 10


def test_what_is_renamed_after_the_plan_is_left(cast: Cast, memory: type[Memory]) -> None:
    again(cast)
    memory.secrets["s0"].append("newer")
    migration = work(start(cast))
    apply(cast, migration)
    renamed(cast, "s0", "kept/other")
    work(migration)
    assert MigrationLine.objects.get(migration=migration, path="s0").state == LineState.LEFT
    assert Secret.objects.get(name="kept/other").current_number == 2
    assert not Secret.objects.filter(name="s0", live=True).exists()


def test_a_new_name_is_not_told_to_who_may_not_write_there(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    again(cast)
    renamed(cast, "s0", "hidden/other")
    real = policy.allows

    def allows(actor: Any, action: Any, **given: Any) -> bool:
        return not str(given.get("name", "")).startswith("hidden/") and real(actor, action, **given)

    monkeypatch.setattr(plan, "allows", allows)
    migration = again(cast)
    line = MigrationLine.objects.get(migration=migration, path="s0")
    assert (line.word, line.name) == (Word.REFUSED, "s0")
    assert ("another name in Keeper" in line.reason, "hidden" in line.reason) == (True, False)
    assert not Secret.objects.filter(name="s0", live=True).exists()


def test_a_list_that_takes_long_keeps_the_lease(
    cast: Cast, memory: type[Memory], monkeypatch: pytest.MonkeyPatch
) -> None:
    migration = start(cast)
    held: list[Any] = []

    def paths(_self: Memory, _place: str) -> Iterator[str]:
        for name in sorted(memory.secrets):
            held.append(Migration.objects.get().lease_until)
            yield name

    monkeypatch.setattr(memory, "paths", paths)
    monkeypatch.setattr(engine, "_RENEW_AFTER", -1.0)
    assert work(migration).state == MigrationState.PLANNED
    assert len({*held}) > 1


def test_a_path_that_no_row_holds_is_refused(cast: Cast, memory: type[Memory]) -> None:
    memory.secrets["x" * 2_000] = ["one"]
    migration = start(cast)
    apply(cast, work(migration))
    work(migration)
    words = dict(MigrationLine.objects.filter(path__startswith="x").values_list("word", "reason"))
    assert words == {Word.REFUSED: "its path there has more than 1,024 characters"}
    assert (migration.state, Secret.objects.count()) == (MigrationState.DONE, 10)


def test_a_migration_whose_environments_are_gone_is_seen_by_nobody(cast: Cast) -> None:
    migration = start(cast)
    Environment.objects.filter(pk=cast.development.pk).update(deleted_at=timezone.now())
    assert service.visible_migrations(cast.principal(cast.charlie)) == []
    with pytest.raises(Invisible):
        service.find_migration(actor=cast.principal(cast.charlie), id=migration.pk)
    assert engine.due_ids() == []


@pytest.mark.parametrize("act", ["choose", "skip", "apply"])
def test_who_looked_before_another_applied_it_changes_nothing(cast: Cast, act: str) -> None:
    keep(cast, "s0", "ours")
    seen = work(start(cast))
    apply(cast, Migration.objects.get(pk=seen.pk), follow_seconds=300)
    line = MigrationLine.objects.get(path="s0")
    erin = cast.principal(cast.erin)
    acts: dict[str, Callable[[], Any]] = {
        "choose": lambda: service.choose(actor=erin, migration=seen, line=line, choice=Choice.TAKE),
        "skip": lambda: service.skip(actor=erin, migration=seen, reason="any"),
        "apply": lambda: apply(cast, seen),
    }
    with pytest.raises(MigrationNotReady, match="The plan is another one"):
        acts[act]()
    line.refresh_from_db()
    assert (line.chosen, Migration.objects.get().follow_seconds) == ("", 300)


@pytest.mark.parametrize("choice", [Choice.SKIP, Choice.TAKE])
def test_a_choice_is_made_where_both_have_changed_alone(cast: Cast, choice: Choice) -> None:
    keep(cast, "s0", "ours")
    migration = work(start(cast))
    line = MigrationLine.objects.get(path="s0" if choice is Choice.SKIP else "s1")
    with pytest.raises(MigrationNotReady, match="nothing to choose"):
        service.choose(actor=cast.principal(cast.erin), migration=migration, line=line, choice=choice)


def test_an_installation_that_is_not_active_carries_nothing(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    migration = work(start(cast))
    apply(cast, migration)
    monkeypatch.setattr(engine, "is_active", lambda: False)
    assert work(migration).state == MigrationState.FAILED
    assert "is not active" in migration.error
    assert not Secret.objects.exists()


def test_credentials_go_to_the_address_that_they_were_given_for(
    cast: Cast, memory: type[Memory], monkeypatch: pytest.MonkeyPatch
) -> None:
    migration = start(cast)
    monkeypatch.setattr(memory, "endpoint", classmethod(lambda _cls, _settings: "https://elsewhere.example"))
    monkeypatch.setattr(memory, "paths", lambda *_: pytest.fail("it was asked"))
    assert work(migration).state == MigrationState.FAILED
    assert "is not the one" in migration.error


def test_a_plan_that_nobody_has_applied_is_carried_by_no_other_act(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker is killed once the plan is there; the migration is paused, and goes on."""
    erin = cast.principal(cast.erin)
    migration = start(cast)
    with monkeypatch.context() as patched:
        patched.setattr(service, "finish_plan", lambda _release: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            work(migration)
    for act in (service.pause, service.resume):
        with contextlib.suppress(MigrationNotReady):
            act(actor=erin, migration=Migration.objects.get())
    forget_lease(migration)
    assert work(migration).state == MigrationState.PLANNED
    assert not Secret.objects.exists()


def unnumbered(memory: type[Memory], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the source give identifiers of versions instead of numbers."""

    def find(self: Memory, _place: str, path: str) -> Found:
        count = len(self.secrets[path])
        versions = [FoundVersion(number=each, identifier=f"id {each}") for each in range(1, count + 1)]
        return Found(path=path, versions=versions, current=count, is_numbered=False)

    monkeypatch.setattr(memory, "find", find)


@pytest.mark.parametrize("is_numbered", [True, False])
def test_an_origin_that_keeper_did_not_write_gives_no_right_to_overwrite(
    cast: Cast, memory: type[Memory], monkeypatch: pytest.MonkeyPatch, is_numbered: bool
) -> None:
    if not is_numbered:
        unnumbered(memory, monkeypatch)
    kept = keep(cast, "s0", "ours")
    VersionOrigin(
        version=SecretVersion.objects.get(secret=kept), migration=kept.uuid, system="memory", place="mem",
        path="s0", number=1, identifier="id 1", author="none",
    ).save()  # fmt: skip
    VersionOrigin.objects.update(author="edited")
    work(start(cast))
    assert MigrationLine.objects.get(path="s0").word == Word.CHANGED


@pytest.mark.parametrize("is_numbered", [True, False])
def test_what_came_from_another_place_is_not_continued_from_this_one(
    cast: Cast, memory: type[Memory], monkeypatch: pytest.MonkeyPatch, is_numbered: bool
) -> None:
    if not is_numbered:
        unnumbered(memory, monkeypatch)
    again(cast)
    for values in memory.secrets.values():
        values.append("of another place")
    migration = work(
        start_by(cast, Rule(place="other", how=How.ALL, environments={"": str(cast.development.uuid)}))
    )
    assert migration.counts["words"] == {Word.CHANGED: 10}


def test_a_look_that_the_source_refuses_does_not_end_the_following(
    cast: Cast, memory: type[Memory], monkeypatch: pytest.MonkeyPatch
) -> None:
    migration = work(start(cast))
    apply(cast, migration, follow_seconds=300)
    work(migration)
    Migration.objects.update(due_at=timezone.now() - timedelta(seconds=1), lease_until=None)

    def paths(_self: Memory, _place: str) -> Iterator[str]:
        raise PermissionMissing("the token has expired")

    monkeypatch.setattr(memory, "paths", paths)
    assert work(migration).state == MigrationState.APPLYING
    assert (migration.error, migration.due_at is not None) == ("the token has expired", True)


def test_each_place_is_named_once(cast: Cast) -> None:
    rule = Rule(place="mem", how=How.ALL, environments={"": str(cast.development.uuid)})
    for rules, told in (([rule, rule], "once"), ([rule] * (service.MAX_RULES + 1), "1 to 200")):
        with pytest.raises(BadDestination, match=told):
            start_by(cast, *rules)


def test_what_keeper_wrote_after_the_plan_is_not_overwritten(cast: Cast) -> None:
    again(cast)
    Memory.secrets["s0"].append("theirs")
    migration = work(start(cast))
    apply(cast, migration)
    secret = Secret.objects.get(name="s0")
    change(cast, secret, "ours")
    assert work(migration).state == MigrationState.DONE
    line = MigrationLine.objects.get(migration=migration, path="s0")
    assert (line.word, line.state) == (Word.NEWER, LineState.LEFT)
    secret.refresh_from_db()
    assert secret.current_number == 3


def test_a_source_of_too_many_secrets_is_not_planned(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "MAX_SECRETS", 9)
    migration = work(start(cast))
    assert migration.state == MigrationState.FAILED
    assert "Migrate fewer places" in migration.error
    assert not MigrationLine.objects.exists()


def test_a_plan_that_is_made_anew_keeps_no_older_line(cast: Cast) -> None:
    migration = work(start(cast))
    service.plan_again(actor=cast.principal(cast.erin), migration=migration)
    work(migration)
    assert {*MigrationLine.objects.values_list("plan", flat=True)} == {migration.plan}


def test_what_was_done_with_a_migration_is_on_record(
    cast: Cast, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    erin = cast.principal(cast.erin)
    migration = start(cast)
    service.pause(actor=erin, migration=migration)
    service.resume(actor=erin, migration=migration)
    work(migration)
    service.plan_again(actor=erin, migration=migration)
    monkeypatch.setattr(engine, "is_active", lambda: False)
    work(migration)
    service.stop(actor=erin, migration=migration)

    def told(action: Action, **outcome: str) -> list[dict[str, Any]]:
        return [parsed_details(event.details) for event in events(action, **outcome)]

    steps = [(each.get("paused"), each["state"]) for each in told(Action.MIGRATION_STOP)]
    assert steps == [(True, "paused"), (False, "planning"), (None, "stopped")]
    assert told(Action.MIGRATION_STOP)[-1]["credentials"] == "deleted"
    begun, planned, anew = told(Action.MIGRATION_PLAN, outcome="allowed")
    assert (begun["rules"], anew["again"]) == (migration.rules, True)
    assert (len(planned["plan"]), planned["counts"]["words"]) == (64, {"new": 10})
    (failed,) = told(Action.MIGRATION_PLAN, outcome="failed")
    assert "is not active" in failed["error"]
    (connected,) = told(Action.MIGRATION_CONNECT)
    assert connected["endpoint"] == "https://memory.example"
