"""The sync pages in a browser: without barriers, live without moving, by keyboard, without JavaScript."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from secrets_app.services import write
from secrets_app.types.registry import SecretType
from sync_app.domain.delivery_state import DeliveryState
from sync_app.migration.placing import How, Rule
from sync_app.models import Migration, MigrationLine, Plan, PlanItem, Run, Target
from sync_app.models.migration import MigrationState, Word
from sync_app.tests.shown import make_entry, make_item, make_plan, make_run, make_target
from tests.browser.accessibility import Inspection, flaws
from tests.browser.effort import Effort
from tests.browser.visitor import Visitor

Make = Callable[..., Secret]
LONG = "payments/a-rather-long-name/for-a-secret-of-the-payments-service/production-db"
PAGES = {
    "sync": "/sync",
    "sync-empty": "/sync?environment=production",
    "sync-overview": "/sync/overview",
    "sync-overview-nothing": "/sync/overview?q=zzz",
    "target": "/sync/{target}",
    "target-not-seen-yet": "/sync/{target}?state=unknown",
    "target-nothing": "/sync/{target}?q=zzz",
    "target-kinds": "/sync/new",
    "import": "/sync/new?purpose=import",
    "import-aws": "/sync/new?purpose=import&backend=aws_secrets_manager",
    "target-new-vault": "/sync/new?backend=vault_kv2",
    "target-new": "/sync/new?backend=aws_secrets_manager",
    "target-new-ssm": "/sync/new?backend=aws_parameter_store",
    "target-new-github": "/sync/new?backend=github_actions",
    "target-new-gitlab": "/sync/new?backend=gitlab_ci",
    "target-new-kubernetes": "/sync/new?backend=kubernetes",
    "target-rules": "/sync/{target}/rules",
    "target-credentials": "/sync/{target}/credentials",
    "target-system": "/sync/{target}/system",
    "target-adopt": "/sync/{target}/adopt",
    "target-disconnect": "/sync/{target}/disconnect",
    "plan": "/sync/plans/{plan}",
    "plan-act": "/sync/plans/{plan}?act=create",
    "plan-running": "/sync/plans/{running}",
    "plan-item": "/sync/plans/{plan}/items/{item}",
    "plan-item-members": "/sync/plans/{plan}/items/{members}/members",
    "secret-delivery": "/secrets/{secret}",
    "secret-not-seen-yet": "/secrets/{unseen}",
    "secrets-delivery": "/secrets?delivery=drifted",
    "secrets-not-seen-yet": "/secrets?delivery=unknown",
    "sync-overview-not-seen-yet": "/sync/overview?state=unknown",
    "notifications": "/environments/development/notifications",
    "migrations": "/migrations",
    "migration-new": "/migrations/new?source=vault",
    "migration": "/migrations/{migration}",
}


class Scene:
    """A target with a plan of every kind of line."""

    def __init__(self, cast: Cast) -> None:
        self.cast = cast
        self.target: Target = make_target(
            cast.development,
            last_error="the token has expired: replace the credentials",
            deletion="recoverable",
        )
        self.secret = self._secret(LONG)
        make_entry(
            self.target,
            self.secret,
            DeliveryState.DRIFTED,
            reason="changed in target",
        )
        make_entry(self.target, self._secret("web/key"), DeliveryState.IN_SYNC)
        self.unseen = self._secret("web/not-seen-yet")
        make_entry(
            self.target,
            self.unseen,
            DeliveryState.UNKNOWN,
            reason="it was written, and Vault does not show it yet",
        )
        self.plan: Plan = make_plan(self.target, counts={"unchanged": 412})
        for act in (
            "create",
            "update",
            "pull",
            "delete",
            "drifted",
            "missing",
            "refused",
            "unmanaged",
            "unknown",
        ):
            make_item(self.plan, f"{act}/{LONG}", act, keeper_number=2)
        self.conflict: PlanItem = make_item(
            self.plan,
            LONG,
            "conflict",
            reason="changed on both sides",
            secret_uuid=self.secret.uuid,
            keeper_number=1,
            target_presence="present",
            target_version="4",
        )
        self.members: PlanItem = self._update_of_members()
        self.running: Plan = make_plan(self.target, "applying")
        make_item(self.running, "a/done", "create", state="done")
        make_item(
            self.running,
            "b/failed",
            "create",
            state="failed",
            error="the policy lacks create",
            permanent=True,
        )
        make_item(self.running, "c/under-way", "create", state="intended")
        self.run: Run = make_run(self.target, plan=self.running, finished=2, failed=1)
        self.migration: Migration = self._planned_migration()

    def _update_of_members(self) -> PlanItem:
        for value in ('{"host": "db", "user": "u", "old": 1}', '{"host": "db", "user": "v", "new": 1}'):
            secret, _ = write.put(
                actor=self.cast.principal(self.cast.alice),
                environment=self.cast.development,
                name=f"config/{LONG}",
                secret_type=SecretType.JSON,
                value=value,
            )
        first, second = secret.versions.order_by("number")
        synced = {"base_keeper": first.uuid.hex, "base_target": "4", "ownership": "created"}
        make_entry(self.target, secret, DeliveryState.PENDING, **synced)
        return make_item(
            self.plan,
            secret.name,
            "update",
            secret_uuid=secret.uuid,
            keeper_version=second.uuid.hex,
            keeper_number=2,
            target_version="4",
        )

    def _planned_migration(self) -> Migration:
        """Return a migration whose plan waits for its application, with a line that changed on both sides."""
        rule = Rule(place="secret", how=How.ALL, environments={"": str(self.cast.development.uuid)})
        alice = self.cast.principal(self.cast.alice)
        migration = Migration.objects.create(
            environment=self.cast.development,
            source="vault",
            endpoint="https://vault-of-the-payments-team.internal.example:8200",
            rules=[rule.stored()],
            actor_kind=alice.kind,
            actor_uuid=alice.uuid,
            actor_name=alice.name,
            state=MigrationState.PLANNED,
            plan_digest="0" * 64,
            counts={"secrets": 2, "versions": 2, "words": {Word.CHANGED: 1, Word.REFUSED: 1}, "states": {}},
        )
        for word, reason in ((Word.CHANGED, ""), (Word.REFUSED, "its value is larger than 64 KiB")):
            MigrationLine.objects.create(
                migration=migration,
                plan=migration.plan,
                place="secret",
                path=f"{word}/{LONG}",
                environment_uuid=self.cast.development.uuid,
                name=f"{word}/{LONG}".replace(" ", "-"),
                word=word,
                reason=reason,
                versions=[[1, 1, "2026-01-02T03:04:05Z", "alice", "", ""]],
            )
        return migration

    def _secret(self, name: str) -> Secret:
        return write.create(
            actor=self.cast.principal(self.cast.alice),
            environment=self.cast.development,
            name=name,
            secret_type=SecretType.PASSWORD,
            value="s3cr3t-Kx9",
        )

    def finish(self) -> None:
        """Let the run end, as a worker would."""
        self.running.items.filter(state="intended").update(state="done")
        Run.objects.filter(pk=self.run.pk).update(state="done", active=None, finished=3)
        Plan.objects.filter(pk=self.running.pk).update(state="done")

    @property
    def rows(self) -> dict[str, int]:
        """What the addresses of PAGES name."""
        return {
            "target": self.target.pk,
            "plan": self.plan.pk,
            "running": self.running.pk,
            "item": self.conflict.pk,
            "members": self.members.pk,
            "secret": self.secret.pk,
            "unseen": self.unseen.pk,
            "migration": self.migration.pk,
        }


@pytest.fixture
def scene(cast: Cast) -> Scene:
    return Scene(cast)


def test_the_sync_pages_are_without_barriers(visitor: Visitor, scene: Scene) -> None:
    page, inspection = visitor.open("/", user=scene.cast.alice), Inspection(visitor)
    for name, path in PAGES.items():
        inspection.visit(page, name, path.format(**scene.rows))

    assert not inspection.found, "\n".join(f"{k}: {v}" for k, v in inspection.found.items())


def test_what_is_not_seen_yet_is_found_by_the_words_that_the_list_shows(
    visitor: Visitor, scene: Scene
) -> None:
    page = visitor.open(f"/sync/{scene.target.pk}", user=scene.cast.alice)
    page.get_by_label("State", exact=True).select_option(label="Not seen yet")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("main table a")).to_have_text("web/not-seen-yet")
    expect(page.locator("main table .state")).to_have_text("not seen yet")


def test_the_members_of_an_update_are_told_without_barriers(visitor: Visitor, scene: Scene) -> None:
    page = visitor.open(f"/sync/plans/{scene.plan.pk}", user=scene.cast.alice, phone=True)
    inspection = Inspection(visitor)
    page.get_by_role("link", name=f"Show changed keys of {scene.members.name}").click()
    page.get_by_role("button", name="Show changed keys").click()
    page.get_by_role("heading", name="Keys").wait_for()
    inspection.look_at(page, "plan-members-told")

    assert inspection.found == {}


def asked(page: Page, part: str) -> list[str]:
    """Collect the requests for a part of a page from now on."""
    found: list[str] = []
    page.on("request", lambda request: found.append(request.url) if part in request.url else None)
    return found


def test_a_plan_under_way_takes_its_marks_and_then_stops_asking(visitor: Visitor, scene: Scene) -> None:
    page = visitor.open(f"/sync/plans/{scene.running.pk}", user=scene.cast.alice)
    line = page.locator(".plan-line", has_text="c/under-way")
    expect(line).to_contain_text("applying")

    scene.finish()

    expect(line.locator(".state")).to_contain_text("done")
    expect(page.locator("#plan[hx-get]")).to_have_count(0)
    requests = asked(page, "/sync/plans/")
    page.wait_for_timeout(3000)
    assert requests == []


def test_a_failure_keeps_its_line_and_says_what_to_do(visitor: Visitor, scene: Scene) -> None:
    page = visitor.open(f"/sync/plans/{scene.running.pk}", user=scene.cast.alice)
    expect(page.locator(".plan-line", has_text="b/failed")).to_contain_text(
        "The policy lacks create. Fix the cause"
    )


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_why_a_delivery_failed_is_found_and_repaired(
    visitor: Visitor, cast: Cast, secret: Make, phone: bool
) -> None:
    stored, target = secret(name="payments/db"), make_target(cast.development, "backup")
    make_entry(target, stored, DeliveryState.FAILED, reason="the policy lacks create on secret/payments")
    page = visitor.open("/", user=cast.alice, phone=phone)
    effort = Effort(page)
    page.get_by_role("link", name="1 failed to sync").click()
    page.get_by_role("link", name="payments/db").click()
    # The cause is on the page of the secret; who repairs it at the target then syncs again.
    expect(page.locator(".delivery")).to_contain_text("the policy lacks create")
    page.get_by_role("button", name="Sync now").click()
    page.get_by_role("dialog").get_by_role("button", name="Sync now").click()
    expect(page.get_by_text("Waiting for a worker")).to_be_visible()
    assert Run.objects.filter(target=target).count() == 1
    assert effort.keys == 0
    assert effort.clicks <= 4


def test_the_focus_stays_while_the_page_looks_again(visitor: Visitor, scene: Scene) -> None:
    page = visitor.open(f"/sync/{scene.target.pk}", user=scene.cast.alice)
    search = page.get_by_label("Search names")
    search.fill("pay")
    with page.expect_response(lambda response: f"/sync/{scene.target.pk}" in response.url):
        pass
    expect(search).to_be_focused()
    expect(search).to_have_value("pay")


def test_deletes_are_confirmed_before_a_plan_is_applied(visitor: Visitor, scene: Scene) -> None:
    page = visitor.open(f"/sync/plans/{scene.plan.pk}", user=scene.cast.alice)
    page.get_by_role("button", name="Apply 5 changes").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("1 of them deletes in the target (recoverable)")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert Plan.objects.get(pk=scene.plan.pk).state == "ready"


def test_the_plan_is_read_without_scripts(visitor: Visitor, scene: Scene) -> None:
    page = visitor.open(f"/sync/plans/{scene.plan.pk}", user=scene.cast.alice, java_script_enabled=False)
    expect(page.get_by_text("no changes made yet")).to_be_visible()
    expect(page.get_by_role("button", name="Apply 5 changes")).to_be_enabled()
    page.goto(f"/sync/plans/{scene.running.pk}")
    expect(page.get_by_role("link", name="Reload")).to_be_visible()


def test_a_choice_is_sent_without_scripts(visitor: Visitor, scene: Scene) -> None:
    # A run is under way: the refusal is told where the choice was made.
    page = visitor.open(
        f"/sync/plans/{scene.plan.pk}/items/{scene.conflict.pk}",
        user=scene.cast.alice,
        java_script_enabled=False,
    )
    page.get_by_role("button", name=f"Use {scene.target.name}’s value").click()
    expect(page.locator(".messages")).to_contain_text("being worked on")


def test_a_new_target_keeps_what_was_entered(visitor: Visitor, scene: Scene) -> None:
    page = visitor.open("/sync/new?backend=vault_kv2", user=scene.cast.alice)
    visitor.watch(page).expect("status of 422")
    page.locator("#id_name").fill("Not A Name")
    page.locator("#id_destination-address").fill("https://vault.example")
    page.get_by_role("button", name="Create target").click()
    expect(page.locator("#id_destination-address")).to_have_value("https://vault.example")
    expect(page.locator("#id_name_error")).to_be_visible()


@pytest.fixture
def undecided(cast: Cast) -> Plan:
    """A plan of two conflicts and one new secret."""
    plan = make_plan(make_target(cast.development, "backup"))
    for name in ("search/index-key", "search/query-key"):
        make_item(
            plan,
            name,
            "conflict",
            state="skipped",
            reason="changed on both sides",
            keeper_version="a" * 32,
            keeper_number=2,
            target_presence="present",
            target_version="4",
            ownership="created",
        )
    make_item(plan, "web/cookie-key", keeper_number=1)
    return plan


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_choices_are_staged_in_the_plan_and_applied_once(
    visitor: Visitor, cast: Cast, undecided: Plan, phone: bool
) -> None:
    page = visitor.open(f"/sync/plans/{undecided.pk}", user=cast.alice, phone=phone)
    assert flaws(page) == []
    page.get_by_label("Use the target’s value: search/query-key").check()
    # A choice on the page of one conflict goes into the same plan, beside those made before.
    page.get_by_role("link", name="search/index-key").click()
    page.get_by_role("button", name="Use Keeper’s value").click()
    expect(page.get_by_label("Use Keeper’s value: search/index-key")).to_be_checked()
    expect(page.get_by_label("Use the target’s value: search/query-key")).to_be_checked()
    visitor.shoot(page, f"plan-choices-{'phone' if phone else 'desktop'}")
    page.get_by_role("button", name="Apply 3 changes").click()
    page.get_by_role("dialog").get_by_role("button", name="Apply 3 changes").click()
    expect(page.locator("#plan")).to_contain_text("Waiting for a worker")
    undecided.refresh_from_db()
    assert undecided.counts == {"create": 1, "pull": 1, "update": 1}
    assert Plan.objects.filter(target=undecided.target).count() == 1


def test_a_plan_is_decided_and_applied_by_keys_alone(visitor: Visitor, cast: Cast, undecided: Plan) -> None:
    page = visitor.open(f"/sync/plans/{undecided.pk}", user=cast.alice)
    page.get_by_label("Later: search/index-key").focus()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_label("Use Keeper’s value: search/index-key")).to_be_checked()
    page.get_by_role("button", name="Apply 2 changes").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text("Apply 2 changes to backup")
    page.keyboard.press("Enter")
    expect(page.locator("#plan")).to_contain_text("Waiting for a worker")


def test_a_target_asks_for_the_chosen_way_and_for_limits_where_it_deletes(
    visitor: Visitor, cast: Cast
) -> None:
    page = visitor.open("/sync/new?backend=vault_kv2", user=cast.alice)
    token, role = page.locator("#id_credential-token"), page.locator("#id_credential-role_id")
    expect(token).to_be_visible()
    expect(role).to_be_hidden()
    page.get_by_label("AppRole", exact=True).check()
    expect(token).to_be_hidden()
    expect(role).to_be_visible()
    limit = page.locator("#id_budget_number")
    expect(limit).to_be_hidden()
    page.get_by_label("When a secret is deleted in Keeper").select_option("recoverable")
    expect(limit).to_be_visible()
    visitor.shoot(page, "target-new-approle")
