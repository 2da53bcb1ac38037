"""The versions that Parameter Store keeps of a parameter, and how another writer's becomes current again.

AWS has no compare-and-set. What a write came over is seen afterwards, in the history alone.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from sync_app.backends.answers import listed
from sync_app.backends.aws.errors import NotFound
from sync_app.backends.aws.metadata import parse_parameter
from sync_app.backends.observations import SecretMetadata, version_time
from sync_app.errors import OVERWROTE, Overwritten

SECURE: Final = "SecureString"
# Of GetParameterHistory: entries of a page.
_PAGE: Final = 50
_KEPT_BY_HISTORY: Final = ("Description", "AllowedPattern", "DataType")
Ask = Callable[[str, Callable[[], Any]], Any]


def read_parameter(
    client: Any, ask: Ask, selector: str, *, decrypt: bool = False
) -> Mapping[str, Any] | None:
    """Return a parameter, or a version of it, with a readable value only if `decrypt`."""
    try:
        reply = ask("ssm:GetParameter", lambda: client.get_parameter(Name=selector, WithDecryption=decrypt))
    except NotFound:
        return None
    entry: Mapping[str, Any] = reply["Parameter"]
    return entry


def read_history(client: Any, ask: Ask, path: str, *, decrypt: bool = True) -> Iterator[Mapping[str, Any]]:
    """Yield the versions that AWS keeps (100), from the oldest on, with readable values if `decrypt`."""

    def ask_page(token: str) -> tuple[Any, str | None]:
        options = {"NextToken": token} if token else {}
        get = functools.partial(
            client.get_parameter_history, Name=path, WithDecryption=decrypt, MaxResults=_PAGE, **options
        )
        try:
            page = ask("ssm:GetParameterHistory", get)
        except NotFound:
            return [], None
        return page["Parameters"], page.get("NextToken")

    return listed(ask_page)


def write_back(
    client: Any,
    ask: Ask,
    path: str,
    *,
    over: SecretMetadata,
    history: Sequence[Mapping[str, Any]],
    wrote: Callable[[str], bool],
) -> None:
    """Make another writer's version current again, if a write of ours came over it. Raises Overwritten.

    Ours may be several: the SDK sends a request again whose answer is lost.
    """
    theirs, ours = None, None
    for entry in history:
        version = parse_parameter(over.name, entry).version
        if version_time(version) <= version_time(over.version) or version == over.version:
            continue
        if wrote(entry["Value"]):
            ours = entry
        else:
            theirs, ours = entry, None
    if theirs is None or ours is None:
        return
    now = read_parameter(client, ask, path)
    if now is not None and now["Version"] == ours["Version"]:
        options = {field: theirs[field] for field in _KEPT_BY_HISTORY if theirs.get(field)}
        if theirs["Type"] == SECURE and theirs.get("KeyId"):
            options["KeyId"] = theirs["KeyId"]
        put = functools.partial(client.put_parameter, Name=path, Value=theirs["Value"], Type=theirs["Type"])
        ask("ssm:PutParameter", lambda: put(Overwrite=True, **options))
    raise Overwritten(
        f"{OVERWROTE}; restored; version {ours['Version']} in its history holds Keeper's value: "
        "rotate the secret if its readers there must not know it"
    )
