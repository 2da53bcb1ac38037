"""kpr as files that run without this server: composed of the client's modules that came with it.

`/kpr/` has the zipapp, the wheel for pip and uv, and SHA256SUMS. They hold nothing of the installation.
"""

import base64
import hashlib
import io
import zipfile
from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Final

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import condition, require_safe

ZIPAPP: Final = "kpr.pyz"
SUMS: Final = "SHA256SUMS"
_MODULES: Final = Path(__file__).resolve().parents[2] / "client"
_SHEBANG: Final = b"#!/usr/bin/env python3\n"
_MAIN: Final = b"from kpr.__main__ import run_and_exit\n\nrun_and_exit()\n"
_ABSENT: Final = "This installation was built without kpr. Copy kpr.pyz from another one of this version.\n"
# As client/pyproject.toml states it, which is not in the image; a test compares the wheels.
_METADATA: Final = """Metadata-Version: 2.1
Name: keeper-kpr
Version: {version}
Summary: kpr, the client of Keeper: run a program with its secrets.
Classifier: Private :: Do Not Upload
Requires-Python: >=3.10
Requires-Dist: tomli>=2; python_version < "3.11"
Provides-Extra: keyring
Requires-Dist: keyring>=25; extra == "keyring"
Provides-Extra: offline
Requires-Dist: keyring>=25; extra == "offline"
Requires-Dist: cryptography>=44; extra == "offline"
"""
_WHEEL: Final = "Wheel-Version: 1.0\nGenerator: keeper\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_ENTRY_POINTS: Final = "[console_scripts]\nkpr = kpr.__main__:main\n"


@cache
def files() -> Mapping[str, bytes]:
    """Return name → content of what `/kpr/` serves; empty if the client is not beside this server."""
    modules = _modules()
    if not modules:
        return {}
    version = _version(modules["kpr/__init__.py"])
    packed = {ZIPAPP: zipapp(), f"keeper_kpr-{version}-py3-none-any.whl": _wheel(modules, version)}
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in packed.items())
    return {**packed, SUMS: sums.encode()}


@cache
def zipapp() -> bytes:
    """Return the zipapp, the same bytes on each machine: nothing is compressed, and no time is stored.

    Empty if the client's modules are not installed beside this server.
    """
    modules = _modules()
    return _SHEBANG + _archive({"__main__.py": _MAIN, **modules}) if modules else b""


def install_line(server: str) -> str:
    """Return the line of a shell that installs kpr from a server if it is this file; or nothing."""
    if not zipapp():
        return ""
    digest = hashlib.sha256(zipapp()).hexdigest()
    return (
        f"curl -fsSO {server}/kpr/{ZIPAPP} && echo '{digest}  {ZIPAPP}' | sha256sum -c"
        f" && mkdir -p ~/.local/bin && install -m 755 {ZIPAPP} ~/.local/bin/kpr"
    )


def _etag(request: HttpRequest, name: str = ZIPAPP) -> str | None:  # noqa: ARG001 - Django's signature
    content = files().get(name)
    return None if content is None else f'"{hashlib.sha256(content).hexdigest()}"'


@login_not_required
@require_safe
@condition(etag_func=_etag)
def client(request: HttpRequest, name: str = ZIPAPP) -> HttpResponse:  # noqa: ARG001 - Django's signature
    """Send a file of kpr; it needs no sign-in."""
    return _download(files().get(name, b""), "text/plain" if name == SUMS else "application/octet-stream")


@login_not_required
@require_safe
def client_checksum(request: HttpRequest) -> HttpResponse:  # noqa: ARG001 - Django's signature
    """Send the SHA-256 of kpr.pyz as `sha256sum --check` reads it."""
    line = f"{hashlib.sha256(zipapp()).hexdigest()}  {ZIPAPP}\n"
    return _download(line.encode() if zipapp() else b"", "text/plain")


def _download(content: bytes, kind: str) -> HttpResponse:
    if content:
        # A cache asks by the ETag each time, so that a file and its sum are of one version.
        return HttpResponse(content, content_type=kind, headers={"Cache-Control": "public, no-cache"})
    text = _ABSENT if not files() else f"/kpr/ has {', '.join(files())}.\n"
    return HttpResponse(text, status=HTTPStatus.NOT_FOUND, content_type="text/plain")


def _modules() -> dict[str, bytes]:
    paths = [path for path in _MODULES.glob("kpr/**/*.py") if "tests" not in path.parts]
    return {path.relative_to(_MODULES).as_posix(): path.read_bytes() for path in sorted(paths)}


def _version(module: bytes) -> str:
    lines = (line for line in module.decode().splitlines() if line.startswith("__version__"))
    return next(lines).partition("=")[2].strip(' "')


def _wheel(modules: Mapping[str, bytes], version: str) -> bytes:
    """Return the wheel (packaging.python.org, binary distribution format)."""
    folder = f"keeper_kpr-{version}.dist-info"
    members = {
        **modules,
        f"{folder}/METADATA": _METADATA.format(version=version).encode(),
        f"{folder}/WHEEL": _WHEEL.encode(),
        f"{folder}/entry_points.txt": _ENTRY_POINTS.encode(),
    }
    rows = (f"{name},sha256={_digest(content)},{len(content)}\n" for name, content in members.items())
    record = "".join(rows)
    return _archive({**members, f"{folder}/RECORD": f"{record}{folder}/RECORD,,\n".encode()})


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def _archive(members: Mapping[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in members.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return content.getvalue()
