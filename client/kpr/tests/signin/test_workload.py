"""A pipeline: kpr from the server by its hash, and commands of one job that share the platform's token."""

import hashlib
import os
import sqlite3
import subprocess
import urllib.request
from pathlib import Path

import pytest
import yaml
from environments_app.tests.trusts.issuer import Issuer
from tests.processes import ROOT, run_commands
from tests.served import environment

from kpr.tests.conftest import CANARY, Kpr, Server, signed_out

ISSUER = Issuer("https://gitlab.test")


@pytest.fixture(scope="module")
def trust(server: Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    keys = tmp_path_factory.mktemp("keys") / "keys.json"
    keys.write_text(ISSUER.jwks())
    common = [
        "issue_trust", "--environment", "development", "--preset", "gitlab", "--role", "reader",
        "--issuer", ISSUER.url, "--jwks-file", str(keys), "--audience", server.url,
        "--claim", "project_path=example/shop",
    ]  # fmt: skip
    run_commands(
        environment(server.data),
        [*common, "--name", "pipeline"],
        [*common, "--name", "once", "--single-use"],
    )
    return "pipeline"


def job(home: Path, server: Server, trust: str) -> Kpr:
    token = ISSUER.sign(aud=server.url, project_path="example/shop")
    return signed_out(home, {"KPR_SERVER": server.url, "KPR_TRUST": trust, "KPR_JWT": token})


def valid_tokens(server: Server) -> int:
    with sqlite3.connect(server.data / "keeper.db") as database:
        return int(
            database.execute(
                "select count(*) from environments_app_servicetoken"
                " where trust_uuid is not null and revoked_at is null"
            ).fetchone()[0]
        )


def test_each_command_of_a_job_signs_in_and_leaves_no_token(
    tmp_path: Path, server: Server, trust: str
) -> None:
    kpr = job(tmp_path, server, trust)

    for _ in range(2):
        shown = kpr.run("sh", "-c", "printf %s $DB_URL", options=("--prefix", "app", "--strip-prefix"))
        assert (shown.returncode, shown.stdout.decode()) == (0, CANARY), shown.stderr
    assert kpr("get", "app/db-url").stdout.decode().strip() == CANARY
    assert kpr("status").returncode == 0
    assert valid_tokens(server) == 0


def test_a_token_that_a_trust_accepts_once_is_refused_in_words(
    tmp_path: Path, server: Server, trust: str
) -> None:
    kpr = job(tmp_path, server, "once")
    assert kpr("get", "app/db-url").returncode == 0

    again = kpr("get", "app/db-url")

    assert again.returncode != 0
    assert b"used before" in again.stderr
    assert b"single use" in again.stderr


def test_the_recipe_of_gitlab_runs_the_client_of_the_server(
    tmp_path: Path, server: Server, trust: str
) -> None:
    recipe = yaml.safe_load((ROOT / "deploy/gitlab/keeper.yml").read_text())[".keeper"]
    script = "\n".join(recipe["before_script"]).replace("/tmp/", f"{tmp_path}/")
    script = script.replace("/usr/local/bin/kpr", f"{tmp_path}/kpr")
    digest = urllib.request.urlopen(f"{server.url}/kpr/SHA256SUMS", timeout=30).read().decode().split()[0]
    variables = {**job(tmp_path, server, trust).variables, "KPR_SHA256": digest}
    del variables["PYTHONPATH"]

    def runs(**changes: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-ec", f"{script}\n{tmp_path}/kpr get app/db-url"],
            env={**variables, **changes}, cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip

    done = runs()
    assert (done.returncode, done.stdout.strip()) == (0, CANARY), done.stderr
    assert runs(KPR_SHA256="0" * 64).returncode != 0
    assert runs(KPR_SHA256="").returncode != 0


def test_the_action_names_no_package_index() -> None:
    action = yaml.safe_load((ROOT / "deploy/github-action/action.yml").read_text())
    script = action["runs"]["steps"][0]["run"]

    assert action["inputs"]["kpr-sha256"]["required"] is True
    assert "sha256sum --check" in script
    assert "pip install" not in script


def test_the_client_is_the_same_file_each_time_and_holds_no_test(server: Server) -> None:
    content = urllib.request.urlopen(f"{server.url}/kpr.pyz", timeout=30).read()
    line = urllib.request.urlopen(f"{server.url}/kpr.pyz.sha256", timeout=30).read().decode()

    assert line == f"{hashlib.sha256(content).hexdigest()}  kpr.pyz\n"
    assert content.startswith(b"#!/usr/bin/env python3\n")
    assert b"conftest" not in content
    assert os.fsencode(ROOT) not in content
