"""The API of many secrets at once: bulk creation, and imports with a dry run first unless they write.

A serializer for each of a thousand items takes a good part of the call, so that plainly valid items pass
without one. Any other list is left to the serializer, for its error message; a test compares the two.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from environments_app.environments.service import find_environment
from secrets_app.api import serializers as documents
from secrets_app.api.base import PLACE, SecretsView, place_of
from secrets_app.api.serializers import MAX_ID, NewSecretItem
from secrets_app.errors import InvalidInput, InvalidValue
from secrets_app.importing.formats.entries import FIELD
from secrets_app.importing.formats.registry import Entry, parse
from secrets_app.importing.plan import SAME_NAME, Plan, plan_import
from secrets_app.importing.service import import_entries, left_over
from secrets_app.services import bulk_create
from secrets_app.services.bulk_create import MAX_ITEMS
from secrets_app.types.registry import parse_secret_type
from secrets_app.values.batch_results import ItemResult
from secrets_app.values.names import validate_prefix

_TEXTS: Final = frozenset({"name", "value"})
_NEEDED: Final = _TEXTS | {"secret_type"}
_KNOWN: Final = _NEEDED | {"environment_id"}


def valid_items(items: Sequence[Any]) -> list[dict[str, Any]]:
    """Return what NewSecretItem makes of these. Raises ValidationError as it does."""
    usual = [_usual(item) for item in items]
    if all(item is not None for item in usual):
        return [item for item in usual if item is not None]
    serializer = NewSecretItem(data=items, many=True)
    serializer.is_valid(raise_exception=True)
    valid: list[dict[str, Any]] = serializer.validated_data
    return valid


def _usual(item: Any) -> dict[str, Any] | None:
    """Return the valid fields of an item that has name, type and value, and perhaps its environment."""
    if not (isinstance(item, Mapping) and item.keys() >= _NEEDED and item.keys() <= _KNOWN):
        return None
    fields = dict(item)
    if not all(type(fields[name]) is str for name in _TEXTS):
        return None
    place = fields.get("environment_id", 1)
    if type(place) is not int or not 1 <= place <= MAX_ID:
        return None
    try:
        fields["secret_type"] = parse_secret_type(fields["secret_type"])
    except InvalidValue:
        return None
    return fields


class BulkView(SecretsView):
    needs_approval = frozenset({"POST"})
    serializer_class = documents.BulkDocument

    @extend_schema(
        summary="Create many secrets",
        request=documents.BulkDocument,
        responses={201: documents.BulkResult},
    )
    def post(self, request: Request) -> Response:
        """Create up to 1,000 secrets, all or none."""
        given = self.given(documents.BulkDocument)
        bulk_create.refuse_too_many(len(given["secrets"]))
        items = valid_items(given["secrets"])
        default = {name: given[name] for name in PLACE if name in given}
        for item in items:
            if not PLACE & item.keys():
                item.update(default)
        if not all(PLACE & item.keys() for item in items):
            raise InvalidInput("environment_id", "Name the environment of every item, or one for all.")
        keys = [tuple((name, item[name]) for name in sorted(PLACE & item.keys())) for item in items]
        places = {key: place_of(self.actor, dict(key)) for key in set(keys)}
        secrets = bulk_create.create_many(
            actor=self.actor,
            items=[
                bulk_create.NewSecret(
                    environment=places[key],
                    name=item["name"],
                    secret_type=item["secret_type"],
                    value=item["value"],
                    comment=item.get("comment", ""),
                    metadata=documents.metadata_of(item),
                )
                for key, item in zip(keys, items, strict=True)
            ],
        )
        document = documents.SecretDocument()
        results = [document.to_representation(secret) for secret in secrets]
        return Response({"results": results, "created": len(results)}, status=status.HTTP_201_CREATED)


class ImportView(SecretsView):
    serializer_class = documents.ImportAnswer

    @extend_schema(
        summary="Import secrets",
        request=documents.ImportDocument,
        responses={200: documents.ImportAnswer, 202: documents.ImportAnswer},
    )
    def post(self, request: Request, environment: str) -> Response:
        """Preview an import or, with `dry_run: false`, execute it.

        A request writes for 20 seconds at most. 202 means that changes are left: send the same file again
        with the members of `unfinished`. A file of more than 1,000 entries is sent once for each `part`.
        """
        place = find_environment(actor=self.actor, name=environment)
        given = self.given(documents.ImportDocument)
        prefix = validate_prefix(given.get("prefix", ""))
        try:
            entries = parse(given["format"], given["content"])
        except InvalidInput as error:
            field = "content" if error.field == FIELD else error.field
            raise InvalidInput(field, error.reason) from error
        if prefix:
            entries = [replace(entry, name=f"{prefix}/{entry.name}") for entry in entries]
        entries, parts = _part_of(entries, given.get("part"))
        wanted: dict[str, Any] = {
            "actor": self.actor,
            "environment": place,
            "entries": entries,
            "keep_existing": given["existing"] == "keep",
        }
        if given["dry_run"]:
            return Response(_answer(plan_import(**wanted), []) | {"dry_run": True, "parts": parts})
        after = given.get("after")
        plan, results = import_entries(**wanted, digest=given.get("digest"), after=after)
        answer = _answer(plan, results) | {"dry_run": False, "parts": parts}
        left = left_over(plan, results, after=after)
        if not left:
            return Response(answer)
        following = {"digest": plan_import(**wanted).digest, "after": left[0].index - 1, "left": len(left)}
        return Response(answer | {"unfinished": following}, status=status.HTTP_202_ACCEPTED)


def _part_of(entries: list[Entry], part: int | None) -> tuple[list[Entry], int]:
    """Return the entries of a part, and how many parts there are. Raises InvalidInput if it is none.

    An entry whose name is in an earlier part is refused, as it is within one part.
    """
    if part is None:
        return entries, 1
    parts, begin = -(-len(entries) // MAX_ITEMS), (part - 1) * MAX_ITEMS
    if part > parts:
        raise InvalidInput("part", f"The file has {parts:,} parts.")
    earlier = {entry.name for entry in entries[:begin]}
    chosen = entries[begin : begin + MAX_ITEMS]
    return [replace(each, fault=SAME_NAME) if each.name in earlier else each for each in chosen], parts


def _answer(plan: Plan, results: list[ItemResult]) -> dict[str, Any]:
    became = {result.name: result for result in results}
    lines = []
    for line in plan.lines:
        result = became.get(line.entry.name) if not line.reason else None
        lines.append(
            {
                "name": line.entry.name,
                "place": line.entry.place,
                "result": str(line.verdict),
                "done": bool(result and result.done),
                "reason": result.reason if result else line.reason,
            }
        )
    return {"digest": plan.digest, "results": lines, "unfinished": None}
