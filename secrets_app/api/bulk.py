"""The API that creates many secrets at once."""

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from secrets_app.api import serializers as documents
from secrets_app.api.base import PLACE, SecretsView, place_of
from secrets_app.api.bulk_items import valid_items
from secrets_app.errors import InvalidInput
from secrets_app.services import bulk_create


class BulkView(SecretsView):
    """Many secrets, created at once."""

    serializer_class = documents.BulkDocument

    @extend_schema(
        summary="Create many secrets",
        request=documents.BulkDocument,
        responses={201: documents.BulkResult},
    )
    def post(self, request: Request) -> Response:
        """Create up to 1,000 secrets, all or none."""
        given = self.given(documents.BulkDocument).validated_data
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
