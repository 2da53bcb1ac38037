"""Queues, leases and settings: a tab of the admin, for operators alone, constant in cost, and nothing secret among them."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings as in_force
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from core.config.variables import SOURCES, Source, read
from environments_app.models import Delivery, DeliveryState, User
from environments_app.tests.cast import Cast
from operations_app.system.installation import ADDRESSES, PLAIN, shown_settings
from sync_app.tests.shown import make_run, make_target

pytestmark = pytest.mark.django_db
SignedIn = Callable[[User], Client]
ADDRESS = "/admin/system/?tab=work"
NIL = UUID(int=0)


def test_it_is_for_operators_alone(cast: Cast, signed_in: SignedIn) -> None:
    assert signed_in(cast.root).get(ADDRESS).status_code == 200
    refused = signed_in(cast.alice).get(ADDRESS)
    assert refused.status_code != 200
    assert b"Queues" not in refused.content


def test_it_counts_what_waits_and_what_a_dead_worker_holds(cast: Cast, signed_in: SignedIn) -> None:
    now, person = timezone.now(), signed_in(cast.root)
    held: dict[str, Any] = {"lease_owner": "worker-1", "lease_until": now + timedelta(minutes=5)}
    make_run(make_target(cast.development, "a"), "queued")
    make_run(make_target(cast.development, "b"), **held)
    with CaptureQueriesContext(connection) as few:
        person.get(ADDRESS)
    make_run(make_target(cast.development, "c"), lease_owner="dead", lease_until=now - timedelta(minutes=5))
    make_run(make_target(cast.development, "d"), **held)
    with CaptureQueriesContext(connection) as many:
        page = person.get(ADDRESS).context

    sync = page["queues"][0]
    assert (sync.label, sync.waiting, sync.working, sync.stuck) == ("Sync", 1, 2, 1)
    assert [(lease.owner, lease.over) for lease in page["leases"]] == [
        ("dead", True),
        ("worker-1", False),
        ("worker-1", False),
    ]
    assert len(many) == len(few)


def test_what_failed_leads_to_the_list_of_it(cast: Cast, signed_in: SignedIn) -> None:
    """Health and the admin name this page Jobs; the count of what failed leads to it alone."""
    for subject, state in (("vault changed", DeliveryState.FAILED), ("all is well", DeliveryState.SENT)):
        Delivery.objects.create(transport="e-mail", addressee=NIL, kind="test", subject=subject, state=state)
    person = signed_in(cast.root)
    for start in ("/health", "/admin/"):
        assert re.search(
            rf'href="{re.escape(ADDRESS)}"[^>]*>(<svg.*?</svg>|<b>)*Jobs<', person.get(start).text
        )

    messages = person.get(ADDRESS).context["queues"][2]
    assert f'href="{messages.stuck_url}"><span class="act-no">1: failed</span>' in person.get(ADDRESS).text
    shown = person.get(str(messages.stuck_url)).text
    assert "vault changed" in shown
    assert "all is well" not in shown
    # On the page itself each has the way to try it again.
    page = person.get(ADDRESS).text
    failed = Delivery.objects.get(state=DeliveryState.FAILED)
    retry = reverse("admin:environments_app_delivery_object_act", args=[failed.pk, "retry"])
    assert f'href="{retry}"' in page
    assert person.post(retry, {"agreed": "Try again"}).status_code == 302
    failed.refresh_from_db()
    assert failed.state == DeliveryState.WAITING
    person.get(ADDRESS)
    assert "vault changed" not in person.get(ADDRESS).text


def test_settings_say_where_they_come_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIVEN", "1")
    monkeypatch.setenv("HELD_FILE", __file__)
    sources: dict[str, Source] = {}
    monkeypatch.setattr("core.config.variables.SOURCES", sources)
    for name in ("GIVEN", "HELD", "LEFT"):
        read(name, "")

    assert sources == {"GIVEN": Source.ENVIRONMENT, "HELD": Source.FILE, "LEFT": Source.DEFAULT}


def test_no_text_is_shown_that_is_not_known_to_be_harmless() -> None:
    shown = {setting.name: setting.shown for setting in shown_settings()}

    assert shown.keys() == SOURCES.keys()
    assert {"SECRET_KEY", "DATABASE_URL", "KEEPER_TOKEN_PEPPERS", "EMAIL_HOST_PASSWORD"} <= shown.keys()
    for name, text in shown.items():
        value = getattr(in_force, name, None)
        if name not in PLAIN | ADDRESSES and not isinstance(value, int | float):
            assert text in {"set", "empty"}, name
    assert shown["SECRET_KEY"] == "set"
    assert not any(word in name for name in PLAIN for word in ("SECRET", "TOKEN", "PASSWORD", "URL"))
