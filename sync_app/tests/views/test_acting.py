"""What the pages start, against a real OpenBao: create, plan, apply, decide, adopt, pause, disconnect."""

from collections.abc import Callable
from typing import Any

import pytest
from celery import current_app
from django.test import Client

from environments_app.environments import service as environments
from environments_app.models import Approval, Membership, Role
from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from secrets_app.services import read
from sync_app.backends.vault.tests.world import VaultWorld
from sync_app.models import Plan, Run, SyncEntry, SyncPause, Target
from sync_app.runs import runner as runs_runner
from sync_app.tests.applying.stage import Stage
from sync_app.views import plans

# Threads compare values; they find the system keys open only once those are committed.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(current_app, "send_task", lambda *_, **__: None)


@pytest.fixture
def stage(cast: Cast, vault: VaultWorld) -> Stage:
    return Stage(cast, vault)


@pytest.fixture
def alice(cast: Cast, signed_in: Callable[..., Client]) -> Client:
    return signed_in(cast.alice)


def post(client: Client, path: str, form: dict[str, Any] | None = None) -> str:
    """Post a form and return where it leads."""
    response = client.post(path, form or {})
    assert response.status_code == 302, response.content.decode()[:2000]
    return response["Location"]


def worked() -> Run:
    """Let a worker do what is queued."""
    run = runs_runner.execute(Run.objects.get(active=True).pk)
    assert run is not None
    assert run.state == "done", run.error
    return run


def in_conflict(alice: Client, stage: Stage) -> None:
    """Change a/key on both sides after a sync."""
    stage.keep("a/key", "one")
    post(alice, f"/sync/{stage.target.pk}/sync")
    worked()
    stage.keep("a/key", "ours")
    stage.world.write(stage.path("a/key"), "theirs")


def planned(alice: Client, stage: Stage) -> Plan:
    """Have a plan made."""
    post(alice, f"/sync/{stage.target.pk}/plan")
    plan = worked().plan
    assert plan is not None
    return plan


def test_a_target_is_created_from_its_form(alice: Client, cast: Cast, vault: VaultWorld) -> None:
    form = {
        "environment": "development",
        "name": "vault",
        "direction": "push",
        "conflict": "ask",
        "deletion": "never",
        "budget_number": "10",
        "budget_percent": "10",
        "interval_seconds": "300",
        "scope": "",
        **{f"destination-{name}": text for name, text in vault.destination.items()},
        **{f"credential-{name}": text for name, text in vault.credentials.items()},
    }
    wrong = alice.post("/sync/new?backend=vault_kv2", {**form, "credential-token": "s.wrong"})
    assert wrong.status_code == 422
    assert "s.wrong" in wrong.content.decode(), "what was entered is kept for whoever entered it"
    assert not Target.objects.exists()
    assert post(alice, "/sync/new?backend=vault_kv2", form) == f"/sync/{Target.objects.get().pk}"


def test_a_new_target_is_tried_before_it_is_stored(alice: Client, cast: Cast, vault: VaultWorld) -> None:
    form = {
        "act": "test",
        "environment": "development",
        "direction": "push",
        "conflict": "ask",
        "deletion": "never",
        "budget_number": "10",
        "budget_percent": "10",
        "interval_seconds": "300",
        **{f"destination-{name}": text for name, text in vault.destination.items()},
        **{f"credential-{name}": text for name, text in vault.credentials.items()},
    }
    works = alice.post("/sync/new?backend=vault_kv2", form)
    assert (works.status_code, "Connected:" in works.content.decode()) == (200, True)
    wrong = alice.post("/sync/new?backend=vault_kv2", {**form, "credential-token": "s.wrong"})
    assert "Connection failed:" in wrong.content.decode()
    assert not Target.objects.exists()


def test_what_exists_is_imported_in_three_steps(alice: Client, cast: Cast, vault: VaultWorld) -> None:
    vault.write(f"{vault.prefix}/mail/smtp", "theirs")
    first = alice.get("/sync/new?purpose=import").content.decode()
    assert "backend=vault_kv2&amp;environment=&amp;purpose=import" in first
    assert "Choose a source" in first
    assert "backend=github_actions" not in first, "its values can't be read"
    form = {
        "environment": "development", "name": "existing", "direction": "push", "conflict": "ask", "deletion": "never",
        "budget_number": "10", "budget_percent": "10", "interval_seconds": "0",
        **{f"destination-{name}": text for name, text in vault.destination.items()},
        **{f"credential-{name}": text for name, text in vault.credentials.items()},
    }  # fmt: skip
    second = post(alice, "/sync/new?backend=vault_kv2&purpose=import", form)
    assert second.endswith("/adopt")
    assert "Listing the secrets" in alice.get(second).content.decode()
    worked()
    assert "mail/<wbr>smtp" in alice.get(second).content.decode()
    third = post(alice, second, {"mode": "keep_theirs", "names": ["mail/smtp"]})
    worked()
    assert 'aria-current="step">Review and import' in alice.get(third).content.decode()
    post(alice, f"{third}/apply")
    worked()
    secret = Secret.objects.get(environment=cast.development, name="mail/smtp")
    assert read.reveal(actor=cast.principal(cast.alice), secret=secret).value == "theirs"


def test_a_target_is_tried(alice: Client, stage: Stage) -> None:
    page = alice.post(f"/sync/{stage.target.pk}/test").content.decode()
    assert "Connected:" in page
    assert "secret/data/" in page, "each permission is named"


def test_plan_and_apply_and_the_secret_is_there(alice: Client, stage: Stage) -> None:
    stage.keep("payments/db", "one")
    where = post(alice, f"/sync/{stage.target.pk}/plan")
    assert (
        "Comparing both sides" in alice.get(where).content.decode()
        or "Waiting for a worker" in alice.get(where).content.decode()
    )
    worked()
    assert "Apply 1 change<" in alice.get(where).content.decode()
    assert post(alice, f"{where}/apply") == where
    worked()
    assert stage.theirs("payments/db") == "one"
    assert SyncEntry.objects.get().state == "in_sync"


def test_a_second_run_is_refused_with_a_sentence(alice: Client, stage: Stage) -> None:
    post(alice, f"/sync/{stage.target.pk}/plan")
    where = post(alice, f"/sync/{stage.target.pk}/plan")
    assert where == f"/sync/{stage.target.pk}"
    assert "being worked on" in alice.get(where).content.decode()


@pytest.mark.parametrize(("choice", "value"), [("keep_ours", "ours"), ("take_theirs", "theirs")])
def test_a_conflict_is_decided_from_the_plan(alice: Client, stage: Stage, choice: str, value: str) -> None:
    in_conflict(alice, stage)
    item = planned(alice, stage).items.get(act="conflict")
    where = post(alice, f"/sync/plans/{item.plan_id}/items/{item.pk}", {"choice": choice})
    assert where != f"/sync/plans/{item.plan_id}"
    worked()
    assert (stage.value("a/key"), stage.theirs("a/key")) == (value, value)


def test_a_choice_beside_a_conflict_is_staged_in_the_plan(alice: Client, stage: Stage) -> None:
    in_conflict(alice, stage)
    plan = planned(alice, stage)
    item, url = plan.items.get(act="conflict"), f"/sync/plans/{plan.pk}"
    page = alice.get(f"{url}/items/{item.pk}?choice-7=take_theirs").content.decode()
    assert f'name="choice-{item.pk}" value="keep_ours"' in page
    assert 'name="choice-7" value="take_theirs"' in page, "a choice made before goes along"
    page = alice.get(f"{url}?choice-{item.pk}=keep_ours").content.decode()
    assert f'name="choice-{item.pk}" value="keep_ours" checked' in page
    assert alice.get(f"{url}?choice-999999=keep_ours").content.decode().count('name="choice-999999"') == 1
    assert post(alice, f"{url}/apply", {f"choice-{item.pk}": "keep_ours"}) == url
    worked()
    assert (stage.theirs("a/key"), Plan.objects.latest("pk")) == ("ours", plan)


def test_a_decision_about_what_has_moved_on_says_that_it_was_not_carried_out(
    alice: Client, stage: Stage
) -> None:
    in_conflict(alice, stage)
    told = "Not written:"
    for late in (True, False):
        item = planned(alice, stage).items.get(act="conflict")
        if late:
            stage.world.write(stage.path("a/key"), "theirs as well")
        where = post(alice, f"/sync/plans/{item.plan_id}/items/{item.pk}", {"choice": "keep_ours"})
        worked()
        assert stage.theirs("a/key") == ("theirs as well" if late else "ours")
        page = alice.get(where).content.decode()
        assert (told in page, "Compare again" in page) == (late, late)


def test_a_decision_leaves_what_else_was_found_to_be_decided_and_adopted(alice: Client, stage: Stage) -> None:
    for name in ("a/key", "b/key"):
        stage.keep(name, "one")
    post(alice, f"/sync/{stage.target.pk}/sync")
    worked()
    stage.keep("a/key", "ours")
    stage.keep("c/key", "still to be written, so that the plan waits")
    for name in ("a/key", "b/key", "legacy/key"):
        stage.world.write(stage.path(name), "theirs")
    plan = planned(alice, stage)
    conflict, drifted = plan.items.get(act="conflict"), plan.items.get(act="drifted")
    decide = f'href="/sync/plans/{plan.pk}/items/{drifted.pk}"'
    assert decide in alice.get(f"/sync/plans/{plan.pk}").content.decode()
    post(alice, f"/sync/plans/{plan.pk}/items/{conflict.pk}", {"choice": "keep_ours"})
    worked()
    assert decide in alice.get(f"/sync/{stage.target.pk}").content.decode()
    assert "legacy/<wbr>key" in alice.get(f"/sync/{stage.target.pk}/adopt").content.decode()
    replaced = alice.get(f"/sync/plans/{plan.pk}").content.decode()
    assert "replaced by a newer plan" in replaced
    assert "Use Keeper’s value" not in replaced


def test_choices_are_applied_with_the_plan(alice: Client, stage: Stage) -> None:
    in_conflict(alice, stage)
    stage.keep("b/new", "value")
    plan = planned(alice, stage)
    item = plan.items.get(act="conflict")
    post(alice, f"/sync/plans/{plan.pk}/apply", {f"choice-{item.pk}": "take_theirs"})
    worked()
    assert (stage.value("a/key"), stage.theirs("b/new")) == ("theirs", "value")
    assert Plan.objects.filter(target=stage.target).latest("pk") == plan


def test_what_was_adopted_is_not_offered_again(alice: Client, stage: Stage) -> None:
    for name in ("mail/imap", "mail/smtp"):
        stage.world.write(stage.path(name), "theirs")
    post(alice, f"/sync/{stage.target.pk}/plan")
    worked()
    where = post(alice, f"/sync/{stage.target.pk}/adopt", {"mode": "keep_theirs", "names": ["mail/smtp"]})
    worked()
    post(alice, f"{where}/apply")
    worked()
    page = alice.get(f"/sync/{stage.target.pk}/adopt").content.decode()
    assert "1 found" in page
    assert "mail/<wbr>imap" in page
    assert "mail/<wbr>smtp" not in page


def test_a_long_list_of_what_can_be_adopted_leaves_no_name_out(
    alice: Client, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{plans.__name__}._NAMES", 2)
    names = [f"mail/{number}" for number in range(5)]
    for name in names:
        stage.world.write(stage.path(name), "theirs")
    post(alice, f"/sync/{stage.target.pk}/plan")
    worked()
    found, further = [], ""
    while True:
        context = alice.get(f"/sync/{stage.target.pk}/adopt{further}").context
        found += [item.name for item in context["items"]]
        if not (further := context["next_url"]):
            break
    assert found == names


def test_what_is_there_is_adopted(alice: Client, stage: Stage) -> None:
    stage.world.write(stage.path("mail/smtp"), "same")
    stage.keep("mail/smtp", "same")
    post(alice, f"/sync/{stage.target.pk}/plan")
    worked()
    page = alice.get(f"/sync/{stage.target.pk}/adopt").content.decode()
    assert "mail/<wbr>smtp" in page
    where = post(alice, f"/sync/{stage.target.pk}/adopt", {"mode": "only_if_equal", "names": ["mail/smtp"]})
    worked()
    post(alice, f"{where}/apply")
    worked()
    assert SyncEntry.objects.get(name="mail/smtp").ownership == "adopted"


def test_planning_again_after_an_adoption_plans_that_adoption(alice: Client, stage: Stage) -> None:
    for name in ("mail/smtp", "mail/imap"):
        stage.world.write(stage.path(name), "theirs")
    post(alice, f"/sync/{stage.target.pk}/plan")
    worked()
    where = post(alice, f"/sync/{stage.target.pk}/adopt", {"mode": "keep_theirs", "names": ["mail/smtp"]})
    worked()
    post(alice, f"{where}/apply")
    worked()
    assert f'action="{where}/again"' in alice.get(where).content.decode()
    post(alice, f"{where}/again")
    again = worked().plan
    assert again is not None
    assert (again.kind, again.options) == ("adopt", {"mode": "keep_theirs", "names": ["mail/smtp"]})
    assert [(item.name, item.act, item.reason) for item in again.items.all()] == [
        ("mail/smtp", "refused", "it is ours already")
    ]


def test_adopting_nothing_says_what_to_do(alice: Client, stage: Stage) -> None:
    where = post(alice, f"/sync/{stage.target.pk}/adopt", {"mode": "only_if_equal"})
    assert where == f"/sync/{stage.target.pk}/adopt"
    assert "names to import" in alice.get(where).content.decode()


def test_disconnect_leaves_and_then_the_target_is_removed(alice: Client, stage: Stage) -> None:
    stage.keep("payments/db", "one")
    post(alice, f"/sync/{stage.target.pk}/sync")
    worked()
    where = post(alice, f"/sync/{stage.target.pk}/disconnect", {"mode": "leave"})
    worked()
    post(alice, f"{where}/apply")
    worked()
    assert stage.theirs("payments/db") == "one"
    assert "Remove target" in alice.get(where).content.decode()
    assert post(alice, f"/sync/{stage.target.pk}/remove") == "/sync"
    assert Target.objects.get().live is None


def test_a_target_in_use_is_not_removed(alice: Client, stage: Stage) -> None:
    stage.keep("payments/db", "one")
    post(alice, f"/sync/{stage.target.pk}/sync")
    worked()
    assert post(alice, f"/sync/{stage.target.pk}/remove") == f"/sync/{stage.target.pk}"
    assert Target.objects.get().live


def test_pause_and_resume(alice: Client, stage: Stage) -> None:
    post(alice, f"/sync/{stage.target.pk}/pause")
    assert Target.objects.get().paused_at
    where = post(alice, f"/sync/{stage.target.pk}/sync")
    assert "is paused" in alice.get(where).content.decode()
    post(alice, f"/sync/{stage.target.pk}/resume")
    assert not Target.objects.get().paused_at


def test_an_administrator_pauses_all(cast: Cast, signed_in: Callable[..., Client]) -> None:
    root = signed_in(cast.root)
    post(root, "/sync/pause")
    assert SyncPause.objects.exists()
    assert "Syncing is paused" in root.get("/sync").content.decode()
    post(root, "/sync/resume")
    assert not SyncPause.objects.exists()


def test_rules_are_changed_and_an_old_plan_is_void(alice: Client, stage: Stage) -> None:
    stage.keep("payments/db", "one")
    post(alice, f"/sync/{stage.target.pk}/plan")
    worked()
    rules = {
        "direction": "push",
        "conflict": "keeper_wins",
        "deletion": "never",
        "budget_number": "3",
        "budget_percent": "10",
        "interval_seconds": "3600",
    }
    post(alice, f"/sync/{stage.target.pk}/rules", rules)
    plan = Plan.objects.get()
    where = post(alice, f"/sync/plans/{plan.pk}/apply")
    assert "rules or address changed" in alice.get(where).content.decode()


def test_credentials_that_do_not_work_are_refused(alice: Client, stage: Stage) -> None:
    kept = {f"destination-{name}": text for name, text in stage.target.destination.items()}
    wrong = alice.post(f"/sync/{stage.target.pk}/credentials", {**kept, "credential-token": "s.wrong"})
    assert wrong.status_code == 422
    good = kept | {f"credential-{name}": text for name, text in stage.world.credentials.items()}
    elsewhere = {**good, "destination-address": "http://127.0.0.1:9"}
    assert alice.post(f"/sync/{stage.target.pk}/credentials", elsewhere).status_code == 422
    assert post(alice, f"/sync/{stage.target.pk}/credentials", good) == f"/sync/{stage.target.pk}"


def test_a_plan_that_needs_an_approval_leads_to_its_request(alice: Client, stage: Stage) -> None:
    stage.keep("a/key", "one")
    for row in Membership.objects.filter(user=stage.cast.erin):
        row.role = Role.MANAGER
        row.save()
    environments.update_environment(actor=stage.alice, environment=stage.environment, protected=True)
    plan = planned(alice, stage)
    place = post(alice, f"/sync/plans/{plan.pk}/apply")
    assert place == f"/approvals/{Approval.objects.latest('pk').pk}"
    page = alice.get(place)
    assert page.content.decode().count("Approval requested.") == 1
    assert f'href="/sync/plans/{plan.pk}"' in page.content.decode()
    assert page.context["names"].rows == [("a/key", "create")]
    assert not Run.objects.filter(active=True).exists()
