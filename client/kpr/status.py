"""`kpr status`: which server, person, token and environment commands would use, and whether they work."""

import sys
from argparse import Namespace
from datetime import datetime, timezone
from typing import Any

from kpr import API_LEVEL, __version__
from kpr.api import Api
from kpr.cli.output import duration, print_document
from kpr.errors import Exit, KprError
from kpr.lookup import require_environment
from kpr.settings import Settings
from kpr.signin.credentials import find_token, source_of


def status(options: Namespace, settings: Settings, api: Api) -> int:
    """Print the state, and return 0 if commands would work, else the code of the first failure."""
    found: dict[str, Any] = {
        "kpr": {"version": __version__, "api_level": API_LEVEL},
        "server": {"address": settings.server},
        "token": {"source": source_of(settings)},
        "environment": settings.environment or None,
        "prefix": ", ".join(settings.prefixes),
        "project": str(settings.project.path) if settings.project.path else None,
    }
    failure = _asked(found, options, settings, api)
    found["offline"] = _offline(settings, api.token)
    found["problem"] = str(failure) if failure else None
    if options.format == "json":
        print_document(found)
    else:
        _print(found)
    return int(failure.code if failure else Exit.DONE)


def _asked(found: dict[str, Any], options: Namespace, settings: Settings, api: Api) -> KprError | None:
    """Add what the server answers, and return what went wrong first."""
    try:
        found["server"] |= api.version()
        api.token = find_token(settings, debug=options.debug)
        api.ends_token = source_of(settings) == "trust"
        who = api.get("whoami").document()
        if settings.environment:
            require_environment(api, settings.environment)
    except KprError as error:
        return error
    found["who"] = {name: who[name] for name in ("name", "kind")}
    # Servers of before have it not.
    found["token"] |= who.get("token") or {}
    return None


def _offline(settings: Settings, token: str) -> dict[str, Any]:
    """Return the hours that the project asks for, and the age of the copy."""
    copy = None
    if settings.offline_hours and settings.environment and token:
        from kpr.running.offline import OfflineCopy  # noqa: PLC0415 - only where copies are kept

        copy = OfflineCopy(settings, token).age()
    return {"hours": settings.offline_hours, "copy": copy}


def _print(found: dict[str, Any]) -> None:
    server, copy = found["server"], found["offline"]["copy"]
    lines = {
        "kpr": f"{__version__}, API level {API_LEVEL}",
        "server": server["address"],
        "": f"Keeper {server['version']}, API level {server['api_level']}" if "version" in server else "",
        "signed in": f"{found['who']['name']} ({found['who']['kind']})" if "who" in found else "no",
        "token": _token(found["token"]),
        "environment": found["environment"] or "none",
        "prefix": found["prefix"] or "none",
        "project": found["project"] or "no .kpr.toml",
        "offline": _copy(found["offline"]["hours"], copy),
        "problem": found["problem"] or "",
    }
    for name, text in lines.items():
        if text:
            sys.stdout.write(f"{name:<12} {text}\n")


def _token(token: dict[str, Any]) -> str:
    if token["source"] == "none":
        return "none"
    parts = [f"from the {token['source']}" if token["source"] != "trust" else "by the trust of KPR_TRUST"]
    if token.get("environment"):
        below = f" under {token['prefix']}" if token.get("prefix") else ""
        parts.append(f"for {token['environment']}{below}")
    if token.get("expires_at"):
        ends = datetime.fromisoformat(token["expires_at"].replace("Z", "+00:00"))
        left = (ends - datetime.now(timezone.utc)).total_seconds()
        parts.append(f"ends {ends:%Y-%m-%d %H:%M} UTC, in {duration(max(left, 0))}")
    elif "expires_at" in token:
        parts.append("without an end")
    return ", ".join(parts)


def _copy(hours: int, copy: dict[str, Any] | None) -> str:
    if not hours:
        return "no copies are kept"
    if copy is None:
        return f"copies of up to {hours} h; there is none that this token and keyring open"
    state = "may be used" if copy["is_usable"] else "is too old"
    return (
        f"the copy is {duration(copy['seconds'])} old and {state}, up to {duration(copy['at_most_seconds'])}"
    )
