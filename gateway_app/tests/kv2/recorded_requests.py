"""What clients ask and what they are answered, as the tables of docs/internals/vault-requests.md have it.

With KEEPER_WRITE_TABLES=1 a run of the tests writes the table of each client anew.
"""

import functools
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import orjson
from django.http import HttpRequest, HttpResponse

from gateway_app.kv2.views import OpenView

PAGE: Final = Path(__file__).parents[3] / "docs" / "internals" / "vault-requests.md"
_HEAD: Final = "| Request | Body | Answer |\n| --- | --- | --- |\n"
_PART: Final = "\n## {}\n\n" + _HEAD


@contextmanager
def compared(client: str, *, whole: bool) -> Iterator[None]:
    """Compare the requests that a client makes meanwhile with its table.

    `whole` is for a client that asks the same each time: others must make one of these requests at least.
    """
    seen: set[str] = set()
    dispatch = OpenView.dispatch
    OpenView.dispatch = _noting(dispatch, seen)  # type: ignore[method-assign]  # for a while
    try:
        yield
    finally:
        OpenView.dispatch = dispatch  # type: ignore[method-assign]
    if os.environ.get("KEEPER_WRITE_TABLES"):
        _write(client, seen if whole else seen | _rows(client))
    told = _rows(client)
    assert seen == told if whole else seen & told, f"{client}: {seen ^ told}"


def _noting(dispatch: Callable[..., HttpResponse], seen: set[str]) -> Any:
    @functools.wraps(dispatch)
    def noting(self: OpenView, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        sent = request.body
        answer = dispatch(self, request, *args, **kwargs)
        names = "&".join(f"{name}={_shown(str(value))}" for name, value in sorted(request.GET.items()))
        path = request.path.removeprefix("/vault/v1/") + (f"?{names}" if names else "")
        seen.add(f"| `{request.method} {path}` | {_body(request, sent)} | {_answer(answer)} |")
        return answer

    return noting


def _shown(value: str) -> str:
    return value if re.fullmatch(r"true|false|[0-9]+", value) else "…"


def _body(request: HttpRequest, sent: bytes) -> str:
    # What Python's server of tests takes a missing header for.
    kind = request.headers.get("Content-Type", "text/plain")
    named = {"text/plain": ", no media type", "application/json": ""}.get(kind, f" as `{kind}`")
    return f"`{', '.join(sorted(orjson.loads(sent)))}`{named}" if sent else "–"


def _answer(answer: HttpResponse) -> str:
    if not answer.content:
        return str(answer.status_code)
    found = orjson.loads(answer.content)
    if "errors" in found:
        return f"{answer.status_code} `{': '.join(['errors', *found['errors']])}`"
    inside = found.get("auth") or found.get("data") or found
    names = sorted(inside)
    return f"{answer.status_code} `{', '.join(names[:4])}{', …' if len(names) > 4 else ''}`"


def _rows(client: str) -> set[str]:
    _, found, rest = PAGE.read_text(encoding="utf-8").partition(_PART.format(client))
    return {line for line in rest.split("\n\n")[0].splitlines() if line} if found else set()


def _write(client: str, rows: set[str]) -> None:
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(_PART.format(client))
    _, following, after = rest.partition("\n## ")
    table = _PART.format(client) + "\n".join(sorted(rows)) + "\n"
    PAGE.write_text(before + table + following + after, encoding="utf-8")
