"""What operators and auditors see of all policies: the report, and what the admin does for who may."""

import csv
import io
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse

from environments_app.models import Membership
from environments_app.tests.cast import Cast
from operations_app.reports import service as reports
from operations_app.reports.formats import FORMATS
from secrets_app.tests.kept import keep
from sync_app.jobs.leases import database_now
from sync_app.models import Rotation, RotationPolicy
from sync_app.rotators.generated.tests.world import GeneratedWorld
from sync_app.tests.rotation.making import asked, grace_over, made_policy, made_secret, worked

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database]


def policy_of(cast: Cast, name: str, **rules: object) -> RotationPolicy:
    world = GeneratedWorld()
    return made_policy(cast, world, secret=made_secret(cast, world, name=name), **rules)


def report(cast: Cast, key: str) -> dict[str, list[str]]:
    """Return the rows of a section as alice sees them, by the name of the secret."""
    made = b"".join(FORMATS["csv"].write(reports.make(actor=cast.principal(cast.alice), key=key)))
    rows = list(csv.reader(io.StringIO(made.decode(), newline="")))
    return {row[1]: row for row in rows[1:]}


def test_the_report_tells_what_is_due_late_stopped_or_under_no_policy(cast: Cast) -> None:
    done = worked(asked(cast, policy_of(cast, "done")))
    worked(grace_over(done))
    worked(asked(cast, policy_of(cast, "in-grace")))
    stopped = asked(cast, policy_of(cast, "stopped"))
    Rotation.objects.filter(pk=stopped.pk).update(attempts=12, problem="the server does not answer")
    worked(stopped)
    now = database_now()
    for name, late in (("due", timedelta(minutes=5)), ("overdue", timedelta(days=2))):
        policy = policy_of(cast, name, interval_seconds=3600)
        RotationPolicy.objects.filter(pk=policy.pk).update(due_at=now - late)
    policy_of(cast, "calm", interval_seconds=86_400)
    keep(cast, "by-hand")
    rows = report(cast, "rotation")
    assert {name: row[6] for name, row in rows.items()} == {
        "done": "manual",
        "in-grace": "overlapping",
        "stopped": "failed",
        "due": "due",
        "overdue": "overdue",
        "calm": "on time",
    }
    assert rows["stopped"][7] == "the server does not answer"
    assert (rows["done"][8], rows["calm"][8]) == ("done", "")
    assert rows["done"][9].isdigit()
    assert report(cast, "unrotated").keys() == {"by-hand"}


def test_the_admin_suspends_and_rotates_what_one_may(cast: Cast, signed_in: Callable[..., Client]) -> None:
    policy = policy_of(cast, "app/key")
    other = policy_of(cast, "app/other")
    root = signed_in(cast.root)
    path = reverse("admin:sync_app_rotationpolicy_changelist")

    def act(name: str) -> str:
        form = {"action": name, "_selected_action": [policy.pk, other.pk], "agreed": "yes"}
        return str(root.post(path, form, follow=True).content.decode())

    # Who only administers does not rotate, and is told so for each.
    told = act("rotate")
    assert told.count("You don&#x27;t have permission to do this.") == 2
    assert not Rotation.objects.exists()
    Membership.objects.create(environment=cast.development, user=cast.root, role="editor")
    assert "2 of 2 done." in act("rotate")
    assert Rotation.objects.count() == 2
    assert "2 of 2 done." in act("suspend")
    assert not RotationPolicy.objects.filter(suspended_at=None).exists()
    assert act("rotate").count("the policy is suspended") == 2
