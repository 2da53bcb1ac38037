"""The dashboard and the frame: each shows what the person may know and no more."""

from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from audit_app.checkpoints.signing import SIGNING
from audit_app.models import SinkState
from environments_app.access_requests import service as access_requests
from environments_app.environments import memberships
from environments_app.models import Alert, Membership, Role, ServiceToken, User
from environments_app.notifications.service import raise_alert
from environments_app.tests.cast import Cast
from environments_app.tokens.service import issue
from secrets_app.models import Secret
from secrets_app.services import write
from secrets_app.tests.kept import keep
from secrets_app.types.registry import SecretType
from sync_app.models import Target
from sync_app.tests.shown import make_entry, make_target

pytestmark = pytest.mark.django_db
SignedIn = Callable[[User], Client]


@pytest.fixture
def expiring(cast: Cast) -> None:
    write.create(
        actor=cast.principal(cast.alice),
        environment=cast.development,
        name="soon",
        secret_type=SecretType.TEXT,
        value="v",
        expires_at=timezone.now() + timedelta(days=3),
    )


def test_it_says_what_needs_someone_with_a_link_to_exactly_those(
    cast: Cast, expiring: None, signed_in: SignedIn
) -> None:
    person = signed_in(cast.vera)
    needs = person.get("/").context["needs"]
    assert [(need.count, need.url) for need in needs] == [(1, "/secrets?state=expiring")]
    assert 'href="/secrets/' in person.get(needs[0].url).content.decode()
    assert signed_in(cast.charlie).get("/").context["needs"] == []


def test_a_person_with_hundreds_of_paths_sees_every_page(cast: Cast, signed_in: SignedIn) -> None:
    keep(cast, "p7/seen")
    keep(cast, "elsewhere")
    for number in range(600):
        memberships.grant(
            actor=cast.principal(cast.alice),
            environment=cast.development,
            user=cast.charlie,
            role=Role.READER,
            prefix=f"p{number}",
        )
    person = signed_in(cast.charlie)
    for path in (
        "/",
        "/secrets",
        "/activity",
        "/shared",
        "/environments/development",
        "/api/secrets",
        "/api/events",
    ):
        answer = person.get(path)
        assert answer.status_code == 200, path
    assert [row["name"] for row in person.get("/api/secrets").json()["results"]] == ["p7/seen"]


def test_it_says_what_did_not_arrive_with_a_link_to_exactly_those(cast: Cast, signed_in: SignedIn) -> None:
    target = make_target(cast.development)
    for name, state in (("a/conflict", "conflict"), ("a/drifted", "drifted"), ("a/synced", "in_sync")):
        make_entry(target, keep(cast, name), state)
    person = signed_in(cast.vera)
    needs = person.get("/").context["needs"]
    assert [(need.count, need.url) for need in needs] == [
        (1, "/secrets?delivery=conflict"),
        (1, "/secrets?delivery=drifted"),
    ]
    assert [row["secret"].name for row in person.get(needs[0].url).context["rows"]] == ["a/conflict"]


def test_one_access_request_is_counted_in_the_singular(cast: Cast, signed_in: SignedIn) -> None:
    manager = signed_in(cast.alice)
    for user, label in ((cast.charlie, "access request"), (cast.vera, "access requests")):
        access_requests.submit(
            actor=cast.principal(user), environment="production", role="reader", minutes=60
        )
        assert label in [need.label for need in manager.get("/").context["needs"]]


def test_the_rail_counts_what_needs_someone_in_the_sync(cast: Cast, signed_in: SignedIn) -> None:
    target = make_target(cast.development)
    make_entry(target, keep(cast, "a/conflict"), "conflict")
    make_entry(target, keep(cast, "a/pending"), "pending")

    def count(user: User) -> int:
        entries = signed_in(user).get("/secrets").context["frame"].nav
        return int(next(entry.count for entry in entries if entry.label == "Sync"))

    assert (count(cast.vera), count(cast.charlie)) == (1, 0)


def test_a_new_secret_is_offered_to_those_alone_who_may_create_one(cast: Cast, signed_in: SignedIn) -> None:
    people = (cast.erin, cast.bob, cast.charlie, cast.root)
    offered = ['href="/secrets/new"' in signed_in(user).get("/").content.decode() for user in people]
    assert offered == [True, False, False, False]


def test_a_person_without_access_is_led_to_ask_for_it(cast: Cast, signed_in: SignedIn) -> None:
    page = signed_in(cast.charlie).get("/").content.decode()
    assert "You don't have access to any environment yet" in page
    assert 'class="btn btn-primary" href="/access-requests/new"' in page
    assert "all caught up" not in page


def test_health_is_shown_to_those_who_see_the_installation(cast: Cast, signed_in: SignedIn) -> None:
    people = (cast.root, cast.alice, cast.charlie)
    assert [bool(signed_in(user).get("/").context["health"]) for user in people] == [True, False, False]


def test_it_counts_reads_writes_and_denials_of_secrets(
    cast: Cast, expiring: None, signed_in: SignedIn
) -> None:
    secret = signed_in(cast.alice).get("/secrets").context["rows"][0]["secret"]
    signed_in(cast.bob).post(f"/secrets/{secret.pk}/reveal")
    signed_in(cast.vera).post(f"/secrets/{secret.pk}/reveal")
    # Midnight may pass meanwhile.
    days = signed_in(cast.alice).get("/").context["activity"][-2:]
    assert [sum(day[kind] for day in days) for kind in ("reads", "writes", "denials")] == [1, 1, 1]


def test_events_are_for_those_who_may_read_the_trail(cast: Cast, expiring: None, signed_in: SignedIn) -> None:
    assert list(signed_in(cast.vera).get("/").context["events"]) == []
    shown = signed_in(cast.alice).get("/").context["events"]
    assert "secret.create" in {event.action for event in shown}


def test_members_and_tokens_are_counted_where_one_may_list_them(cast: Cast, signed_in: SignedIn) -> None:
    Membership.objects.create(environment=cast.production, user=cast.bob, role=Role.MANAGER)
    Membership.objects.create(environment=cast.development, user=cast.charlie, role=Role.MANAGER, prefix="a")

    def counts(user: User) -> dict[str, int]:
        figures = signed_in(user).get("/").context["figures"]
        return {figure.label.removesuffix("s"): figure.count for figure in figures}

    assert counts(cast.vera).keys() == {"secret", "environment"}
    assert counts(cast.charlie).keys() == {"secret", "environment"}
    # Not those of development, where bob is a reader.
    assert (counts(cast.bob)["membership"], counts(cast.bob)["service token"]) == (2, 0)
    assert counts(cast.alice)["membership"] == counts(cast.root)["membership"] == 7


def test_one_of_a_kind_is_not_named_as_many(cast: Cast, signed_in: SignedIn) -> None:
    keep(cast, "only")
    figures = {each.label: each.count for each in signed_in(cast.vera).get("/").context["figures"]}
    assert figures == {"secret": 1, "environment": 1}


def test_it_says_how_much_more_is_kept_than_a_month_ago(cast: Cast, signed_in: SignedIn) -> None:
    long_ago = timezone.now() - timedelta(days=40)
    for name in ("old", "gone", "new"):
        keep(cast, name)
    Secret.objects.filter(name__in=["old", "gone"]).update(created_at=long_ago)
    Secret.objects.filter(name="gone").update(live=None, deleted_at=timezone.now())

    def secrets(user: User) -> tuple[int, int]:
        (figure,) = [f for f in signed_in(user).get("/").context["figures"] if f.label == "secrets"]
        return figure.count, figure.change

    assert secrets(cast.vera) == (2, 0)
    Secret.objects.filter(name="gone").update(deleted_at=long_ago)
    assert secrets(cast.vera) == (2, 1)
    assert secrets(cast.charlie) == (0, 0)


def test_its_charts_lead_to_exactly_what_they_count(cast: Cast, signed_in: SignedIn) -> None:
    target = make_target(cast.development)
    make_entry(target, keep(cast, "a/conflict"), "conflict")
    make_entry(target, keep(cast, "a/synced"), "in_sync")
    Secret.objects.filter(name="a/synced").update(rotated_at=timezone.now() - timedelta(days=100))
    person = signed_in(cast.vera)
    page = person.get("/").context
    for chart in ("ages", "deliveries"):
        counted = [part for part in page[chart] if part.count]
        assert [part.count for part in counted] == [1, 1], chart
        for part in counted:
            assert len(person.get(part.url).context["rows"]) == 1, part.url


def test_reads_are_told_by_environment_to_those_who_may_read_its_trail(
    cast: Cast, signed_in: SignedIn
) -> None:
    secret = keep(cast, "a")
    signed_in(cast.bob).post(f"/secrets/{secret.pk}/reveal")

    def reads(user: User) -> dict[str, int]:
        return {part.label: part.count for part in signed_in(user).get("/").context["reads"]}

    assert reads(cast.alice) == {"development": 1, "production": 0}
    assert reads(cast.vera) == {}


def test_unused_tokens_stopped_backups_and_unsigned_trails_are_told_to_who_can_mend_them(
    cast: Cast, signed_in: SignedIn, settings: Settings
) -> None:
    settings.KEEPER_BACKUP_INTERVAL_HOURS = 24
    issue(actor=cast.principal(cast.alice), environment=cast.development, role="reader", name="ci")
    ServiceToken.objects.update(created_at=timezone.now() - timedelta(days=400))
    SinkState.objects.create(name=SIGNING, error="no sink answers")

    def urls(user: User) -> set[str]:
        return {need.url for need in signed_in(user).get("/").context["needs"]}

    unused = "/tokens?state=unused"
    assert urls(cast.vera) == set()
    assert urls(cast.alice) == {unused}
    assert urls(cast.root) == {unused, "/backups", "/admin/audit/?tab=verification"}
    assert [row["token"].name for row in signed_in(cast.alice).get(unused).context["rows"]] == ["ci"]
    assert signed_in(cast.vera).get("/tokens").context["rows"] == []


def test_its_statements_do_not_grow_with_what_is_kept(cast: Cast, signed_in: SignedIn) -> None:
    person = signed_in(cast.root)
    person.get("/")

    def statements() -> int:
        with CaptureQueriesContext(connection) as captured:
            person.get("/")
        return len(captured)

    # Without a target its entries are not counted.
    target = make_target(cast.development)
    few = statements()
    for number in range(12):
        make_entry(target, keep(cast, f"a/{number}"), "conflict")
        issue(
            actor=cast.principal(cast.alice), environment=cast.development, role="reader", name=f"t{number}"
        )
    assert statements() == few
    # A few for the session and the frame, one for each kind of need, figure and check.
    assert few < 60


def test_what_many_secrets_count_to_is_kept_for_whoever_has_the_same_grants(
    cast: Cast, signed_in: SignedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("operations_app.dashboard.figures._MANY", 2)

    def told(user: User) -> int:
        (figure,) = [
            each
            for each in signed_in(user).get("/").context["figures"]
            if each.label in {"secret", "secrets"}
        ]
        return int(figure.count)

    keep(cast, "first")
    assert told(cast.vera) == 1
    keep(cast, "second")
    assert told(cast.vera) == 2
    keep(cast, "third")
    assert told(cast.vera) == 2
    # Others are told what they may see, and when they look.
    assert told(cast.bob) == 3
    assert told(cast.charlie) == 0
    cache.clear()
    assert told(cast.vera) == 3


def test_the_rail_leads_operators_to_the_admin_and_nobody_else(cast: Cast, signed_in: SignedIn) -> None:
    assert 'href="/admin/"' in signed_in(cast.root).get("/").content.decode()
    assert 'href="/admin/"' not in signed_in(cast.alice).get("/").content.decode()


def test_a_stranger_is_led_to_the_sign_in(client: Client) -> None:
    for path in ("/", "/secrets", "/environments", "/activity"):
        assert client.get(path).headers["Location"].startswith("/sign-in")


def test_a_missing_page_is_a_page_and_a_missing_route_a_problem(cast: Cast, signed_in: SignedIn) -> None:
    person = signed_in(cast.alice)
    page = person.get("/nowhere")
    assert (page.status_code, page.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
    problem = person.get("/api/nowhere")
    assert (problem.status_code, problem.headers["Content-Type"]) == (404, "application/problem+json")


def test_nothing_may_be_cached(cast: Cast, signed_in: SignedIn) -> None:
    for path in ("/", "/secrets", "/api/secrets", "/api/nowhere", "/sign-in", "/healthz"):
        assert "no-store" in signed_in(cast.alice).get(path).headers["Cache-Control"], path


def test_what_is_missing_or_not_allowed_keeps_the_frame(
    cast: Cast, signed_in: SignedIn, client: Client
) -> None:
    alice = signed_in(cast.alice)
    for path, status in (("/secrets/999", 404), ("/people", 403), ("/nowhere", 404)):
        page = alice.get(path)
        assert (page.status_code, 'aria-label="Main"' in page.content.decode()) == (status, True), path
        assert "data-problem-detail" in page.content.decode()
    assert 'aria-label="Main"' not in client.get("/nowhere").content.decode()


@pytest.mark.parametrize(
    "path",
    ["/secrets", "/secrets/new", "/secrets/import", "/secrets/export", "/secrets/matrix", "/sync", "/rotation", "/environments", "/approvals"],
)  # fmt: skip
def test_every_page_leads_somebody_without_access_to_ask_for_it(
    cast: Cast, signed_in: SignedIn, path: str
) -> None:
    page = signed_in(cast.charlie).get(path).content.decode()
    main = page[page.index("<main") :]
    assert 'href="/access-requests/new' in main
    assert 'name="environment"' not in main or path == "/secrets"


def test_health_is_one_line_while_all_is_well(
    cast: Cast, signed_in: SignedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = [
        SimpleNamespace(name="database", ok=True, for_operators=""),
        SimpleNamespace(name="keys", ok=True, for_operators=""),
    ]
    monkeypatch.setattr("operations_app.views.dashboard.results", lambda: checks)
    monkeypatch.setattr("operations_app.views.dashboard.warnings", list)
    monkeypatch.setattr("operations_app.views.dashboard.standings", lambda **_: [])
    monkeypatch.setattr("operations_app.views.dashboard.work_status", list)
    root = signed_in(cast.root)
    assert "All systems operational" in root.get("/").content.decode()
    checks[1].ok, checks[1].for_operators = False, "KMS denies it"
    page = root.get("/").content.decode()
    assert "All systems operational" not in page
    assert "KMS denies it" in page
    assert "Database" not in page


def test_a_failing_target_leads_the_dashboard_and_the_page_of_health(cast: Cast, signed_in: SignedIn) -> None:
    target = make_target(cast.development)
    Target.objects.update(failures=1, last_error="nobody answers")
    subject = f"{target.name} cannot be reached"
    raise_alert(
        kind="sync.unhealthy", about=target.uuid, subject=subject, lines=[], environment=cast.development
    )
    Alert.objects.update(told_at=timezone.now())
    root = signed_in(cast.root)
    page = root.get("/")
    assert subject in [need.label for need in page.context["needs"]]
    assert "All systems operational" not in page.content.decode()
    health = root.get("/health").content.decode()
    assert health.index("nobody answers") < health.index("This instance")
    assert [each.name for each in page.context["ailing"]] == [
        each.name for each in root.get("/health").context["ailing"]
    ]
    # Who sees the environment is told of its alert, and nobody else.
    seen = [
        subject in [need.label for need in signed_in(user).get("/").context["needs"]]
        for user in (cast.alice, cast.charlie)
    ]
    assert seen == [True, False]
