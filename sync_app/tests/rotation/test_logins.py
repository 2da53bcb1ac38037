"""Making the idle login like the one that is served: what is shown is what is run, and only while it is idle."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from psycopg import sql

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.errors import Conflict, Forbidden
from environments_app.tests.cast import Cast
from sync_app.domain.rotation_state import Step
from sync_app.errors import RotationConflict, RotationInProgress
from sync_app.jobs.leases import database_now
from sync_app.models import Rotation
from sync_app.rotation.execution import logins, operator_actions
from sync_app.rotators.mysql.tests.world import MariaDbWorld
from sync_app.rotators.postgresql.rotator import PostgreSql
from sync_app.rotators.postgresql.tests.world import PostgreSqlWorld
from sync_app.tests.rotation.making import asked, made_policy, made_secret, worked
from tests.servers.postgresql import PASSWORD, SUPERUSER

pytestmark = pytest.mark.django_db(transaction=True)


def spoil(world: PostgreSqlWorld, *, by_hand: bool = True) -> None:
    """Let B differ in what Keeper may mend, and by a grant and an owner, which only a person may."""
    a, b = (sql.Identifier(user).as_string() for user in world.users)
    group = f"group_{world.mark}"
    statements = [
        f"CREATE ROLE {group}",
        f"GRANT {group} TO {a}",
        f"ALTER ROLE {b} CONNECTION LIMIT 3",
        f"ALTER ROLE {a} SET search_path = \"$user\", 'it''s', public",
        f"ALTER ROLE {b} VALID UNTIL '2096-01-01'",
        f"ALTER ROLE {b} SET statement_timeout = '50s'",
        f"GRANT pg_signal_backend TO {b}",
    ]
    if by_hand:
        statements += [
            "CREATE TABLE kept (id int)",
            f"GRANT SELECT ON kept TO {a}",
            "CREATE TABLE owned (id int)",
        ]
        statements += [f"ALTER TABLE owned OWNER TO {a}"]
    with world.connected(user=SUPERUSER, password=PASSWORD, dbname=f"app_{world.mark}") as connection:
        for statement in statements:
            connection.execute(statement.encode())


def mended(world: PostgreSqlWorld) -> None:
    """Do by hand what is left."""
    b = sql.Identifier(world.users[1]).as_string()
    with world.connected(user=SUPERUSER, password=PASSWORD, dbname=f"app_{world.mark}") as connection:
        connection.execute(f"GRANT SELECT ON kept TO {b}".encode())
        connection.execute("DROP TABLE owned")


def test_what_keeper_may_mend_is_mended_and_the_rest_is_for_a_person(
    cast: Cast, postgres: PostgreSqlWorld
) -> None:
    alice, erin = cast.principal(cast.alice), cast.principal(cast.erin)
    spoil(postgres)
    policy = made_policy(cast, postgres, secret=made_secret(cast, postgres))
    assert len(policy.differences) == 8
    rotation = worked(asked(cast, policy))
    assert (rotation.step, rotation.stopped_at is not None) == (Step.TEST, True)
    found = logins.compare_logins(actor=erin, policy=policy)
    assert [each.what for each in found.differences] == [each.what for each in policy.differences]
    assert len(found.for_keeper) == 6
    assert any(
        "owns table public.owned" in each.what and "ALTER … OWNER" in each.todo for each in found.for_people
    )
    granted = next(each for each in found.for_people if "SELECT on table public.kept" in each.what)
    assert granted.sql.startswith("GRANT SELECT ON TABLE public.kept TO")
    assert granted.refused
    assert "pg_hba.conf, unless" in found.not_compared
    # To look has changed nothing.
    assert logins.compare_logins(actor=erin, policy=policy) == found
    with pytest.raises(Forbidden):
        logins.align_logins(actor=erin, policy=policy, expected=found.digest)
    left = logins.align_logins(actor=alice, policy=policy, expected=found.digest)
    assert [each.what for each in left.differences] == [each.what for each in found.for_people]
    settings = postgres.execute(
        "SELECT rolconfig, rolconnlimit FROM pg_roles WHERE rolname = %s", postgres.users[1]
    )
    assert settings == [(['search_path="$user", "it\'s", public'], -1)]
    events = AuditEvent.objects.filter(action=Action.ROTATION_CHANGE, outcome="allowed").order_by("sequence")
    before, after = (json.loads(event.details) for event in events)
    assert before["sql"] == [each.sql for each in found.for_keeper]
    assert (after["ran"], after["refused"]) == (6, [])
    told = json.dumps([before, after, [vars(each) for each in found.differences]])
    assert postgres.password not in told
    assert "SCRAM" not in told
    mended(postgres)
    rotation = worked(operator_actions.retry(actor=erin, rotation=rotation))
    assert (rotation.step, rotation.problem) == (Step.GRACE, "")


def test_mariadb_is_mended_as_far_as_the_administrator_may(cast: Cast, mariadb: MariaDbWorld) -> None:
    alice = cast.principal(cast.alice)
    plain = {"login_a": "`" + mariadb.users[0].replace("`", "``") + "`"}
    policy = made_policy(cast, mariadb, settings=mariadb.settings() | plain)
    a, b = mariadb.users
    mariadb.execute("RENAME USER %s@'127.0.0.%%' TO %s@'%%'", b, b)
    mariadb.execute("ALTER USER %s@'127.0.0.%%' REQUIRE SSL", a)
    mariadb.execute("ALTER USER %s@'127.0.0.%%' WITH MAX_USER_CONNECTIONS 7 MAX_STATEMENT_TIME 2.5", a)
    mariadb.execute("ALTER USER %s@'127.0.0.%%' PASSWORD EXPIRE INTERVAL 90 DAY", a)
    mariadb.execute(f"CREATE ROLE role_{mariadb.mark}")
    mariadb.execute(f"GRANT role_{mariadb.mark} TO %s@'127.0.0.%%' WITH ADMIN OPTION", a)
    mariadb.execute(f"SET DEFAULT ROLE role_{mariadb.mark} FOR %s@'127.0.0.%%'", a)
    mariadb.execute(f"CREATE TABLE app_{mariadb.mark}.t (id int, word text)")
    mariadb.execute(f"GRANT UPDATE (word) ON app_{mariadb.mark}.t TO %s@'127.0.0.%%'", a)
    mariadb.execute(f"GRANT ALL ON app_{mariadb.mark}.* TO %s@'127.0.0.%%' WITH GRANT OPTION", a)
    found = logins.compare_logins(actor=alice, policy=policy)
    assert {each.sql.split()[0] for each in found.for_keeper} == {"ALTER", "RENAME"}
    assert all(each.sql.startswith(("GRANT", "REVOKE", "SET")) and each.refused for each in found.for_people)
    assert len(found.for_people) >= 5
    left = logins.align_logins(actor=alice, policy=policy, expected=found.digest)
    assert [each.sql.replace("%", "") for each in left.differences] == [
        each.sql.replace("@`%`", "@`127.0.0.`").replace("%", "") for each in found.for_people
    ]
    # A person runs what is shown, as root.
    for each in left.differences:
        mariadb.execute(each.sql)
    assert logins.compare_logins(actor=alice, policy=policy).differences == ()
    assert worked(asked(cast, policy)).step == Step.GRACE


def test_an_administrator_with_all_rights_mends_all(cast: Cast, mariadb: MariaDbWorld) -> None:
    alice = cast.principal(cast.alice)
    policy = made_policy(cast, mariadb)
    mariadb.execute("GRANT ALL ON *.* TO %s@'%%' WITH GRANT OPTION", mariadb.administrator)
    mariadb.execute(f"GRANT ALL ON app_{mariadb.mark}.* TO %s@'127.0.0.%%'", mariadb.users[0])
    mariadb.execute("GRANT PROCESS ON *.* TO %s@'127.0.0.%%'", mariadb.users[1])
    found = logins.compare_logins(actor=alice, policy=policy)
    assert found.for_people == []
    assert logins.align_logins(actor=alice, policy=policy, expected=found.digest).differences == ()
    assert worked(asked(cast, policy)).step == Step.GRACE


def test_what_was_not_shown_is_not_run(cast: Cast, postgres: PostgreSqlWorld) -> None:
    alice = cast.principal(cast.alice)
    policy = made_policy(cast, postgres)
    spoil(postgres, by_hand=False)
    found = logins.compare_logins(actor=alice, policy=policy)
    a = sql.Identifier(postgres.users[0]).as_string()
    postgres.execute(f"ALTER ROLE {a} CREATEDB".encode())
    with pytest.raises(RotationConflict, match="compare them again"):
        logins.align_logins(actor=alice, policy=policy, expected=found.digest)
    again = logins.compare_logins(actor=alice, policy=policy)
    assert len(again.differences) == len(found.differences) + 1
    assert not AuditEvent.objects.filter(action=Action.ROTATION_CHANGE).exists()


def test_a_rotation_that_begins_meanwhile_keeps_its_login(
    cast: Cast, postgres: PostgreSqlWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the check and the act: a rotation is asked for while the lock on the server is waited for."""
    alice = cast.principal(cast.alice)
    policy = made_policy(cast, postgres)
    spoil(postgres, by_hand=False)
    found = logins.compare_logins(actor=alice, policy=policy)
    lock = PostgreSql._lock

    def meanwhile(self: Any, *given: Any) -> None:
        asked(cast, policy)
        lock(self, *given)

    monkeypatch.setattr(PostgreSql, "_lock", meanwhile)
    with pytest.raises(RotationInProgress):
        logins.align_logins(actor=alice, policy=policy, expected=found.digest)
    monkeypatch.undo()
    assert logins._compare(postgres.rotator(), postgres.current).digest == found.digest
    assert AuditEvent.objects.filter(action=Action.ROTATION_CHANGE).latest("sequence").outcome == "failed"


def test_a_login_that_consumers_may_use_is_left_alone(cast: Cast, postgres: PostgreSqlWorld) -> None:
    alice = cast.principal(cast.alice)
    policy = made_policy(cast, postgres)
    assert worked(asked(cast, policy)).step == Step.GRACE
    policy.refresh_from_db()
    found = logins.compare_logins(actor=alice, policy=policy)
    with pytest.raises(RotationInProgress, match="both logins are in use"):
        logins.align_logins(actor=alice, policy=policy, expected=found.digest)
    # One that stopped after its value was served has let no consumer go on.
    Rotation.objects.update(stopped_at=database_now())
    with pytest.raises(RotationInProgress, match="both logins are in use"):
        logins.align_logins(actor=alice, policy=policy, expected=found.digest)


def test_a_protected_environment_asks_for_what_a_change_of_the_policy_asks_for(
    cast: Cast, postgres: PostgreSqlWorld
) -> None:
    from environments_app.models import Environment
    from sync_app.models import RotationPolicy

    alice = cast.principal(cast.alice)
    policy = made_policy(cast, postgres)
    spoil(postgres, by_hand=False)
    found = logins.compare_logins(actor=alice, policy=policy)
    place = Environment.objects.get(pk=cast.development.pk)
    place.protected = True
    place.save()
    with pytest.raises(Conflict, match="suspend the policy"):
        logins.align_logins(actor=alice, policy=RotationPolicy.objects.get(), expected=found.digest)


def test_the_pages_and_the_api_show_the_statements_and_run_them(
    cast: Cast, postgres: PostgreSqlWorld, signed_in: Callable[..., Client], bearer: Callable[..., Client]
) -> None:
    policy = made_policy(cast, postgres)
    spoil(postgres)
    alice, erin = signed_in(cast.alice), signed_in(cast.erin)
    assert f"/rotation/{policy.pk}/logins" in erin.get(f"/rotation/{policy.pk}").content.decode()
    seen = erin.post(f"/rotation/{policy.pk}/logins").content.decode()
    assert "CONNECTION LIMIT -1" in seen
    assert "Manual changes" in seen
    assert "like the current login</button>" not in seen
    manager = bearer("manager", cast.development)
    path = f"/api/environments/development/rotation-policies/{policy.pk}"
    compared = manager.post(f"{path}/logins", "{}", content_type="application/json").json()
    assert [bool(each["refused"] or not each["sql"]) for each in compared["differences"]].count(False) == 6
    shown = alice.post(f"/rotation/{policy.pk}/logins").content.decode()
    assert f'value="{compared["digest"]}"' in shown
    wrong = manager.post(
        f"{path}/align-logins", json.dumps({"expected": "0" * 64}), content_type="application/json"
    )
    assert wrong.status_code == 409
    done = alice.post(f"/rotation/{policy.pk}/align", {"expected": compared["digest"]}).content.decode()
    assert "CONNECTION LIMIT" not in done
    assert "owns table public.owned" in done
    body = json.dumps(
        {"expected": manager.post(f"{path}/logins", "{}", content_type="application/json").json()["digest"]}
    )
    left = manager.post(f"{path}/align-logins", body, content_type="application/json").json()
    assert len(left["differences"]) == 2
