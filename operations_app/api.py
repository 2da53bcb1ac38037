"""Reports by the API: which there are, and one of them as CSV, JSON or HTML."""

from typing import Any

from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.errors import BadQuery
from environments_app.authentication.drf import principal_of
from environments_app.environments.access_history import end_of_day
from operations_app.reports import service as reports
from operations_app.reports.formats import FORMATS, file_response


class SectionDocument(serializers.Serializer[Any]):
    key = serializers.CharField()
    title = serializers.CharField()
    about = serializers.CharField()
    columns = serializers.ListField(child=serializers.CharField())


class ReportQuery(serializers.Serializer[Any]):
    form = serializers.ChoiceField(choices=[(name, name) for name in FORMATS], default="json")
    since = serializers.DateTimeField(required=False)
    until = serializers.DateTimeField(required=False)
    as_of = serializers.DateField(
        required=False,
        help_text=f"Of {', '.join(reports.PAST)}: at the end of this day, in UTC, by the audit log.",
    )


class ReportListView(APIView):
    @extend_schema(summary="List the sections of reports", responses=SectionDocument(many=True))
    def get(self, request: Request) -> Response:
        """List the sections, in their order."""
        offered = reports.offered(actor=principal_of(request))
        return Response([SectionDocument(section).data for section in offered])


class ReportView(APIView):
    opens_values = True

    @extend_schema(
        summary="Make a report",
        description="`key` is that of a section, or `all`. It is recorded before anything is read.",
        parameters=[ReportQuery],
        responses={
            (200, "application/json"): OpenApiResponse(OpenApiTypes.OBJECT),
            (200, "text/csv"): OpenApiResponse(OpenApiTypes.STR),
            (200, "text/html"): OpenApiResponse(OpenApiTypes.STR),
        },
    )
    def get(self, request: Request, key: str) -> HttpResponseBase:
        """Make a report of one section or of all."""
        names = ReportQuery().fields
        if request.query_params.keys() - names.keys():
            raise BadQuery("query", "Unknown parameter.")
        if request.query_params.get("form") == "pdf":
            raise BadQuery(
                "form", "No report is written as PDF. Use form=html, and print it or save it as PDF."
            )
        query = ReportQuery(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        fields: dict[str, Any] = dict(query.validated_data)
        form = fields.pop("form")
        if day := fields.get("as_of"):
            fields["as_of"] = end_of_day(day)
        return file_response(reports.make(actor=principal_of(request), key=key, **fields), key, form)
