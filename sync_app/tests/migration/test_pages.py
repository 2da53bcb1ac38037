"""The pages of migrations, as a person uses them, on a real OpenBao."""

import json
from collections.abc import Callable

import pytest
from django.test import Client

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from sync_app.migration import service
from sync_app.models import Migration, MigrationLine
from sync_app.models.migration import Choice, MigrationState
from sync_app.tests.migration.driving import work
from sync_app.tests.migration.test_vault import OldVault, old

__all__ = ["old"]


def test_a_person_brings_a_vault_by_the_pages_alone(cast: Cast, old: OldVault) -> None:
    old.put("dev/app/db", {"value": "one"}, {"value": "two"})
    old.put("top", {"value": "in no folder"})
    browser = Client()
    browser.force_login(cast.alice)
    assert b"HashiCorp Vault" in browser.get("/migrations").content
    form = {
        "setting-address": old.url, "sign_in": "Token", "credential-token": old.token,
        "rules": f"{old.kv}=first-folder:dev=nowhere",
    }  # fmt: skip
    refused = browser.post("/migrations/new?source=vault", form)
    assert refused.status_code == 422
    assert "there is no environment nowhere" in refused.content.decode().replace("&#x27;", "'")
    form["rules"] = f"{old.kv}=first-folder:dev=development"
    answer = browser.post("/migrations/new?source=vault", form)
    migration = Migration.objects.get()
    assert answer["Location"] == f"/migrations/{migration.pk}"
    work(migration)
    page = browser.get(f"/migrations/{migration.pk}").content.decode()
    assert "app/db" in page
    assert "it lies in no folder" in page
    migration.refresh_from_db()
    stale = browser.post(f"/migrations/{migration.pk}/apply", {"plan": "0" * 64}, follow=True)
    assert "another one by now" in stale.content.decode()
    browser.post(
        f"/migrations/{migration.pk}/apply", {"plan": migration.plan_digest, "follow_seconds": "300"}
    )
    work(migration)
    assert Secret.objects.get().current_number == 2
    assert migration.state == MigrationState.FOLLOWING
    browser.post(f"/migrations/{migration.pk}/stop")
    migration.refresh_from_db()
    assert migration.state == MigrationState.STOPPED
    assert "v2" in browser.get(f"/migrations/{migration.pk}?word=new").content.decode()
    secret = browser.get(f"/secrets/{Secret.objects.get().pk}").content.decode()
    assert f"({old.kv}/dev/app/db v2)" in secret
    line = MigrationLine.objects.get(path="top")
    chosen = browser.post(
        f"/migrations/{migration.pk}/choose", {"line": str(line.uuid), "choice": "take"}, follow=True
    )
    assert "nothing to choose" in chosen.content.decode()


def test_what_cannot_be_carried_is_settled_by_one_click_a_reason(
    cast: Cast, old: OldVault, events: Callable[..., list[AuditEvent]]
) -> None:
    for name in ("a", "b", "c"):
        old.put(name, {"value": "in no folder"})
    old.put("other/x", {"value": "in a folder without a rule"})
    old.put("dev/db", {"value": "one"})
    browser = Client()
    browser.force_login(cast.alice)
    form = {
        "setting-address": old.url, "sign_in": "Token", "credential-token": old.token,
        "rules": f"{old.kv}=first-folder:dev=development",
    }  # fmt: skip
    browser.post("/migrations/new?source=vault", form)
    migration = Migration.objects.get()
    work(migration)
    page = browser.get(f"/migrations/{migration.pk}").content.decode()
    assert "Skip all 3" in page
    assert "Skip it" in page
    digest = migration.plan_digest
    groups = service.unsettled(migration)
    assert [group["count"] for group in groups] == [3, 1]
    nobody = Client()
    nobody.force_login(cast.vera)
    refused = nobody.post(f"/migrations/{migration.pk}/skip", {"reason": groups[0]["reason"]})
    assert refused.status_code in {403, 404}
    # A line that was written outside Keeper is no reason to settle anything.
    MigrationLine.objects.filter(path="c").update(name="forged")
    done = browser.post(f"/migrations/{migration.pk}/skip", {"reason": groups[0]["reason"]}, follow=True)
    assert "2 settled" in done.content.decode()
    assert json.loads(events(Action.MIGRATION_PLAN)[-1].details)["skipped"] == 2
    lines = MigrationLine.objects.filter(migration=migration, chosen=Choice.SKIP)
    assert {line.path: line.is_authentic() for line in lines} == {"a": True, "b": True}
    line = MigrationLine.objects.get(path="dev/db")
    browser.post(f"/migrations/{migration.pk}/choose", {"line": str(line.uuid), "choice": "skip"})
    line.refresh_from_db()
    assert line.chosen == ""
    # What was settled is no part of the plan's digest, and nothing of it is carried.
    browser.post(f"/migrations/{migration.pk}/apply", {"plan": digest, "follow_seconds": "0"})
    work(migration)
    assert [each.name for each in Secret.objects.all()] == ["db"]
    late = browser.post(f"/migrations/{migration.pk}/skip", {"reason": groups[1]["reason"]}, follow=True)
    assert "another one by now" in late.content.decode()


@pytest.mark.parametrize("who", ["bob", "vera", "charlie", "root"])
def test_who_may_not_import_sees_none(cast: Cast, old: OldVault, who: str) -> None:
    alice, browser = Client(), Client()
    alice.force_login(cast.alice)
    form = {"setting-address": old.url, "credential-token": "t", "rules": f"{old.kv}=development"}
    alice.post("/migrations/new?source=vault", form)
    migration = Migration.objects.get()
    browser.force_login(getattr(cast, who))
    assert old.url not in browser.get("/migrations").content.decode()
    assert browser.get(f"/migrations/{migration.pk}").status_code in {403, 404}
    assert browser.post(f"/migrations/{migration.pk}/stop").status_code in {403, 404}
    browser.post("/migrations/new?source=vault", form)
    assert Migration.objects.count() == 1


def test_the_form_shows_where_the_rules_lead_and_begins_again_with_others(cast: Cast, old: OldVault) -> None:
    browser = Client()
    browser.force_login(cast.alice)
    rules = "secret=first-folder:dev=development,prod=production\nkv=development:team\nodd\nx=nowhere"
    answer = browser.get(
        "/migrations/new", {"source": "vault", "rules": rules}, headers={"HX-Request": "true"}
    )
    shown = answer.content.decode().replace("&#x27;", "'")
    for path, where in (
        ("secret/dev/app/db", "development: app/db"), ("secret/prod/app/db", "production: app/db"),
        ("kv/app/db", "development: team/app/db"), ("x=nowhere", "there is no environment nowhere"),
        ("odd", "a rule is PLACE=ENVIRONMENT"),
    ):  # fmt: skip
        assert f">{path}</td>" in shown
        assert f">{where}" in shown
    assert "<form" not in shown
    old.put("top", {"value": "in no folder"})
    form = {
        "setting-address": old.url, "setting-fields": "each", "sign_in": "Token", "credential-token": old.token,
        "rules": f"{old.kv}=first-folder:dev=development\n{old.old}=development:v1",
    }  # fmt: skip
    browser.post("/migrations/new?source=vault", form)
    migration = work(Migration.objects.get())
    again = f"/migrations/new?source=vault&amp;like={migration.pk}"
    assert again in browser.get(f"/migrations/{migration.pk}").content.decode()
    page = browser.get(again.replace("&amp;", "&")).content.decode()
    assert form["rules"] in page
    assert old.url in page
    assert '<option value="each" selected>' in page
    assert old.token not in page
    assert browser.get(f"/migrations/new?source=aws&like={migration.pk}").status_code == 404
    stranger = Client()
    stranger.force_login(cast.vera)
    assert stranger.get(again.replace("&amp;", "&")).status_code in {403, 404}


def test_what_can_be_done_follows_the_progress(cast: Cast, old: OldVault) -> None:
    browser = Client()
    browser.force_login(cast.alice)
    form = {"setting-address": old.url, "credential-token": old.token, "rules": f"{old.kv}=development"}
    browser.post("/migrations/new?source=vault", form)
    migration = Migration.objects.get()
    part = {"HX-Request": "true"}
    assert "HX-Refresh" not in browser.get(f"/migrations/{migration.pk}", headers=part).headers
    work(migration)
    assert browser.get(f"/migrations/{migration.pk}", headers=part).headers["HX-Refresh"] == "true"
    assert "HX-Refresh" not in browser.get(f"/migrations/{migration.pk}").headers
