"""The two views of the floor."""

from uuid import uuid4

from rest_framework.generics import ListAPIView
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import ModelSerializer
from rest_framework.views import APIView

from benchmarks.floor.models import Access, PlainSecret


class SecretView(APIView):
    """One secret by its id."""

    def get(self, request: Request, id: int) -> Response:
        """Record the read, then return the secret with its value."""
        secret = PlainSecret.objects.get(pk=id)
        Access.objects.create(
            actor=str(request.auth),
            action="secret.reveal",
            object_kind="secret",
            object_id=str(secret.pk),
            object_name=secret.name,
            outcome="allowed",
            address=request.META["REMOTE_ADDR"],
            request_id=uuid4().hex,
            details="{}",
        )
        return Response(
            {
                "id": secret.pk,
                "name": secret.name,
                "secret_type": secret.secret_type,
                "version": secret.version,
                "updated_at": secret.updated_at,
                "value": secret.value,
            }
        )


class ListedSecret(ModelSerializer[PlainSecret]):
    """A secret without its value."""

    class Meta:
        """Its columns, each as the framework renders it."""

        model = PlainSecret
        fields = ("id", "name", "secret_type", "version", "updated_at")


class ByName(CursorPagination):
    """Pages by name, without counting rows."""

    ordering = "name"
    page_size = 50


class SecretsView(ListAPIView[PlainSecret]):
    """The first or a later page of all secrets."""

    queryset = PlainSecret.objects.all()
    serializer_class = ListedSecret
    pagination_class = ByName
