"""The API of an import: a dry run first, unless it is asked to write."""

from dataclasses import replace
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from environments_app.environments.service import find_environment
from secrets_app.api import serializers as documents
from secrets_app.api.base import SecretsView
from secrets_app.errors import InvalidInput
from secrets_app.importing.formats.entries import FIELD
from secrets_app.importing.formats.registry import parse
from secrets_app.importing.plan import Plan, plan_import
from secrets_app.importing.service import import_entries, left_over
from secrets_app.values.batch_results import ItemResult
from secrets_app.values.names import validate_prefix


class ImportView(SecretsView):
    """Secrets that come in as the text of a file."""

    serializer_class = documents.ImportAnswer

    @extend_schema(
        summary="Import secrets",
        request=documents.ImportDocument,
        responses={200: documents.ImportAnswer, 202: documents.ImportAnswer},
    )
    def post(self, request: Request, environment: str) -> Response:
        """Preview an import or, with `dry_run: false`, execute it.

        A request writes for 20 seconds at most. 202 means that changes are left: send the same file again
        with the members of `unfinished`.
        """
        place = find_environment(actor=self.actor, name=environment)
        given = self.given(documents.ImportDocument).validated_data
        prefix = validate_prefix(given.get("prefix", ""))
        try:
            entries = parse(given["format"], given["content"])
        except InvalidInput as error:
            field = "content" if error.field == FIELD else error.field
            raise InvalidInput(field, error.reason) from error
        if prefix:
            entries = [replace(entry, name=f"{prefix}/{entry.name}") for entry in entries]
        wanted: dict[str, Any] = {
            "actor": self.actor,
            "environment": place,
            "entries": entries,
            "keep_existing": given["existing"] == "keep",
        }
        if given["dry_run"]:
            return Response(_answer(plan_import(**wanted), []) | {"dry_run": True})
        after = given.get("after")
        plan, results = import_entries(**wanted, digest=given.get("digest"), after=after)
        answer = _answer(plan, results) | {"dry_run": False}
        left = left_over(plan, results, after=after)
        if not left:
            return Response(answer)
        following = {"digest": plan_import(**wanted).digest, "after": left[0].index - 1, "left": len(left)}
        return Response(answer | {"unfinished": following}, status=status.HTTP_202_ACCEPTED)


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
