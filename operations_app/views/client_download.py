"""kpr, as one file that runs on Python alone: composed of the client's modules that came with this server."""

import hashlib
import io
import zipfile
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Final

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

_MODULES: Final = Path(__file__).resolve().parents[2] / "client"
_SHEBANG: Final = b"#!/usr/bin/env python3\n"
_MAIN: Final = b"from kpr.__main__ import run_and_exit\n\nrun_and_exit()\n"
_ABSENT: Final = "This installation was built without kpr. Copy kpr.pyz from another one of this version.\n"


@cache
def zipapp() -> bytes:
    """Return the zipapp, the same bytes on each machine: nothing is compressed, and no time is stored.

    Empty if the client's modules are not installed beside this server.
    """
    modules = [path for path in _MODULES.glob("kpr/**/*.py") if "tests" not in path.parts]
    if not modules:
        return b""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(zipfile.ZipInfo("__main__.py"), _MAIN)
        for path in sorted(modules):
            archive.writestr(zipfile.ZipInfo(path.relative_to(_MODULES).as_posix()), path.read_bytes())
    return _SHEBANG + content.getvalue()


@login_not_required
@require_safe
def client(request: HttpRequest) -> HttpResponse:  # noqa: ARG001 - Django's signature
    """Send kpr.pyz; it holds nothing of the installation, and needs no sign-in."""
    return _download(zipapp(), "application/octet-stream")


@login_not_required
@require_safe
def client_checksum(request: HttpRequest) -> HttpResponse:  # noqa: ARG001 - Django's signature
    """Send the SHA-256 of kpr.pyz as `sha256sum --check` reads it."""
    line = f"{hashlib.sha256(zipapp()).hexdigest()}  kpr.pyz\n"
    return _download(line.encode() if zipapp() else b"", "text/plain")


def _download(content: bytes, kind: str) -> HttpResponse:
    if not content:
        return HttpResponse(_ABSENT, status=HTTPStatus.NOT_FOUND, content_type="text/plain")
    return HttpResponse(content, content_type=kind)
