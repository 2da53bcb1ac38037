"""A program reads guarded values without asking each time only while two people's release of it stands."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import orjson
import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from audit_app.events.actors import system
from audit_app.integrity.row_state import acts_on_rows, latest_digests
from audit_app.models import AuditEvent
from audit_app.queries import usage_index
from environments_app.approvals import service as approvals
from environments_app.approvals.applying import approve_and_apply
from environments_app.approvals.program_releases import end_release, standing
from environments_app.authorization.policy import Principal
from environments_app.authorization.principals import token_principal
from environments_app.authorization.rows import access_rows
from environments_app.environments import deletion
from environments_app.environments import service as environments
from environments_app.environments.memberships import revoke_membership
from environments_app.environments.restore_suspension import PROGRAM_RELEASES
from environments_app.errors import ApprovalNeeded, Conflict, Forbidden, InvalidField, Invisible
from environments_app.models import (
    Approval,
    Membership,
    ProgramRelease,
    ReviewItem,
    Role,
    ServiceToken,
    Trust,
    User,
)
from environments_app.reviews import service as reviews
from environments_app.reviews.decisions import Less, decide
from environments_app.reviews.population import given_since, lines_for, unsettled
from environments_app.reviews.service import listed_keys
from environments_app.tests.cast import Cast
from environments_app.tests.reviews.test_service import seen
from environments_app.tests.trusts.issuer import Issuer
from environments_app.tests.trusts.made import make_trust
from environments_app.tokens import rotation
from environments_app.tokens import service as tokens
from environments_app.tokens.children import issue_child
from environments_app.trusts import service as trusts
from gateway_app.engine.reads import ReadRequest, serve
from gateway_app.tests.aws.conftest import send as send_aws
from gateway_app.tests.aws.conftest import session_of, signed
from secrets_app.errors import GuardedValue, InvalidInput
from secrets_app.models import Secret
from secrets_app.services import guarded, lifecycle, read, releases, transfer, wrapped_reads
from secrets_app.services.usage import usage_report
from secrets_app.tests.kept import VALUE, change, keep, send

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]
WHY: Final = "The nightly job restores the vault"


@pytest.fixture
def secret(cast: Cast) -> Secret:
    """Return a secret of development that alice guarded; charlie is a manager there as well."""
    Membership.objects.create(environment=cast.development, user=cast.charlie, role=Role.MANAGER)
    kept = keep(cast, "app/db")
    guarded.guard(actor=cast.principal(cast.alice), secret=kept)
    return stored(kept)


@pytest.fixture
def issued(cast: Cast) -> tuple[ServiceToken, str]:
    return tokens.issue(
        actor=cast.principal(cast.alice), environment=cast.development, role="editor", name="ci"
    )


@pytest.fixture
def token(issued: tuple[ServiceToken, str]) -> ServiceToken:
    return ServiceToken.objects.select_related("environment").get(pk=issued[0].pk)


def stored(secret: Secret) -> Secret:
    return Secret.objects.select_related("environment").get(pk=secret.pk)


def ask(who: Principal, program: Any, **options: Any) -> Approval:
    given = {"environment": program.environment, "reason": WHY, **options}
    with pytest.raises(ApprovalNeeded) as raised:
        releases.release(actor=who, program=program, **given)
    return Approval.objects.select_related("environment").get(pk=raised.value.approval)


def released(cast: Cast, program: Any, **options: Any) -> ProgramRelease:
    """Return the release that alice asked for and charlie agreed to."""
    asked = ask(cast.principal(cast.alice), program, **options)
    applied = approve_and_apply(actor=cast.principal(cast.charlie), approval=asked)
    assert applied.done, applied.reason
    return ProgramRelease.objects.select_related("environment").latest("pk")


def value_for(token: ServiceToken, secret: Secret, number: int | None = None) -> str:
    fresh = ServiceToken.objects.select_related("environment").get(pk=token.pk)
    return read.reveal(actor=token_principal(fresh), secret=stored(secret), number=number).value


def refused(token: ServiceToken, secret: Secret) -> bool:
    before = AuditEvent.objects.filter(action="secret.reveal", outcome="denied").count()
    try:
        value_for(token, secret)
    except GuardedValue:
        return AuditEvent.objects.filter(action="secret.reveal", outcome="denied").count() == before + 1
    return False


def sql(statement: str, *values: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


def test_it_reads_what_two_people_agreed_to(cast: Cast, secret: Secret, token: ServiceToken) -> None:
    assert refused(token, secret)
    asked = ask(cast.principal(cast.alice), token, secret=secret)
    assert refused(token, secret)
    assert ask(cast.principal(cast.alice), token, secret=secret).pk == asked.pk
    assert approve_and_apply(actor=cast.principal(cast.charlie), approval=asked).done
    row = ProgramRelease.objects.get()
    assert (row.asked_by_name, row.agreed_by, row.reason, row.path) == ("alice", "charlie", WHY, "app/db")
    for _ in range(2):
        assert value_for(token, secret) == VALUE
    events = AuditEvent.objects.filter(action="secret.reveal", outcome="allowed", object_uuid=secret.uuid)
    assert [str(row.uuid) in event.details for event in events] == [True, True]
    (event,) = AuditEvent.objects.filter(action="secret.release")
    details = json.loads(event.details)
    assert (details["approved_by"], details["program_uuid"]) == ("charlie", str(token.uuid))
    assert list(access_rows()) == []


def test_an_older_version_is_of_the_same_secret(cast: Cast, secret: Secret, token: ServiceToken) -> None:
    """The release is for the secret: what the program may name of any other one, it may name of this one."""
    released(cast, token, secret=secret)
    change(cast, secret, "second")
    assert (value_for(token, secret), value_for(token, secret, 1)) == ("second", VALUE)


def test_people_and_other_programs_are_refused_as_before(
    cast: Cast, secret: Secret, token: ServiceToken
) -> None:
    released(cast, token, secret=secret)
    alice = cast.principal(cast.alice)
    other, _ = tokens.issue(actor=alice, environment=cast.development, role="editor", name="other")
    assert refused(other, secret)
    with pytest.raises(GuardedValue):
        read.reveal(actor=alice, secret=secret)


def test_it_takes_the_value_nowhere_else(cast: Cast, secret: Secret, token: ServiceToken) -> None:
    released(cast, token, secret=secret)
    actor = token_principal(token)
    ways: list[Callable[[], Any]] = [
        lambda: transfer.copy(actor=actor, secret=stored(secret), environment=cast.development, name="b"),
        lambda: transfer.move(actor=actor, secret=stored(secret), environment=cast.development, name="b"),
        lambda: read.require_readable(actor=actor, secret=stored(secret)),
        lambda: wrapped_reads.wrap_read(
            actor=actor, secret=stored(secret), path="x", lifetime=timedelta(hours=1)
        ),
    ]
    for way in ways:
        with pytest.raises(GuardedValue):
            way()
    shown = read.reveal_environment(actor=actor, environment=cast.development)
    assert (list(shown), shown.left_out) == ([], ["app/db"])


# --- Who agrees ----------------------------------------------------------------------------------------


def test_who_could_act_as_the_program_is_no_second_person(
    cast: Cast, secret: Secret, token: ServiceToken
) -> None:
    """Alice issued the token: she has seen its text."""
    asked = ask(cast.principal(cast.charlie), token, secret=secret)
    for user in (cast.alice, cast.charlie, cast.erin, cast.root):
        with pytest.raises((Forbidden, Invisible)):
            approvals.approve(actor=cast.principal(user), approval=asked)
    assert "alice" in str(asked.summary)


def test_the_maker_of_a_trust_and_who_changed_it_are_no_second_person(cast: Cast, secret: Secret) -> None:
    trust = make_trust(cast, Issuer(), environment=cast.development)
    asked = ask(cast.principal(cast.charlie), trust, secret=secret)
    with pytest.raises(Forbidden):
        approvals.approve(actor=cast.principal(cast.alice), approval=asked)
    # Who agreed, and changed the trust before the release was made, is behind it by then.
    again = ask(cast.principal(cast.alice), trust, path="app")
    agreed = approvals.approve(actor=cast.principal(cast.charlie), approval=again)
    trusts.change(actor=cast.principal(cast.charlie), trust=trust, claims={"sub": "mine"})
    with pytest.raises(Exception, match=r"changed|permission"):
        approvals.carry_out(actor=cast.principal(cast.alice), approval=agreed)
    assert not ProgramRelease.objects.exists()


def test_the_request_says_what_bounds_the_program(cast: Cast, secret: Secret, token: ServiceToken) -> None:
    alice, place = cast.principal(cast.alice), cast.development
    end = timezone.now().replace(microsecond=0) + timedelta(days=30)
    pasted = make_trust(cast, Issuer(), environment=place, prefix="app", expires_at=end)
    fetched = make_trust(
        cast, Issuer(), environment=place, name="cd", jwks="", jwks_url="https://issuer.test/keys"
    )

    def told(program: ServiceToken | Trust) -> list[str]:
        lines = {line["label"]: line["after"] for line in ask(alice, program, secret=secret).summary}
        return [lines.get(label, "") for label in ("Keys", "Path of the program", "End of the program")]

    assert told(pasted) == [
        "Pasted by who made or changed the trust",
        "app/",
        f"{end:%Y-%m-%d %H:%M UTC}",
    ]
    assert told(fetched)[:2] == ["https://issuer.test/keys", "All secrets"]
    ends = f"{token.expires_at:%Y-%m-%d %H:%M UTC}" if token.expires_at else "None"
    assert told(token) == ["", "All secrets", ends]


def test_an_approver_who_lost_the_right_gives_none(cast: Cast, secret: Secret, token: ServiceToken) -> None:
    asked = ask(cast.principal(cast.alice), token, secret=secret)
    agreed = approvals.approve(actor=cast.principal(cast.charlie), approval=asked)
    row = Membership.objects.get(user=cast.charlie)
    revoke_membership(actor=cast.principal(cast.alice), membership=row)
    with pytest.raises(Exception, match="permission"):
        approvals.carry_out(actor=cast.principal(cast.alice), approval=agreed)
    assert refused(token, secret)


def test_only_managers_ask(cast: Cast, secret: Secret, token: ServiceToken) -> None:
    for user in (cast.erin, cast.bob, cast.vera, cast.root):
        with pytest.raises(Forbidden):
            releases.release(
                actor=cast.principal(user),
                environment=cast.development,
                program=token,
                secret=secret,
                reason=WHY,
            )


def test_what_opens_nothing_is_not_released(cast: Cast, secret: Secret, token: ServiceToken) -> None:
    alice, place = cast.principal(cast.alice), cast.development

    def fails(error: type[Exception], program: Any = token, **given: Any) -> None:
        options: dict[str, Any] = {"secret": secret, "reason": WHY} | given
        with pytest.raises(error):
            releases.release(actor=alice, environment=place, program=program, **options)

    issue = tokens.issue
    viewer, _ = issue(actor=alice, environment=place, role="viewer", name="v")
    outside, _ = issue(actor=alice, environment=place, role="reader", name="o", prefix="shop")
    decoy, _ = issue(actor=alice, environment=place, role="reader", name="d", decoy=True)
    elsewhere, _ = issue(actor=alice, environment=cast.production, role="reader", name="e")
    child, _ = issue_child(actor=token_principal(token), parent=token, less={})
    fails(InvalidField, viewer)
    fails(InvalidField, outside)
    fails(InvalidField, outside, secret=None, path="app")
    fails(InvalidField, secret=None, path="")
    fails(Conflict, decoy)
    fails(Conflict, child)
    fails(Invisible, elsewhere)
    fails(InvalidInput, reason="short")
    fails(InvalidField, expires_at=timezone.now() - timedelta(hours=1))
    fails(Conflict, secret=keep(cast, "plain"))
    released(cast, token, secret=secret)
    fails(Conflict)
    tokens.revoke(actor=alice, token=token)
    token.refresh_from_db()
    fails(Conflict, secret=None, path="app")


# --- Where it ends -------------------------------------------------------------------------------------


def test_a_path_counts_by_whole_segments(cast: Cast, secret: Secret, token: ServiceToken) -> None:
    guard_paths(cast, "app z")
    inside = [keep(cast, name) for name in ("app/root", "app/root/a", "app/root/a/b")]
    outside = [keep(cast, name) for name in ("app/rooted", "app/roo", "app/ROOT/a", "z/app/root")]
    released(cast, token, path="app/root/")
    assert [value_for(token, row) for row in inside] == [VALUE] * 3
    assert all(refused(token, row) for row in [secret, *outside])
    # What is made there later is read as well.
    assert value_for(token, keep(cast, "app/root/later")) == VALUE


def guard_paths(cast: Cast, paths: str) -> None:
    """Guard paths of development, as alice."""
    environments.update_environment(
        actor=cast.principal(cast.alice), environment=cast.development, guarded_prefixes=paths
    )
    cast.development.refresh_from_db()


def rename(cast: Cast, secret: Secret, name: str) -> None:
    """Rename a guarded secret, as alice, with charlie's approval."""
    with pytest.raises(ApprovalNeeded) as raised:
        lifecycle.rename(actor=cast.principal(cast.alice), secret=stored(secret), name=name)
    asked = Approval.objects.select_related("environment").get(pk=raised.value.approval)
    assert approve_and_apply(actor=cast.principal(cast.charlie), approval=asked).done


def test_a_renamed_secret_leaves_its_release_and_meets_that_of_its_new_path(
    cast: Cast, secret: Secret, token: ServiceToken
) -> None:
    released(cast, token, secret=secret)
    rename(cast, secret, "other/db")
    assert refused(token, secret)
    released(cast, token, path="other")
    assert value_for(token, secret) == VALUE
    rename(cast, secret, "third/db")
    assert refused(token, secret)
    rename(cast, secret, "app/db")
    assert value_for(token, secret) == VALUE


def test_the_request_of_a_rename_names_the_programs_that_gain_or_lose_the_value(
    cast: Cast, secret: Secret, token: ServiceToken
) -> None:
    def lines(name: str) -> list[tuple[str, str, str]]:
        with pytest.raises(ApprovalNeeded) as raised:
            lifecycle.rename(actor=cast.principal(cast.alice), secret=stored(secret), name=name)
        summary = Approval.objects.get(pk=raised.value.approval).summary
        return [
            (line["label"].removeprefix("Released programs that "), line["before"], line["after"])
            for line in summary[1:]
        ]

    program = f"{token.name} (service token kpr_{token.public_id[:8]}…)"
    assert lines("other/db") == []
    released(cast, token, secret=secret)
    assert lines("away/db") == [("lose it", program, "")]
    rename(cast, secret, "gone/db")
    # That of the name alone counts again once the secret has it.
    assert lines("app/db") == [("gain it", "", program)]
    released(cast, token, path="other")
    assert lines("other/key") == [("gain it", "", program)]
    rename(cast, secret, "other/key")
    assert lines("other/another") == [("go on reading it", "", program)]


def test_the_request_counts_what_the_program_would_read(
    cast: Cast, secret: Secret, token: ServiceToken
) -> None:
    guard_paths(cast, "app")
    for name in ("app/root", "app/root/db", "app/root/db/a", "app/rooted", "app/ROOT/b", "app/root0"):
        keep(cast, name)
    alice = cast.principal(cast.alice)
    narrow, _ = tokens.issue(
        actor=alice, environment=cast.development, role="reader", name="narrow", prefix="app/root/db"
    )

    def line(program: ServiceToken, path: str) -> str:
        lines = ask(alice, program, path=path).summary
        (found,) = [one["after"] for one in lines if one["label"] == "Reads, whenever it asks"]
        return str(found)

    assert line(token, "app/root").endswith("app/root/, later ones too: 3 now")
    assert line(token, "APP/ROOT").endswith(": 0 now")
    told = line(narrow, "app/root")
    assert told.endswith(": 2 now")
    assert "reaches app/root/db/ alone" in told


def test_any_manager_ends_it_alone_at_once(cast: Cast, secret: Secret, token: ServiceToken) -> None:
    row = released(cast, token, secret=secret)
    for user in (cast.erin, cast.bob):
        with pytest.raises(Forbidden):
            end_release(actor=cast.principal(user), release=row)
    end_release(actor=cast.principal(cast.charlie), release=row)
    assert refused(token, secret)
    end_release(actor=cast.principal(cast.charlie), release=row)
    assert AuditEvent.objects.filter(action="secret.release_end", outcome="allowed").count() == 1
    assert ProgramRelease.objects.get().ended_by == "charlie"
    assert list(access_rows()) == []


def test_it_ends_at_its_time(cast: Cast, secret: Secret, token: ServiceToken) -> None:
    row = released(cast, token, secret=secret, expires_at=timezone.now() + timedelta(days=1))
    assert value_for(token, secret) == VALUE
    row.expires_at = timezone.now() - timedelta(seconds=1)
    row.save()
    assert refused(token, secret)


@pytest.mark.parametrize(
    "edit", ["path = 'app'", "secret_uuid = NULL", "program_uuid = %s", "ended_at = NULL"]
)
def test_an_edited_row_releases_nothing(cast: Cast, secret: Secret, token: ServiceToken, edit: str) -> None:
    row = released(cast, token, secret=secret)
    other, _ = tokens.issue(
        actor=cast.principal(cast.alice), environment=cast.development, role="editor", name="other"
    )
    reader = other if "program" in edit else token
    if "ended" in edit:
        before = bytes(row.row_mac)
        end_release(actor=cast.principal(cast.alice), release=row)
        # The older state as it was: its MAC is genuine.
        table = "environments_app_programrelease"
        sql(f"UPDATE {table} SET ended_at = NULL, ended_by = '', row_mac = %s", before)
        assert ProgramRelease.objects.select_related("environment").get().is_authentic()
    else:
        values = (
            [other.uuid.hex if connection.vendor == "sqlite" else str(other.uuid)] if "%s" in edit else []
        )
        sql(f"UPDATE environments_app_programrelease SET {edit}", *values)
    assert refused(reader, secret)
    assert AuditEvent.objects.filter(action="integrity.violation").exists()


def test_a_token_made_again_is_another_program(cast: Cast, secret: Secret, token: ServiceToken) -> None:
    alice = cast.principal(cast.alice)
    released(cast, token, secret=secret)
    tokens.revoke(actor=alice, token=token)
    again, _ = tokens.issue(actor=alice, environment=cast.development, role="editor", name="ci")
    assert refused(again, secret)
    assert standing(cast.development) == []


def test_a_rotated_token_is_released_again(cast: Cast, secret: Secret, token: ServiceToken) -> None:
    """Who rotates it has seen the new text: alone, without the second person."""
    released(cast, token, secret=secret)
    new, _ = rotation.rotate(actor=cast.principal(cast.alice), token=token)
    assert refused(new, secret)
    # Until its overlap ends.
    assert value_for(token, secret) == VALUE
    # No MAC covers which token one replaces.
    ServiceToken.objects.filter(pk=token.pk).update(replaces=new)
    assert refused(new, secret)


def test_what_comes_of_the_token_reads_as_it_does(cast: Cast, secret: Secret, token: ServiceToken) -> None:
    child, _ = issue_child(actor=token_principal(token), parent=token, less={"role": "reader"})
    grandchild, _ = issue_child(actor=token_principal(child), parent=child, less={})
    assert refused(grandchild, secret)
    released(cast, token, secret=secret)
    assert value_for(grandchild, secret) == VALUE
    sql("UPDATE environments_app_servicetoken SET prefix = 'app' WHERE id = %s", child.pk)
    with pytest.raises((Forbidden, Invisible)):
        value_for(grandchild, secret)


def workload(trust: Trust) -> ServiceToken:
    row = ServiceToken(
        environment=trust.environment,
        role=trust.role,
        name=trust.name,
        trust_uuid=trust.uuid,
        expires_at=timezone.now() + timedelta(minutes=15),
    )
    tokens.set_secret(row)
    row.save()
    return row


def test_workloads_read_by_their_trust_until_it_is_another(cast: Cast, secret: Secret) -> None:
    alice = cast.principal(cast.alice)
    trust = make_trust(cast, signer := Issuer(), environment=cast.development)
    assert refused(workload(trust), secret)
    released(cast, trust, secret=secret)
    assert value_for(workload(trust), secret) == VALUE
    for enabled in (False, True):
        trust = trusts.change(actor=alice, trust=trust, enabled=enabled)
    assert value_for(workload(trust), secret) == VALUE
    # Charlie agreed to who signs in; alice alone lets another one in.
    changed = trusts.change(actor=alice, trust=trust, claims={"sub": "alice"})
    assert refused(workload(changed), secret)
    assert [each.hindrance for each in standing(cast.development)] == ["the trust was changed since"]
    back = trusts.change(actor=alice, trust=changed, claims={"sub": "a-service"})
    assert value_for(workload(back), secret) == VALUE
    trusts.delete(actor=alice, trust=back)
    assert standing(cast.development) == []
    again = make_trust(cast, signer, environment=cast.development)
    assert refused(workload(again), secret)


def test_it_ends_with_the_secret_and_with_its_guard(cast: Cast, secret: Secret, token: ServiceToken) -> None:
    alice = cast.principal(cast.alice)
    released(cast, token, secret=secret)
    lifecycle.delete(actor=alice, secret=stored(secret))
    lifecycle.restore(actor=alice, secret=stored(secret))
    assert stored(secret).guarded
    assert refused(token, secret)
    released(cast, token, secret=secret)
    with pytest.raises(ApprovalNeeded) as raised:
        guarded.unguard(actor=alice, secret=stored(secret))
    asked = Approval.objects.select_related("environment").get(pk=raised.value.approval)
    assert approve_and_apply(actor=cast.principal(cast.charlie), approval=asked).done
    assert value_for(token, secret) == VALUE
    guarded.guard(actor=alice, secret=stored(secret))
    assert refused(token, secret)
    assert AuditEvent.objects.filter(action="secret.release_end").count() == 2
    # A secret that gets the name of a deleted one is guarded, and another one.
    released(cast, token, secret=secret)
    lifecycle.delete(actor=alice, secret=stored(secret))
    assert refused(token, keep(cast, "app/db"))


def test_a_path_is_taken_away_and_put_back(cast: Cast, secret: Secret, token: ServiceToken) -> None:
    """The release of a path outlives that of its guard: it reads nothing that is not guarded, or all of it."""
    alice = cast.principal(cast.alice)
    guard_paths(cast, "app/root")
    row = keep(cast, "app/root/a")
    released(cast, token, path="app/root")
    place = stored(row).environment
    with pytest.raises(ApprovalNeeded) as raised:
        environments.update_environment(actor=alice, environment=place, guarded_prefixes="")
    asked = Approval.objects.select_related("environment").get(pk=raised.value.approval)
    assert approve_and_apply(actor=cast.principal(cast.charlie), approval=asked).done
    assert value_for(token, row) == VALUE
    guard_paths(cast, "app")
    assert value_for(token, row) == VALUE
    assert refused(token, keep(cast, "app/other"))


def test_a_deleted_environment_has_none_and_a_restored_one_has_it_again(
    cast: Cast, secret: Secret, token: ServiceToken
) -> None:
    released(cast, token, secret=secret)
    alice, root = cast.principal(cast.alice), cast.principal(cast.root)
    gone = deletion.delete_environment(actor=alice, environment=stored(secret).environment)
    with pytest.raises(Invisible):
        value_for(token, secret)
    deletion.restore_environment(actor=root, environment=gone)
    assert value_for(token, secret) == VALUE
    gone = deletion.delete_environment(actor=alice, environment=stored(secret).environment)
    assert deletion.purge(actor=system(), environment=gone)
    assert not ProgramRelease.objects.exists()


def test_a_restore_suspends_it(cast: Cast, secret: Secret, token: ServiceToken) -> None:
    released(cast, token, secret=secret)
    since = timezone.now()
    assert PROGRAM_RELEASES.suspend(actor=cast.principal(cast.root), at=since, states={}) == 1
    assert refused(token, secret)
    (waiting,) = PROGRAM_RELEASES.waiting(since)
    PROGRAM_RELEASES.release(actor=cast.principal(cast.root), uuid=waiting.uuid, since=since)
    assert value_for(token, secret) == VALUE
    assert list(access_rows()) == []


def test_a_restore_brings_no_older_state_into_force(cast: Cast, secret: Secret, token: ServiceToken) -> None:
    """Suspending it would record it as its newest state, which a release then lets act."""
    row = released(cast, token, secret=secret)
    old = bytes(row.row_mac)
    end_release(actor=cast.principal(cast.alice), release=row)
    sql("UPDATE environments_app_programrelease SET ended_at = NULL, ended_by = '', row_mac = %s", old)
    root, since = cast.principal(cast.root), timezone.now()
    states = latest_digests(acts_on_rows())
    assert PROGRAM_RELEASES.suspend(actor=root, at=since, states=states) == 0
    assert PROGRAM_RELEASES.acting() == 0
    assert list(PROGRAM_RELEASES.waiting(since)) == []
    with pytest.raises(Conflict):
        PROGRAM_RELEASES.release(actor=root, uuid=row.uuid, since=since)
    assert refused(token, secret)
    assert [problem.kind for problem in access_rows()] == ["replayed"]


def test_a_review_has_the_last_read_of_what_is_released(
    cast: Cast, secret: Secret, token: ServiceToken
) -> None:
    other = keep(cast, "app/other")
    released(cast, token, secret=secret)
    released(cast, token, path="app/db")
    assert value_for(token, other) == VALUE

    def listed() -> list[ReviewItem]:
        usage_index.fill(seconds=60)
        reviews.start(actor=cast.principal(cast.root), name="Q4", environments=[cast.development])
        return [*ReviewItem.objects.filter(kind="release").order_by("-pk")[:2]]

    assert [item.last_used_at for item in listed()] == [None, None]
    assert value_for(token, secret) == VALUE
    read_at = AuditEvent.objects.filter(action="secret.reveal", outcome="allowed").latest("pk").at
    assert [item.last_used_at for item in listed()] == [read_at, read_at]


def test_the_page_of_access_lists_it(
    cast: Cast, secret: Secret, token: ServiceToken, signed_in: Callable[[User], Client]
) -> None:
    released(cast, token, secret=secret)
    client = signed_in(cast.alice)
    via = "release for guarded secrets, agreed by charlie"

    def ways(query: str) -> list[tuple[str, bool]]:
        found = client.get(f"/api/environments/development/access?{query}").json()["ways"]
        return [(way["who"], way["reads"]) for way in found if way["via"] == via]

    assert ways("name=app/db") == ways("token=ci") == [("ci", True)]
    # Not what is under a single secret's name, and no person.
    assert ways("name=app/db/below") == [("ci", False)]
    assert ways("person=alice") == []
    assert via in client.get("/environments/development/access").content.decode()


def test_one_of_a_program_that_may_not_read_there_any_more_says_so(
    cast: Cast, secret: Secret, token: ServiceToken
) -> None:
    released(cast, token, secret=secret)
    rotation.narrow(actor=cast.principal(cast.alice), token=token, prefix="other")
    (one,) = standing(cast.development)
    assert one.hindrance == "the program may not read there"
    with pytest.raises((Forbidden, Invisible)):
        value_for(token, secret)


# --- Meanwhile -----------------------------------------------------------------------------------------


def _ends(cast: Cast, _secret: Secret, _token: ServiceToken) -> None:
    end_release(
        actor=cast.principal(cast.alice), release=ProgramRelease.objects.select_related("environment").get()
    )


def _revokes(cast: Cast, _secret: Secret, token: ServiceToken) -> None:
    tokens.revoke(actor=cast.principal(cast.alice), token=token)


def _renames(cast: Cast, secret: Secret, _token: ServiceToken) -> None:
    rename(cast, secret, "other/db")


def _deletes(cast: Cast, secret: Secret, _token: ServiceToken) -> None:
    lifecycle.delete(actor=cast.principal(cast.alice), secret=stored(secret))


@pytest.mark.parametrize("act", [_ends, _revokes, _renames, _deletes])
def test_what_ends_between_verdict_and_answer_gives_nothing(
    cast: Cast,
    secret: Secret,
    token: ServiceToken,
    act: Callable[[Cast, Secret, ServiceToken], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    released(cast, token, secret=secret)
    opened = read.open_granted

    def meanwhile(*arguments: Any) -> str:
        value = opened(*arguments)
        act(cast, secret, token)
        return value

    monkeypatch.setattr(read, "open_granted", meanwhile)
    with pytest.raises((GuardedValue, Forbidden, Invisible)):
        value_for(token, secret)
    assert AuditEvent.objects.filter(action="secret.reveal", outcome="denied").exists()


# --- By each protocol ----------------------------------------------------------------------------------


def test_each_protocol_decides_by_it(cast: Cast, secret: Secret, issued: tuple[ServiceToken, str]) -> None:
    token, text = issued[0], issued[1]
    session = session_of(text)
    change(cast, secret, json.dumps({"password": VALUE}))

    def rest(path: str = f"/api/secrets/{secret.pk}", **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Client().get(path, headers={"authorization": f"Bearer {text}", **named})

    def vault(path: str = "data/app/db", **headers: str) -> Any:
        return Client().get(f"/vault/v1/secret/{path}", headers={"X-Vault-Token": text, **headers})

    def aws(operation: str = "GetSecretValue", **members: Any) -> Any:
        body = orjson.dumps(members or {"SecretId": "app/db"})
        return send_aws(signed(session, operation, body), body)

    def answers() -> list[tuple[int, bool]]:
        batch = aws("BatchGetSecretValue", SecretIdList=["app/db"])
        by_name = rest("/api/environments/development/secrets/app/db")
        found = [rest(), by_name, vault(), aws(), batch]
        return [(each.status_code, VALUE in each.content.decode()) for each in found]

    closed = [(403, False), (403, False), (403, False), (400, False), (200, False)]
    assert answers() == closed
    assert vault("metadata/app/db").status_code == 200
    row = released(cast, token, secret=secret)
    assert answers() == [(200, True)] * 5
    # Each read is decided and recorded: nothing is confirmed as unchanged.
    etag = rest().headers["ETag"]
    assert VALUE in rest(if_none_match=etag).content.decode()
    export = rest("/api/environments/development/export")
    assert (export.json(), export.headers["Keeper-Left-Out"]) == ({}, "1")
    wrapped = Client().get(
        "/vault/v1/secret/data/app/db", headers={"X-Vault-Token": text, "X-Vault-Wrap-TTL": "60"}
    )
    assert (wrapped.status_code, VALUE in wrapped.content.decode()) == (403, False)
    public_id, key = text.removeprefix("kpr_")[:22], text.removeprefix("kpr_")[23:]
    # The read engine leaves it to the general path.
    assert serve([ReadRequest(public_id, key, "192.0.2.1", "r", secret_id=secret.pk)]) == [None]
    end_release(actor=cast.principal(cast.alice), release=row)
    assert answers() == closed
    for known in (etag, "*"):
        answer = rest(if_none_match=known)
        assert (answer.status_code, VALUE in answer.content.decode()) == (403, False)
        assert answer.json()["title"] == "A second person is needed"


@pytest.mark.parametrize("act", ["renamed", "deleted", "put back"])
def test_one_that_counts_for_nothing_says_why(
    cast: Cast, secret: Secret, token: ServiceToken, act: str, signed_in: Callable[[User], Client]
) -> None:
    """Its program is refused: no list shows it as live, and no review keeps it."""
    row = released(cast, token, secret=secret)
    review = reviews.start(actor=cast.principal(cast.root), name="Q4", environments=[cast.development])
    item = ReviewItem.objects.select_related("review").get(review=review, kind="release")
    before = seen(item)
    if act == "renamed":
        rename(cast, secret, "other/db")
        why = "the secret was renamed"
    else:
        old = bytes(row.row_mac)
        if act == "deleted":
            lifecycle.delete(actor=cast.principal(cast.alice), secret=stored(secret))
        else:
            end_release(actor=cast.principal(cast.alice), release=row)
        sql(
            "UPDATE environments_app_programrelease SET ended_at = NULL, ended_by = '', row_mac = %s",
            old,
        )
        why = "the secret was deleted" if act == "deleted" else "an older state of the release was put back"
    if act != "deleted":
        assert refused(token, secret)
    assert [each.hindrance for each in standing(cast.development)] == [why]
    client = signed_in(cast.alice)
    pages = [f"/environments/development/tokens/{token.pk}"]
    pages += [f"/secrets/{secret.pk}"] if act != "deleted" else []
    for page in pages:
        assert why in client.get(page).content.decode(), page
    _, manager = tokens.issue(
        actor=cast.principal(cast.alice), environment=cast.development, role="manager", name="terraform"
    )
    api = Client(headers={"authorization": f"Bearer {manager}"})
    (listed,) = api.get("/api/environments/development/releases").json()["results"]
    assert listed["hindrance"] == why
    assert api.get(f"/api/environments/development/releases/{row.pk}").json() == listed
    charlie = cast.principal(cast.charlie)
    assert seen(item) != before
    assert why in signed_in(cast.root).get(f"/reviews/{review.pk}").content.decode()
    for state in (before, seen(item)):
        with pytest.raises(Conflict):
            decide(actor=charlie, item=item, decision="keep", state=state)
    decide(actor=charlie, item=item, decision="end", state=seen(item))
    assert standing(cast.development) == []


def test_usage_names_the_release_as_the_way(cast: Cast, secret: Secret, token: ServiceToken) -> None:
    def why() -> list[str]:
        report = usage_report(actor=cast.principal(cast.alice), secret=stored(secret))
        return [line for reader in report.readers if reader.name == "ci" for line in reader.why]

    assert why() == []
    row = released(cast, token, secret=secret)
    (line,) = why()
    assert "release agreed by charlie" in line
    value_for(token, secret)
    end_release(actor=cast.principal(cast.alice), release=row)
    assert why() == []
    (ghost,) = usage_report(actor=cast.principal(cast.alice), secret=stored(secret)).ghosts
    assert (ghost.name, ghost.hindrances) == ("ci", ["guarded, and not released for it"])


# --- On pages, by the API, and in reviews --------------------------------------------------------------


def test_a_manager_asks_and_ends_on_pages(
    cast: Cast, secret: Secret, token: ServiceToken, signed_in: Callable[[User], Client]
) -> None:
    client = signed_in(cast.alice)
    page = client.get(f"/secrets/{secret.pk}").content.decode()
    assert "No program reads it." in page
    form = "/environments/development/releases/new"
    assert f"{form}?reads=secret&amp;path=app%2Fdb" in page
    given = {"program": f"token-{token.pk}", "reads": "secret", "path": "app/db", "reason": WHY}
    for wrong in ({"program": "token-0"}, {"reason": "short"}, {"path": "app/none"}, {"path": ""}):
        assert client.post(form, given | wrong).status_code == 422, wrong
    asked = client.post(form, given)
    assert asked.status_code == 302
    approval = Approval.objects.get()
    assert asked["Location"].endswith(f"/approvals/{approval.pk}")
    signed_in(cast.charlie).post(f"/approvals/{approval.pk}/approve", {"comment": "fine"})
    row = ProgramRelease.objects.get()
    for address in (f"/secrets/{secret.pk}", f"/environments/development/tokens/{token.pk}"):
        shown = client.get(address).content.decode()
        assert "alice and charlie" in shown
        assert WHY in shown
    done = client.get(f"/approvals/{approval.pk}").content.decode()
    assert "Reads, whenever it asks" in done
    end = f"/environments/development/releases/{row.pk}/end"
    assert signed_in(cast.erin).post(end).status_code == 403
    for back, leads in (("https://evil.example/", "/environments/development"), ("/secrets", "/secrets")):
        answer = client.post(end, {"back": back})
        assert (answer.status_code, answer["Location"]) == (302, leads)
    assert refused(token, secret)
    assert "alice and charlie" not in client.get(f"/secrets/{secret.pk}").content.decode()


def test_two_tokens_of_one_name_are_told_apart(
    cast: Cast, secret: Secret, token: ServiceToken, signed_in: Callable[[User], Client]
) -> None:
    twin, _ = tokens.issue(
        actor=cast.principal(cast.alice), environment=cast.development, role="editor", name=token.name
    )
    form = signed_in(cast.alice).get("/environments/development/releases/new").content.decode()
    begins = {row.pk: f"kpr_{row.public_id[:8]}…" for row in (token, twin)}
    for begin in begins.values():
        assert f"ci (service token {begin})" in form
    for given in ({"secret": secret}, {"path": "app"}):
        asked = ask(cast.principal(cast.alice), twin, **given)
        page = signed_in(cast.charlie).get(f"/approvals/{asked.pk}").content.decode()
        assert f'href="/environments/development/tokens/{twin.pk}"' in page
        assert f"/environments/development/tokens/{token.pk}" not in page
        assert begins[twin.pk] in str(asked.summary)
        assert begins[token.pk] not in str(asked.summary)
    released(cast, twin, path="app")
    shown = signed_in(cast.alice).get(f"/secrets/{secret.pk}").content.decode()
    assert begins[twin.pk] in shown
    assert begins[token.pk] not in shown


def test_readers_see_nothing_of_it(
    cast: Cast, secret: Secret, token: ServiceToken, signed_in: Callable[[User], Client]
) -> None:
    released(cast, token, secret=secret)
    page = signed_in(cast.bob).get(f"/secrets/{secret.pk}").content.decode()
    assert "Released programs" not in page
    assert WHY not in page


def test_the_api_asks_lists_and_ends(cast: Cast, secret: Secret, token: ServiceToken) -> None:
    alice = cast.principal(cast.alice)
    _, manager = tokens.issue(actor=alice, environment=cast.development, role="manager", name="terraform")
    path = "/api/environments/development/releases"

    def call(method: str, address: str = path, body: Any = None) -> Any:
        return send(Client(headers={"authorization": f"Bearer {manager}"}), method, address, body)

    for wrong in (
        {"path": "app"},
        {"token": token.pk, "trust": 1, "path": "app"},
        {"token": token.pk},
        {"token": token.pk, "path": "app", "secret": "app/db"},
        {"token": token.pk, "path": "app", "nonsense": 1},
    ):
        assert call("POST", body={"reason": WHY, **wrong}).status_code == 400, wrong
    body = {"token": token.pk, "secret": "app/db", "reason": WHY}
    assert call("POST", body=body | {"secret": "app/none"}).status_code == 400
    asked = call("POST", body=body)
    assert asked.status_code == 202
    approval = Approval.objects.select_related("environment").get()
    # Alice issued the token that asked, and the one that is to be released.
    with pytest.raises(Forbidden):
        approvals.approve(actor=alice, approval=approval)
    assert approve_and_apply(actor=cast.principal(cast.charlie), approval=approval).done
    (row,) = call("GET").json()["results"]
    assert (row["program"], row["path"], row["agreed_by"], row["hindrance"]) == (
        "ci",
        "app/db",
        "charlie",
        "",
    )
    assert call("POST", body=body).status_code == 409
    one = f"{path}/{row['id']}"
    assert call("GET", one).json() == row
    assert call("DELETE", one).status_code == 204
    assert call("GET", one).json()["hindrance"] == "ended"
    assert refused(token, secret)


def test_each_review_lists_it_and_ends_it(cast: Cast, secret: Secret, token: ServiceToken) -> None:
    kept = released(cast, token, path="app")
    ended = released(cast, token, secret=secret)
    review = reviews.start(actor=cast.principal(cast.root), name="Q4", environments=[cast.development])
    items = {item.row_uuid: item for item in review.items.filter(kind="release")}
    assert items.keys() == {kept.uuid, ended.uuid}
    item = items[ended.uuid]
    assert (item.subject_name, item.prefix, item.granted_by_name) == ("ci", "app/db", "alice")
    assert "agreed by charlie" in item.via
    # Alice issued the token: the release is as her own.
    assert {each.reviewer_name for each in items.values()} == {"charlie"}
    with pytest.raises(Forbidden):
        decide(actor=cast.principal(cast.alice), item=item, decision="end", state=seen(item))
    charlie = cast.principal(cast.charlie)
    with pytest.raises(InvalidField):
        decide(actor=charlie, item=item, decision="change", state=seen(item), less=Less("viewer"))
    decide(actor=charlie, item=item, decision="end", state=seen(item))
    decide(actor=charlie, item=items[kept.uuid], decision="keep", state=seen(items[kept.uuid]))
    assert [row.release.pk for row in standing(cast.development)] == [kept.pk]
    assert value_for(token, secret) == VALUE
    # What is released again for the same has to be decided again.
    fresh = ReviewItem.objects.select_related("review").get(pk=item.pk)
    assert unsettled(fresh, lines_for([fresh]), listed_keys(review)) == ""
    again = released(cast, token, secret=secret)
    assert "again" in unsettled(fresh, lines_for([fresh]), listed_keys(review))
    assert [given["row"] for given in given_since(review)] == [str(again.uuid)]
