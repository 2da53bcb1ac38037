"""kpr from the server: the same files for everybody, with their sums, and the line that installs it."""

import base64
import email
import hashlib
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from django.test import Client

from environments_app.models import User
from environments_app.tests.cast import Cast
from environments_app.views import client_download
from tests.processes import ROOT

pytestmark = pytest.mark.django_db


def wheel_name() -> str:
    return next(name for name in client_download.files() if name.endswith(".whl"))


def test_each_file_has_its_sum_and_needs_no_sign_in() -> None:
    lines = Client().get("/kpr/SHA256SUMS").content.decode().splitlines()
    sums = {name: digest for digest, name in (line.split("  ") for line in lines)}

    assert sums.keys() == {"kpr.pyz", wheel_name()}
    for name, digest in sums.items():
        answer = Client().get(f"/kpr/{name}")
        assert hashlib.sha256(answer.content).hexdigest() == digest
        assert answer.headers["Cache-Control"] == "public, no-cache"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert not answer.cookies


def test_a_cache_that_has_the_file_gets_no_second_one() -> None:
    etag = Client().get("/kpr/kpr.pyz").headers["ETag"]

    again = Client().get("/kpr/kpr.pyz", headers={"If-None-Match": etag})

    assert (again.status_code, again.content) == (304, b"")
    assert Client().get("/kpr/kpr.pyz", headers={"If-None-Match": '"other"'}).status_code == 200
    assert Client().get("/kpr.pyz").headers["ETag"] == etag


@pytest.mark.parametrize(
    "path",
    [
        *("/kpr/", "/kpr/absent", "/kpr/KPR.PYZ", "/kpr/kpr.pyz/", "/kpr/kpr.pyz%00", "/kpr/kpr.pyz%0a"),
        *(
            "/kpr/..%2fkpr.pyz",
            "/kpr/../manage.py",
            "/kpr/%2e%2e%2f%2e%2e%2fmanage.py",
            "/kpr/kpr/__init__.py",
        ),
    ],
)
def test_nothing_else_is_served(path: str) -> None:
    answer = Client().get(path)

    assert answer.status_code in {302, 404}
    assert b"__version__" not in answer.content
    assert "public" not in answer.headers.get("Cache-Control", "")


def test_a_post_is_refused() -> None:
    assert Client().post("/kpr/kpr.pyz").status_code == 405


def test_the_wheel_is_what_the_client_declares_and_its_record_is_true() -> None:
    project = tomllib.loads((ROOT / "client/pyproject.toml").read_text())["project"]
    archive = zipfile.ZipFile(BytesIO(client_download.files()[wheel_name()]))
    folder = f"keeper_kpr-{project['version']}.dist-info"
    metadata = email.message_from_bytes(archive.read(f"{folder}/METADATA"))
    declared = [
        *project["dependencies"],
        *(
            f'{needed}; extra == "{extra}"'
            for extra, each in project["optional-dependencies"].items()
            for needed in each
        ),
    ]

    assert (metadata["Name"], metadata["Version"]) == (project["name"], project["version"])
    assert metadata["Requires-Python"] == project["requires-python"]
    assert metadata["Summary"] == project["description"]
    assert metadata.get_all("Requires-Dist") == [each.replace("'", '"') for each in declared]
    assert f"kpr = {project['scripts']['kpr']}" in archive.read(f"{folder}/entry_points.txt").decode()
    rows = [line.rsplit(",", 2) for line in archive.read(f"{folder}/RECORD").decode().splitlines()]
    assert {name for name, *_ in rows} == set(archive.namelist())
    for name, digest, size in rows[:-1]:
        content = archive.read(name)
        expected = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        assert (digest, int(size)) == (f"sha256={expected}", len(content))


def test_the_page_that_shows_a_token_has_the_line_that_installs_kpr(
    cast: Cast, signed_in: Callable[[User], Client]
) -> None:
    page = signed_in(cast.alice).post(
        f"/environments/{cast.development.name}/tokens",
        {"name": "deploy", "role": "reader"},
    )

    digest = hashlib.sha256(client_download.zipapp()).hexdigest()
    assert "http://testserver/kpr/kpr.pyz" in page.content.decode()
    assert digest in page.content.decode()


def test_a_python_that_is_too_old_is_told_in_words(tmp_path: Path) -> None:
    path = tmp_path / "kpr.pyz"
    path.write_bytes(client_download.zipapp())
    script = f"import runpy, sys; sys.version_info = (3, 9, 18); runpy.run_path({str(path)!r}, run_name='__main__')"

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("kpr needs Python 3.10 or newer, and this is Python 3.9:")
    assert "Traceback" not in done.stderr
