"""Emergency reads: a person is shown a guarded value at once, others are alerted, and one of them reviews it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final
from uuid import UUID, uuid4

import pytest
from django.test import Client

from audit_app.models import AuditEvent
from environments_app.authorization.principals import personal_principal, token_principal
from environments_app.environments.deletion import delete_environment
from environments_app.environments.memberships import revoke_membership
from environments_app.environments.service import update_environment
from environments_app.errors import ApprovalNeeded, ConfirmationNeeded, Conflict, Forbidden, Invisible
from environments_app.models import Alert, Delivery, Environment, Membership, Role, User, UserRole
from environments_app.tests.cast import PASSWORD, Cast
from environments_app.tokens.personal import issue_personal
from environments_app.tokens.service import issue
from environments_app.users import accounts
from secrets_app.errors import GuardedValue, InvalidInput, StaleVersion, TamperedSecret
from secrets_app.keys import data_keys
from secrets_app.models import Secret
from secrets_app.services import emergency, guarded, lifecycle
from secrets_app.tests.kept import VALUE, change, keep

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]
REASON: Final = "The database is down, and nobody answers"


def fresh(place: Environment) -> Environment:
    return Environment.objects.get(pk=place.pk)


def stored(secret: Secret) -> Secret:
    return Secret.objects.select_related("environment").get(pk=secret.pk)


def allow(cast: Cast, *, on: bool = True) -> None:
    update_environment(
        actor=cast.principal(cast.alice), environment=fresh(cast.development), emergency_reads=on
    )


@pytest.fixture
def secret(cast: Cast) -> Secret:
    """Return a guarded secret of development, which allows emergency reads; charlie manages it as well."""
    Membership.objects.create(environment=cast.development, user=cast.charlie, role=Role.MANAGER)
    allow(cast)
    kept = keep(cast, "app/root")
    guarded.guard(actor=cast.principal(cast.alice), secret=kept)
    return stored(kept)


def reads() -> list[AuditEvent]:
    return [*AuditEvent.objects.filter(action="secret.reveal", outcome="allowed")]


def read_by_bob(cast: Cast, secret: Secret) -> UUID:
    emergency.read_in_emergency(actor=cast.principal(cast.bob), secret=stored(secret), reason=REASON)
    return AuditEvent.objects.get(action="member.break_glass").object_uuid


def test_a_value_is_shown_at_once_and_others_are_alerted(cast: Cast, secret: Secret) -> None:
    auditor = User.objects.create_user("audra", email="a@example.com", role=UserRole.AUDITOR)
    shown = emergency.read_in_emergency(actor=cast.principal(cast.bob), secret=secret, reason=REASON)
    assert shown.value == VALUE
    (event,) = reads()
    glass = AuditEvent.objects.get(action="member.break_glass")
    assert glass.pk < event.pk
    assert str(glass.object_uuid) in event.details
    assert REASON in event.details
    alert = Alert.objects.get(kind="emergency", open=True)
    assert alert.about == glass.object_uuid
    assert REASON in "".join(alert.lines)
    assert VALUE not in f"{alert.lines}{alert.subject}{event.details}{glass.details}"
    told = set(Delivery.objects.filter(kind="emergency").values_list("addressee", flat=True))
    assert {cast.alice.uuid, cast.charlie.uuid, auditor.uuid} <= told


@pytest.mark.parametrize("reason", ["", "short", " " * 40, "x" * 501, "\u200b" * 20, "\u3164\u2800" * 15])
def test_a_reason_is_given(cast: Cast, secret: Secret, reason: str) -> None:
    with pytest.raises(InvalidInput):
        emergency.read_in_emergency(actor=cast.principal(cast.bob), secret=secret, reason=reason)
    assert not reads()
    assert not Alert.objects.filter(kind="emergency").exists()


def test_only_a_person_with_a_fresh_proof_reads(cast: Cast, secret: Secret) -> None:
    alice = cast.principal(cast.alice)
    service, _ = issue(actor=alice, environment=cast.development, role="manager", name="ci")
    own, _ = issue_personal(actor=alice, name="own")
    for program in (token_principal(service), personal_principal(own)):
        with pytest.raises(GuardedValue):
            emergency.read_in_emergency(actor=program, secret=secret, reason=REASON)
    with pytest.raises(ConfirmationNeeded):
        emergency.read_in_emergency(actor=replace(alice, confirmed=False), secret=secret, reason=REASON)
    with pytest.raises((Forbidden, Invisible)):
        emergency.read_in_emergency(actor=cast.principal(cast.vera), secret=secret, reason=REASON)
    assert not reads()


def test_it_is_off_unless_the_environment_allows_it(cast: Cast, secret: Secret) -> None:
    allow(cast, on=False)
    with pytest.raises(Forbidden, match="turned off"):
        emergency.read_in_emergency(actor=cast.principal(cast.alice), secret=stored(secret), reason=REASON)
    assert not reads()
    Environment.objects.filter(pk=cast.development.pk).update(emergency_reads=True)
    with pytest.raises(Invisible):
        emergency.read_in_emergency(actor=cast.principal(cast.alice), secret=stored(secret), reason=REASON)
    assert not reads()


def test_what_is_not_guarded_is_no_emergency(cast: Cast, secret: Secret) -> None:
    with pytest.raises(Conflict, match="not guarded"):
        emergency.read_in_emergency(
            actor=cast.principal(cast.alice), secret=keep(cast, "open"), reason=REASON
        )


def test_to_allow_it_takes_a_second_person_where_something_is_guarded(cast: Cast, secret: Secret) -> None:
    allow(cast, on=False)
    with pytest.raises(ApprovalNeeded):
        allow(cast)
    assert not fresh(cast.development).emergency_reads


# --- Meanwhile -----------------------------------------------------------------------------------------


def _replaced(cast: Cast, secret: Secret) -> None:
    change(cast, stored(secret), "another")


def _demoted(cast: Cast, secret: Secret) -> None:
    for row in Membership.objects.filter(user=cast.bob, environment=secret.environment):
        revoke_membership(actor=cast.principal(cast.alice), membership=row)


MEANWHILE: Final[dict[str, Callable[[Cast, Secret], Any]]] = {
    "switched off": lambda cast, _: allow(cast, on=False),
    "switched off by SQL": lambda cast, _: Environment.objects.filter(pk=cast.development.pk).update(
        offline_hours=5
    ),
    "the right lost": _demoted,
    "another value": _replaced,
    "deleted": lambda cast, secret: lifecycle.delete(actor=cast.principal(cast.alice), secret=stored(secret)),
}


@pytest.mark.parametrize("what", MEANWHILE)
def test_what_happens_between_page_and_read_counts(
    cast: Cast, secret: Secret, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    prefetch, done = data_keys.prefetch, list[str]()

    def meanwhile(keys: Any) -> None:
        prefetch(keys)
        if not done:
            done.append(what)
            MEANWHILE[what](cast, secret)

    monkeypatch.setattr(data_keys, "prefetch", meanwhile)
    with pytest.raises((Forbidden, Invisible, StaleVersion, TamperedSecret)):
        emergency.read_in_emergency(actor=cast.principal(cast.bob), secret=secret, reason=REASON)
    assert done
    assert not reads()
    assert not Alert.objects.filter(kind="emergency").exists()


# --- The review ----------------------------------------------------------------------------------------


def test_another_person_reviews_it_once(cast: Cast, secret: Secret) -> None:
    uuid = read_by_bob(cast, secret)
    read = emergency.review(actor=cast.principal(cast.alice), uuid=uuid, comment="Right so")
    assert read.review is not None
    assert (read.review.actor_name, read.comment) == ("alice", "Right so")
    assert not Alert.objects.filter(kind="emergency", open=True).exists()
    with pytest.raises(Conflict, match="already"):
        emergency.review(actor=cast.principal(cast.charlie), uuid=uuid)


def test_no_environment_is_deleted_while_a_read_waits_for_its_review(cast: Cast, secret: Secret) -> None:
    uuid, alice = read_by_bob(cast, secret), cast.principal(cast.alice)
    with pytest.raises(Conflict, match="waits for its review"):
        delete_environment(actor=alice, environment=fresh(cast.development))
    assert fresh(cast.development).deleted_at is None
    emergency.review(actor=alice, uuid=uuid)
    assert delete_environment(actor=alice, environment=fresh(cast.development)).deleted_at


def test_an_auditor_reviews_it(cast: Cast, secret: Secret) -> None:
    uuid = read_by_bob(cast, secret)
    auditor = User.objects.create_user("audra", email="a@example.com", role=UserRole.AUDITOR)
    suspended = replace(cast.principal(auditor), suspended=True)
    read = emergency.find_read(actor=suspended, uuid=uuid)
    assert not emergency.may_review(suspended, read)
    for place, may in ((cast.production, False), (cast.development, True)):
        assert emergency.may_review(replace(suspended, trusted_in=frozenset({place.pk})), read) is may
    assert emergency.review(actor=cast.principal(auditor), uuid=uuid).review


def test_neither_the_reader_nor_who_could_be_the_reader_reviews_it(cast: Cast, secret: Secret) -> None:
    alice, root = cast.principal(cast.alice), cast.principal(cast.root)
    emergency.read_in_emergency(actor=alice, secret=secret, reason=REASON)
    uuid = AuditEvent.objects.get(action="member.break_glass").object_uuid
    with pytest.raises(Forbidden, match="Someone else"):
        emergency.review(actor=cast.principal(cast.alice), uuid=uuid)
    # An account that root made, and root itself, who could use it.
    made = accounts.create_user(actor=root, username="second", email="")
    Membership.objects.create(environment=cast.development, user=made, role=Role.READER)
    emergency.read_in_emergency(actor=cast.principal(made), secret=stored(secret), reason=REASON)
    second = AuditEvent.objects.filter(action="member.break_glass").latest("pk").object_uuid
    with pytest.raises(Forbidden, match="Someone else"):
        emergency.review(actor=cast.principal(cast.root), uuid=second)
    assert Alert.objects.filter(kind="emergency", open=True).count() == 2


def test_neither_a_program_nor_a_reader_reviews_it(cast: Cast, secret: Secret) -> None:
    uuid = read_by_bob(cast, secret)
    own, _ = issue_personal(actor=cast.principal(cast.charlie), name="own")
    service, _ = issue(
        actor=cast.principal(cast.alice), environment=cast.development, role="manager", name="ci"
    )
    for actor in (personal_principal(own), token_principal(service), cast.principal(cast.erin)):
        with pytest.raises((Forbidden, Invisible)):
            emergency.review(actor=actor, uuid=uuid)
    assert Alert.objects.filter(kind="emergency", open=True).exists()
    with pytest.raises(Invisible):
        emergency.review(actor=cast.principal(cast.alice), uuid=uuid4())


def test_a_manager_who_lost_the_role_meanwhile_reviews_nothing(cast: Cast, secret: Secret) -> None:
    uuid = read_by_bob(cast, secret)
    before = cast.principal(cast.charlie)
    membership = Membership.objects.get(user=cast.charlie, environment=cast.development)
    revoke_membership(actor=cast.principal(cast.alice), membership=membership)
    with pytest.raises(Forbidden):
        emergency.review(actor=before, uuid=uuid)
    assert Alert.objects.filter(kind="emergency", open=True).exists()


def test_an_event_that_was_changed_by_sql_is_no_emergency_read(
    cast: Cast, secret: Secret, sql: Callable[..., None]
) -> None:
    uuid = read_by_bob(cast, secret)
    sql("UPDATE audit_app_auditevent SET actor_name = 'vera' WHERE action = 'member.break_glass'")
    with pytest.raises(Invisible):
        emergency.review(actor=cast.principal(cast.bob), uuid=uuid)


def test_lists_count_the_events_that_were_changed_by_sql(
    cast: Cast, secret: Secret, client: Client, sql: Callable[..., None]
) -> None:
    for _ in range(2):
        emergency.read_in_emergency(actor=cast.principal(cast.bob), secret=stored(secret), reason=REASON)
    client.force_login(cast.charlie)
    assert client.get("/api/emergency-reads").json()["unreadable"] == 0
    assert "modified outside Keeper" not in client.get("/emergency-reads").content.decode()

    sql("UPDATE audit_app_auditevent SET actor_name = 'vera' WHERE action = 'member.break_glass'")

    found = client.get("/api/emergency-reads").json()
    assert (found["results"], found["unreadable"]) == ([], 2)
    page = client.get("/emergency-reads").content.decode()
    assert "2 more events were modified outside Keeper" in page
    assert "No emergency reads" not in page


# --- Pages ---------------------------------------------------------------------------------------------


def test_the_pages_show_and_review_it(
    cast: Cast, secret: Secret, signed_in: Callable[[User], Client]
) -> None:
    reader = signed_in(cast.alice)
    page = f"/secrets/{secret.pk}"
    assert b"Emergency: show it at once" in reader.get(page).content
    asked = reader.post(f"{page}/emergency-read", {"reason": REASON})
    if asked.status_code == 302:
        assert "/confirm" in asked["Location"]
        reader.post("/confirm", {"password": PASSWORD})
        asked = reader.post(f"{page}/emergency-read", {"reason": REASON})
    assert VALUE in asked.content.decode()
    assert "no-store" in asked["Cache-Control"]
    assert reader.post(f"{page}/emergency-read", {"reason": "short"}).status_code == 302
    uuid = AuditEvent.objects.get(action="member.break_glass").object_uuid
    own = reader.get(f"/emergency-reads/{uuid}").content.decode()
    assert "not its reader" in own
    assert "Mark as reviewed" not in own
    other = signed_in(cast.charlie)
    assert "Mark as reviewed" in other.get(f"/emergency-reads/{uuid}").content.decode()
    assert other.post(f"/emergency-reads/{uuid}/close", {"comment": "Fine"}).status_code == 302
    assert "Reviewed by" in other.get(f"/emergency-reads/{uuid}").content.decode()
    api = other.patch(
        "/api/environments/development", {"emergency_reads": False}, content_type="application/json"
    )
    assert api.json()["emergency_reads"] is False
    assert "Emergency: show" not in reader.get(page).content.decode()


def test_the_list_has_who_read_what_and_who_reviewed_it(
    cast: Cast, secret: Secret, signed_in: Callable[[User], Client]
) -> None:
    uuid = read_by_bob(cast, secret)
    charlie, outsider = signed_in(cast.charlie), signed_in(cast.bob)
    link = f'href="/emergency-reads/{uuid}"'
    assert 'href="/emergency-reads"' in charlie.get("/reviews").content.decode()
    for query, is_there in (("", True), ("?reviewed=false", True), ("?reviewed=true", False)):
        page = charlie.get(f"/emergency-reads{query}").content.decode()
        assert (link in page) is is_there
        assert VALUE not in page
    assert link not in outsider.get("/emergency-reads").content.decode()
    emergency.review(actor=cast.principal(cast.charlie), uuid=uuid, comment="It was down")
    page = charlie.get("/emergency-reads?reviewed=true").content.decode()
    assert all(
        text in page for text in (link, "app/root", "development, version 1", "bob", REASON, "charlie")
    )
    assert link not in charlie.get("/emergency-reads?reviewed=false").content.decode()
    view = AuditEvent.objects.filter(action="trail.view", details__contains="emergency reads").latest("pk")
    assert view.actor_name == "charlie"


# --- API -----------------------------------------------------------------------------------------------


def test_the_api_lists_and_reviews_it_and_reads_nothing(
    cast: Cast, secret: Secret, signed_in: Callable[[User], Client]
) -> None:
    uuid, later = read_by_bob(cast, secret), signed_in(cast.charlie)
    (listed,) = later.get("/api/emergency-reads?reviewed=false").json()["results"]
    assert listed == later.get(f"/api/emergency-reads/{uuid}").json()
    assert {key: listed[key] for key in ("id", "environment", "name", "version", "reader", "reason")} == {
        "id": str(uuid), "environment": "development", "name": "app/root", "version": 1, "reader": "bob",
        "reason": REASON,
    }  # fmt: skip
    assert (listed["reviewed_at"], listed["reviewed_by"]) == (None, "")
    assert later.get("/api/emergency-reads?reviewed=true").json()["results"] == []
    assert later.get("/api/emergency-reads?environment=nowhere").status_code == 404
    assert VALUE not in later.get("/api/emergency-reads").content.decode()
    own = signed_in(cast.bob)
    assert own.get("/api/emergency-reads").json()["results"] == []
    assert own.get("/api/emergency-reads?environment=development").status_code == 403
    for address in (f"/api/emergency-reads/{uuid}/review", f"/api/secrets/{secret.pk}/emergency-read"):
        assert own.post(address, {}, content_type="application/json").status_code in {403, 404}
    view = AuditEvent.objects.filter(action="trail.view").order_by("pk").first()
    assert view is not None
    assert '"face":"emergency reads"' in view.details

    answer = later.post(
        f"/api/emergency-reads/{uuid}/review", {"comment": "Right so"}, content_type="application/json"
    )
    assert (answer.status_code, answer.json()["reviewed_by"], answer.json()["comment"]) == (
        200, "charlie", "Right so",
    )  # fmt: skip
    assert not Alert.objects.filter(kind="emergency", open=True).exists()
    again = later.post(f"/api/emergency-reads/{uuid}/review", {}, content_type="application/json")
    assert again.status_code == 409
    (listed,) = later.get("/api/emergency-reads?reviewed=true&environment=development").json()["results"]
    assert listed["id"] == str(uuid)
    assert later.get("/api/emergency-reads?reviewed=false").json()["results"] == []


def test_a_token_of_a_manager_lists_them_and_reviews_none(cast: Cast, secret: Secret, client: Client) -> None:
    uuid = read_by_bob(cast, secret)
    alice = cast.principal(cast.alice)
    _, text = issue(actor=alice, environment=cast.development, role="manager", name="ci")
    bearer = {"authorization": f"Bearer {text}"}
    (listed,) = client.get("/api/emergency-reads", headers=bearer).json()["results"]
    assert listed["id"] == str(uuid)
    answer = client.post(
        f"/api/emergency-reads/{uuid}/review", {}, content_type="application/json", headers=bearer
    )
    assert answer.status_code == 403
    assert Alert.objects.filter(kind="emergency", open=True).exists()


def test_a_review_that_was_written_by_sql_is_none(
    cast: Cast, secret: Secret, sql: Callable[..., None], signed_in: Callable[[User], Client]
) -> None:
    uuid = read_by_bob(cast, secret)
    emergency.review(actor=cast.principal(cast.alice), uuid=uuid)
    sql("UPDATE audit_app_auditevent SET actor_name = 'x' WHERE action = 'secret.review_emergency'")
    (listed,) = signed_in(cast.charlie).get("/api/emergency-reads?reviewed=false").json()["results"]
    assert (listed["id"], listed["reviewed_by"]) == (str(uuid), "")
