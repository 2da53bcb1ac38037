"""What operators come to do: plan and apply a sync, rotate, go back, and see who read what."""

from collections.abc import Callable

import hvac
from playwright.sync_api import expect
from pytest_django import Settings

from environments_app.tests.cast import Cast
from secrets_app.models import Secret, SecretVersion
from secrets_app.services import read as read_service
from secrets_app.services import write
from sync_app.models import Rotation, Run
from sync_app.rotation.execution.runner import execute
from sync_app.rotators.generated.tests.world import GeneratedWorld
from sync_app.runs import runner as runs_runner
from sync_app.targets import service as targets
from sync_app.tests.rotation.making import made_policy, made_secret
from tests.browser.keys import follow, walk
from tests.browser.secrets.test_journeys import SIZES, VALUE, kept_in
from tests.browser.visitor import Visitor
from tests.servers.fixtures import openbao

__all__ = ["openbao"]
Make = Callable[..., Secret]


@SIZES
def test_a_sync_is_planned_and_applied(
    visitor: Visitor,
    cast: Cast,
    secret: Make,
    openbao: tuple[str, str],
    settings: Settings,
    phone: bool,
) -> None:
    settings.KEEPER_OUTBOUND_ALLOWED = ["127.0.0.0/8"]
    (address, token), prefix = openbao, f"journey-{'phone' if phone else 'desktop'}"
    secret(name="payments/db")
    target = targets.create(
        actor=cast.principal(cast.alice),
        environment=cast.development,
        name="vault",
        backend="vault_kv2",
        destination={"address": address, "prefix": prefix},
        credentials={"token": token},
        interval_seconds=0,
    )
    page = visitor.open(f"/sync/{target.pk}", user=cast.alice, phone=phone)
    page.get_by_role("button", name="Preview", exact=True).press("Enter")
    page.wait_for_url("**/sync/plans/*")
    # What a worker would do.
    runs_runner.execute(Run.objects.latest("pk").pk)

    # It leads back to the same address.
    with page.expect_navigation():
        page.get_by_role("button", name="Apply 1 change").press("Enter")
    runs_runner.execute(Run.objects.latest("pk").pk)
    expect(page.locator(".plan-line").filter(has_text="payments/db")).to_contain_text("done")

    stored = hvac.Client(url=address, token=token).secrets.kv.v2.read_secret_version(
        path=f"{prefix}/payments/db", mount_point="secret", raise_on_deleted_version=True
    )
    assert stored["data"]["data"] == {"value": VALUE}
    assert VALUE not in kept_in(page)


@SIZES
def test_a_secret_is_rotated(visitor: Visitor, cast: Cast, phone: bool) -> None:
    world = GeneratedWorld()
    rotated = made_secret(cast, world, name="app/key")
    policy = made_policy(cast, world, secret=rotated)
    page = visitor.open(f"/secrets/{rotated.pk}", user=cast.alice, phone=phone)
    page.locator(f"a[href='/rotation/{policy.pk}']").first.click()
    page.get_by_role("button", name="Rotate now").click()
    page.get_by_role("dialog").get_by_role("button", name="Rotate").click()
    expect(page.locator(".messages")).to_be_visible()
    execute(Rotation.objects.latest("pk").pk)
    page.reload()

    expect(page.locator("main")).to_contain_text("overlapping")
    assert SecretVersion.objects.filter(secret=rotated).count() == 2


@SIZES
def test_a_version_is_rolled_back_to_by_the_keyboard_alone(
    visitor: Visitor, cast: Cast, secret: Make, phone: bool
) -> None:
    stored = secret(value="first")
    write.update(actor=cast.principal(cast.alice), secret=stored, value="second", comment="a mistake")
    page = visitor.open(f"/secrets/{stored.pk}", user=cast.alice, phone=phone)
    page.wait_for_load_state()
    walk(page, "form[data-confirm='Roll back to version 1?'] button")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    walk(page, "form[data-confirm='Roll back to version 1?'] button")
    page.keyboard.press("Enter")
    follow(page, "#confirm-go")

    expect(page.locator(".version")).to_have_count(3)
    stored.refresh_from_db()
    assert read_service.reveal(actor=cast.principal(cast.alice), secret=stored).value == "first"


@SIZES
def test_a_person_is_audited(visitor: Visitor, cast: Cast, secret: Make, phone: bool) -> None:
    stored = secret(name="payments/db")
    other = secret(name="search/key")
    for reader, read in ((cast.bob, stored), (cast.bob, other), (cast.erin, stored)):
        read_service.reveal(actor=cast.principal(reader), secret=read)
    page = visitor.open(f"/secrets/{stored.pk}", user=cast.alice, phone=phone)
    expect(page.locator(".viewers")).to_contain_text("bob")
    page.goto("/activity")
    page.wait_for_load_state()
    page.get_by_text("More filters").click()
    page.get_by_label("Actor").fill("bob")
    page.get_by_label("Actor").press("Enter")

    rows = page.locator("table.trail tbody tr:not(.list-group)")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("search/key")
    assert "actor=bob" in page.url
    # The address can be sent to somebody, who sees the same if they may read the trail, and else nothing.
    other_manager = visitor.open(page.url.removeprefix(visitor.site), user=cast.vera, phone=phone)
    expect(other_manager.locator("table.trail tbody tr:not(.list-group)")).to_have_count(0)
    page.get_by_label("Resource").fill("payments/db")
    page.get_by_label("Resource").press("Enter")
    expect(rows).to_have_count(1)
    expect(rows.first).to_contain_text("revealed")


def test_an_event_is_chosen_by_typing_and_by_keys_alone(visitor: Visitor, cast: Cast, secret: Make) -> None:
    read_service.reveal(actor=cast.principal(cast.bob), secret=secret(name="payments/db"))
    page = visitor.open("/activity", user=cast.alice)
    page.locator(".picker summary").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".picker input")).to_be_focused()
    page.keyboard.type("secret reve")
    page.keyboard.press("Enter")

    rows = page.locator("table.trail tbody tr:not(.list-group)")
    expect(rows).to_have_count(1)
    assert "action=secret.reveal" in page.url
    expect(page.locator(".picker summary")).to_have_text("Secret revealed")
    with page.expect_download() as download:
        page.get_by_role("link", name="Export as CSV").click()
    assert download.value.path().read_text().count("secret.reveal") == 1
