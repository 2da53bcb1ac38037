"""Another Keeper as source, asked over its REST API: secrets with all versions, by a token.

The token reads values: a service token of the role reader sees one environment, a person's token several.
Each value that is read is on record there.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final
from urllib.parse import parse_qsl, urlsplit

from core.errors import BadEndpoint
from core.network.outbound import normalised_endpoint
from secrets_app.models.version_rules import DELETED, DESTROYED
from secrets_app.types.registry import SecretType
from sync_app.backends.capabilities import FormField
from sync_app.backends.rest import NotFound, RestClient, refuse_unreadable
from sync_app.errors import AnswerUnexpected, BadDestination, MountMissing
from sync_app.migration.sources.base import COUNTED, LITERAL, MAX_NUMBER, Found, FoundVersion, Source, Value
from sync_app.migration.sources.keeper_export import KeeperExport, time_of

_PAGE: Final = "200"
# Of one secret; another server may never end its pages.
_MAX_VERSIONS: Final = 20_000
_STATES: Final = {"readable": "", "deleted": DELETED, "destroyed": DESTROYED}
_DELETED: Final = "it was deleted in the source since it was listed"
_GUARDED: Final = "it is guarded in the source: each read of it needs a second person there"
_OTHER: Final = "the other server does not answer as Keeper does: check its address and version"


class KeeperLive(Source):
    """What one token of another Keeper sees; its places are environments."""

    kind: ClassVar[str] = "keeper-live"
    label: ClassVar[str] = "Another Keeper"
    place_word: ClassVar[str] = "environment"
    place_example: ClassVar[str] = "production"
    needs: ClassVar[str] = """keeper issue-token --environment production --role reader --name migration
or a personal token of who may read values in all environments that are carried"""
    setting_fields: ClassVar[tuple[FormField, ...]] = (
        FormField(name="address", label="Address", required=True, help="Such as https://keeper.example."),
        FormField(
            name="ca_certificate",
            label="CA certificate",
            lines=True,
            help="PEM, where the server's certificate is not of a public authority.",
        ),
    )
    credential_fields: ClassVar[tuple[FormField, ...]] = (
        FormField(name="token", label="Token", required=True, sensitive=True, help="Of the other Keeper."),
    )

    def __init__(self, *, settings: Mapping[str, str], credentials: Mapping[str, str]) -> None:
        super().__init__(settings=settings, credentials=credentials)
        if not self.credentials["token"]:
            raise BadDestination("enter a token of the other Keeper", field="token")
        refuse_unreadable(self.settings["ca_certificate"])
        self._client = RestClient(
            self.endpoint(self.settings),
            label="the other Keeper",
            ca=self.settings["ca_certificate"],
            headers={"Authorization": f"Bearer {self.credentials['token']}", "Accept": "application/json"},
        )

    @classmethod
    def system(cls) -> str:
        return KeeperExport.kind

    @classmethod
    def endpoint(cls, settings: Mapping[str, str]) -> str:
        try:
            return normalised_endpoint(settings.get("address") or "")
        except BadEndpoint as error:
            raise BadDestination(str(error), field="address") from error

    def close(self) -> None:
        self._client.close()

    def places(self) -> Sequence[str]:
        return [_text(row, "name") for row in self._rows("environments", {})]

    def paths(self, place: str) -> Iterator[str]:
        if place not in self.places():
            raise MountMissing(f"the token sees no environment {place}: check its name and the token")
        for row in self._rows("secrets", {"environment": place}):
            # A name that is a number finds another environment by its id as well.
            if row.get("environment") == place:
                yield _text(row, "name")

    def find(self, place: str, path: str) -> Found:
        secret = self._secret(place, path)
        if secret is None:
            return Found(path=path, skip=_DELETED)
        if secret.get("guarded"):
            return Found(path=path, fault=_GUARDED)
        try:
            return _found(path, secret, *self._versions(int(secret["id"])))
        except NotFound:
            return Found(path=path, skip=_DELETED)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise AnswerUnexpected(_OTHER) from None

    def open(self, place: str, path: str, version: FoundVersion) -> Value | None:
        try:
            document = self._get(f"secrets/{version.identifier}/versions/{version.number}", {})
        except NotFound:
            return None
        if document.get("number") != version.number:
            raise AnswerUnexpected(_OTHER)
        value = _text(document, "value")
        return Value(value, value)

    def _secret(self, place: str, path: str) -> dict[str, Any] | None:
        # In the order of names, the one of this name comes before those below it.
        query = {"environment": place, "prefix": path, "limit": "2"}
        rows = _results(self._get("secrets", query))
        return next((row for row in rows if (row.get("environment"), row.get("name")) == (place, path)), None)

    def _versions(self, id: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Return what the list of versions has of their secret, and the versions."""
        about: dict[str, Any] = {}
        versions: list[dict[str, Any]] = []
        for about in self._pages(f"secrets/{id}/versions", {"ordering": "number"}):
            versions += [{**row, "id": str(id)} for row in _results(about)]
            if len(versions) > _MAX_VERSIONS:
                raise AnswerUnexpected(_OTHER)
        return about, versions

    def _rows(self, path: str, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """Yield every row of a list, page by page."""
        for page in self._pages(path, query):
            yield from _results(page)

    def _pages(self, path: str, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        asked = {**query, "limit": _PAGE}
        while True:
            page = self._get(path, asked)
            yield page
            if not page.get("next"):
                return
            # The cursor alone: where to ask stays ours.
            cursor = dict(parse_qsl(urlsplit(_text(page, "next")).query)).get("cursor")
            if not cursor or asked.get("cursor") == cursor:
                raise AnswerUnexpected(_OTHER)
            asked["cursor"] = cursor

    def _get(self, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        try:
            content = self._client.request("GET", f"/api/{path}", query=query).content
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise AnswerUnexpected(_OTHER)
        return content


def _found(
    path: str, secret: Mapping[str, Any], about: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> Found:
    """Return a secret with its versions up to the current one: a later one is being prepared there."""
    current = int(secret["version"])
    versions = [_version(row) for row in rows if int(row["number"]) <= current]
    numbers = [each.number for each in versions]
    if not numbers or numbers != sorted(set(numbers)) or not 0 < numbers[0] <= numbers[-1] <= MAX_NUMBER:
        raise ValueError
    described = {
        name: secret[name] for name in ("owner", "description", "tags", "expires_at") if secret.get(name)
    }
    # A Keeper of before tells neither.
    previous, labels = about.get("previous_version", COUNTED), about.get("custom_metadata") or {}
    return Found(
        path=path,
        versions=versions,
        current=current,
        previous=None if previous is None else int(previous),
        labels={str(name): str(text) for name, text in labels.items()},
        max_versions=int(about.get("max_versions") or 0),
        described=described,
        secret_type=SecretType(secret["secret_type"]),
        skip="its current version is deleted in the source" if numbers[-1] != current else "",
        note=LITERAL if secret.get("uses_references") else "",
    )


def _version(row: Mapping[str, Any]) -> FoundVersion:
    # Where and by whom the value was written first, if it has been carried before.
    origin = row.get("origin") or {}
    return FoundVersion(
        number=int(row["number"]),
        written_at=time_of(origin.get("written") or row["created_at"]),
        author=str(origin.get("author") or row["author"]),
        identifier=str(row["id"]),
        comment=str(row.get("comment") or ""),
        # What came there without its value is without it here.
        state=str(origin.get("state") or _STATES[row["state"]]),
        deleted_at=time_of(row.get("deleted_at")),
    )


def _results(page: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = page.get("results")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise AnswerUnexpected(_OTHER)
    return rows


def _text(row: Mapping[str, Any], name: str) -> str:
    text = row.get(name)
    if not isinstance(text, str):
        raise AnswerUnexpected(_OTHER)
    return text
