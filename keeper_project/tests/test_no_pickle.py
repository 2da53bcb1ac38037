"""No module of Keeper loads what runs code as it is loaded, and no setting lets a library do it."""

import ast
import subprocess
from pathlib import Path

from django.conf import settings
from django.contrib.sessions.serializers import JSONSerializer
from django.utils.module_loading import import_string

from keeper_project.celery import app

ROOT = Path(__file__).resolve().parents[2]
# They load and run code, or load files that do.
RUNNING = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "jsonpickle"}
# `marshal` runs nothing, but trusts its input: the ends of a pair of sockets that a parent gave its forks, and
# a digest of rows, which is never loaded.
MARSHAL = {"gateway_app/engine/messages.py", "secrets_app/rows/current_versions.py"}


def test_no_module_imports_it() -> None:
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    found, marshal = [], set()
    for path in listed.stdout.split():
        if "/tests/" in path or not path.startswith(
            (
                "core",
                "audit_app",
                "environments_app",
                "secrets_app",
                "sync_app",
                "gateway_app",
                "operations_app",
                "keeper_project",
                "client",
            )
        ):
            continue
        for node in ast.walk(ast.parse((ROOT / path).read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                found += [f"{path}: {name}"] if name.split(".")[0] in RUNNING else []
                marshal |= {path} if name == "marshal" else set()
    assert not found
    assert marshal == MARSHAL


def test_messages_and_sessions_are_json() -> None:
    assert app.conf.accept_content == ["json"]
    assert app.conf.task_serializer == "json"
    assert app.conf.result_accept_content in (None, ["json"])
    # No result is stored, and no worker takes commands from the broker.
    assert not app.conf.result_backend
    assert app.conf.worker_enable_remote_control is False
    assert settings.SESSION_SERIALIZER == "django.contrib.sessions.serializers.JSONSerializer"
    assert import_string(settings.SESSION_SERIALIZER) is JSONSerializer
