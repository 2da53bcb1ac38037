"""The time zone that a person chose: for pages and their forms, and for nothing that programs read."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from django.test import Client
from django.utils import timezone

from audit_app.models import AuditEvent
from environments_app.models import Membership, PersonalSettings, User
from environments_app.tests.cast import PASSWORD, Cast

pytestmark = pytest.mark.django_db
SignedIn = Callable[[User], Client]
BERLIN = "Europe/Berlin"


def test_forms_take_times_in_it(cast: Cast, signed_in: SignedIn) -> None:
    alice = signed_in(cast.alice)
    path = "/environments/development/members"
    given = {"username": "charlie", "role": "viewer", "expires_at": "2099-07-01T12:00"}
    assert alice.post("/profile/time-zone", {"time_zone": BERLIN})["Location"] == "/profile"
    assert alice.post(path, given).status_code == 302
    row = Membership.objects.get(user=cast.charlie)
    assert row.expires_at == datetime(2099, 7, 1, 10, 0, tzinfo=UTC)
    # It ends with the request.
    assert timezone.get_current_timezone_name() == "UTC"


def test_forms_name_it(cast: Cast, signed_in: SignedIn) -> None:
    alice = signed_in(cast.alice)
    assert b"UTC. Certificates use" in alice.get("/secrets/new").content
    alice.post("/profile/time-zone", {"time_zone": BERLIN})
    page = alice.get("/secrets/new").content
    assert b"Europe/Berlin. Certificates use" in page
    assert b'data-time-zone="Europe/Berlin"' in page
    alice.post("/profile/time-zone", {"time_zone": ""})
    assert b"UTC. Certificates use" in alice.get("/secrets/new").content


def test_it_is_there_after_the_next_sign_in(cast: Cast) -> None:
    PersonalSettings.objects.create(user=cast.alice, time_zone=BERLIN)
    client = Client()
    client.post("/sign-in", {"username": "alice", "password": PASSWORD})
    assert b"Europe/Berlin. Certificates use" in client.get("/secrets/new").content


def test_a_zone_that_does_not_exist_is_refused(cast: Cast, signed_in: SignedIn) -> None:
    alice = signed_in(cast.alice)
    page = alice.post("/profile/time-zone", {"time_zone": "Mars/Olympus"}, follow=True)
    assert b"Choose a time zone from the list." in page.content
    assert not PersonalSettings.objects.exclude(time_zone="").exists()


def test_a_zone_that_is_gone_from_the_host_breaks_nothing(cast: Cast, signed_in: SignedIn) -> None:
    alice = signed_in(cast.alice)
    session = alice.session
    session["time_zone"] = "../../etc/passwd"
    session.save()
    assert alice.get("/secrets").status_code == 200


def test_programs_and_the_record_keep_utc(cast: Cast, signed_in: SignedIn) -> None:
    alice = signed_in(cast.alice)
    alice.post("/profile/time-zone", {"time_zone": BERLIN})
    answer = alice.get("/api/environments").json()["results"][0]
    assert all("+02:00" not in str(value) and "+01:00" not in str(value) for value in answer.values())
    alice.get("/activity")
    event = AuditEvent.objects.get(action="trail.view")
    page = alice.get(f"/activity/{event.pk}").content.decode()
    assert f"{event.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}" in page
