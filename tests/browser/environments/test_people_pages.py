"""A person is invited with access on one page, and is signed in by accepting."""

import re

import pytest
from django.core import mail
from playwright.sync_api import expect
from pytest_django import Settings

from environments_app.models import Membership
from environments_app.tests.cast import Cast
from environments_app.users.password_mail import send_due
from tests.browser.accessibility import Inspection
from tests.browser.effort import Effort
from tests.browser.visitor import Visitor


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no-scripts"])
def test_an_invitation_gives_access_and_signs_in(
    visitor: Visitor, cast: Cast, settings: Settings, scripts: bool
) -> None:
    settings.EMAIL_HOST, settings.KEEPER_URL = "mail.example.com", visitor.site
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    page = visitor.open("/people", user=cast.root, java_script_enabled=scripts)
    inspection = Inspection(visitor)
    effort = Effort(page) if scripts else None
    page.get_by_text("Invite a person").click()
    page.get_by_role("textbox", name="Email").fill("nina@example.com")
    page.get_by_label("development").check()
    page.get_by_label("production").check()
    if scripts:
        inspection.look_at(page, "people-invite")
    page.get_by_role("button", name="Send invitation").click()
    expect(page.get_by_text("Invitation sent to nina@example.com.")).to_be_visible()
    if effort:
        # Open, two environments, send; the address is typed.
        assert effort.clicks == 4
        inspection.look_at(page, "people-invited")

    send_due()
    link = re.search(r"http\S+/set-password#\S+", str(mail.outbox[-1].body))
    assert link
    theirs = visitor.open(link[0], java_script_enabled=scripts)
    if not scripts:
        theirs.get_by_label("Code").fill(link[0].partition("#")[2])
    theirs.get_by_label("New password", exact=True).fill("a-quite-different-passphrase")
    theirs.get_by_label("Confirm new password").fill("a-quite-different-passphrase")
    theirs.get_by_role("button", name="Save password").click()
    expect(theirs.get_by_text("Welcome, nina.")).to_be_visible()
    theirs.goto("/environments/production")
    expect(theirs.get_by_text("Reader")).to_be_visible()
    assert Membership.objects.filter(user__username="nina").count() == 2
    assert inspection.found == {}
