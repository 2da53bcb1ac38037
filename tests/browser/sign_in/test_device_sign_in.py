"""A person signs kpr in from a terminal: the code is typed, looked at, and approved."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import expect

from environments_app.models import PersonalToken
from environments_app.tests.cast import Cast
from tests.browser.visitor import Visitor

CLIENT = Path(__file__).resolve().parents[3] / "client"


@pytest.mark.parametrize("button", ["Approve", "Deny"])
def test_kpr_is_signed_in_by_its_code(
    visitor: Visitor, site: str, cast: Cast, tmp_path: Path, button: str
) -> None:
    variables = {"HOME": str(tmp_path), "PYTHONPATH": str(CLIENT), "KPR_SERVER": site, "USER": "alice"}
    with subprocess.Popen(
        [sys.executable, "-m", "kpr", "login", "--storage", "file"],
        env=variables,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout
            assert process.stderr
            line = process.stderr.readline()
            found = re.search(r"(\S+/device) .* ([A-Z]{4}-[A-Z]{4})", line)
            assert found, line
            page = visitor.open("/device", user=cast.alice)
            page.locator("#id_code").fill(found[2].lower())
            page.get_by_role("button", name="Continue").click()
            expect(page.get_by_text("Approve only a sign-in that you started")).to_be_visible()
            expect(page.get_by_text("alice@")).to_be_visible()
            page.get_by_role("button", name=button).click()
            expect(page.get_by_text("Approved." if button == "Approve" else "Denied.")).to_be_visible()
            out, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, PersonalToken.objects.count()) == ((0, 1) if button == "Approve" else (4, 0))
    assert ("as alice" in out) == (button == "Approve")


@pytest.mark.parametrize("button", ["Approve", "Deny"])
def test_kpr_is_signed_in_by_this_browser(
    visitor: Visitor, site: str, cast: Cast, tmp_path: Path, button: str
) -> None:
    variables = {
        "HOME": str(tmp_path),
        "PYTHONPATH": str(CLIENT),
        "KPR_SERVER": site,
        "USER": "alice",
        # The browser that kpr would open.
        "BROWSER": "/bin/true",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "kpr", "login", "--web", "--storage", "file"],
        env=variables,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout
            assert process.stderr
            line = process.stderr.readline()
            found = re.search(r"/loopback\?\S+", line)
            assert found, line
            page = visitor.open(found[0], user=cast.alice)
            expect(page.get_by_text("alice@")).to_be_visible()
            visitor.shoot(page, "loopback")
            port = re.search(r"[?&]port=(\d+)", line)
            assert port
            page.get_by_role("button", name=button).click()
            expect(page.get_by_text("You can close this window")).to_be_visible()
            out, _ = process.communicate(timeout=60)
            # The page leads to kpr, whose icon the browser may then ask for in vain.
            page.close()
            visitor.watch(page).origins.discard(f"http://127.0.0.1:{port[1]}")
            visitor.watch(page).expect("Failed to load resource")
        finally:
            process.kill()
    assert (process.returncode, PersonalToken.objects.count()) == ((0, 1) if button == "Approve" else (4, 0))
    assert ("as alice" in out) == (button == "Approve")
