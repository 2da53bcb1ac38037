"""The pages of migrations, as a person uses them, on a real OpenBao."""

import pytest
from django.test import Client

from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from sync_app.migration import engine
from sync_app.models import Migration, MigrationLine
from sync_app.models.migration import MigrationState
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
    engine.execute(migration.pk)
    page = browser.get(f"/migrations/{migration.pk}").content.decode()
    assert "app/db" in page
    assert "it lies in no folder" in page
    migration.refresh_from_db()
    stale = browser.post(f"/migrations/{migration.pk}/apply", {"plan": "0" * 64}, follow=True)
    assert "another one by now" in stale.content.decode()
    browser.post(
        f"/migrations/{migration.pk}/apply", {"plan": migration.plan_digest, "follow_seconds": "300"}
    )
    engine.execute(migration.pk)
    assert Secret.objects.get().current_number == 2
    migration.refresh_from_db()
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
