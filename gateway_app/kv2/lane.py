"""The KV v2 protocol (/vault): its addresses, and its door, the plain read of a value."""

from typing import Final

from django.http import HttpRequest, HttpResponse
from django.urls import path, register_converter
from django.urls.converters import PathConverter

from core.http.problems import Problem
from gateway_app.engine.reads import ReadRequest
from gateway_app.kv2 import auth, data, databases, metadata, system, versions, wrapping
from gateway_app.kv2.answers import PROTOCOL, envelope, fields_of, respond, version_facts
from gateway_app.kv2.mounts import OWN
from gateway_app.kv2.openapi import COMPONENTS, describe
from gateway_app.lanes import PlainRead, Route, bearer, caller_of, is_plain
from gateway_app.protocol import Protocol
from secrets_app.rows.raw_secrets import SecretRow

_DATA: Final = Route("kv2-data")
# The view judges a request that has one of these, the first also if it is empty.
_WRAP: Final = "HTTP_X_VAULT_WRAP_TTL"
_NAMESPACE: Final = "HTTP_X_VAULT_NAMESPACE"


def read(request: HttpRequest) -> PlainRead | None:
    """Recognise the plain read of a value."""
    found = _DATA.match(request) if is_plain(request) else None
    if found is None or _WRAP in request.META or request.META.get(_NAMESPACE):
        return None
    caller = caller_of(request, request.META.get("HTTP_X_VAULT_TOKEN", "") or bearer(request))
    if caller is None:
        return None
    environment = "" if found["mount"] == OWN else found["mount"]
    asked = ReadRequest(*caller, environment=environment, name=found["path"], details=PROTOCOL)
    return PlainRead(asked, _DATA, _answer, _fail)


def _answer(secret: SecretRow, value: str) -> HttpResponse:
    written = secret.version_written_at or secret.version_created_at
    facts = version_facts(secret.current_number, written, custom=secret.custom_metadata)
    return respond(envelope({"data": fields_of(secret.secret_type, value), "metadata": facts}))


def _fail(problem: Problem) -> HttpResponse:
    return respond({"errors": [problem.detail]}, status=problem.status)


class _AnyPath(PathConverter):
    """Takes line feeds as well, so that such a path is refused in the form of the protocol."""

    regex = r"[\s\S]+"


register_converter(_AnyPath, "any")
urlpatterns = [
    path("v1/sys/health", system.HealthView.as_view(), name="kv2-health"),
    path("v1/sys/seal-status", system.SealStatusView.as_view(), name="kv2-seal-status"),
    path("v1/sys/init", system.InitView.as_view(), name="kv2-init"),
    path("v1/sys/leader", system.LeaderView.as_view(), name="kv2-leader"),
    path("v1/sys/internal/ui/mounts", system.MountsView.as_view(), name="kv2-mounts"),
    path("v1/sys/internal/ui/mounts/<path:path>", system.MountView.as_view(), name="kv2-mount"),
    path("v1/sys/internal/ui/resultant-acl", system.AclView.as_view(), name="kv2-acl"),
    path("v1/sys/mounts", system.AllMountsView.as_view(), name="kv2-all-mounts"),
    path("v1/sys/auth", system.AuthMethodsView.as_view(), name="kv2-auth-methods"),
    path("v1/sys/mounts/<str:mount>/tune", system.TuneView.as_view(), name="kv2-tune"),
    path("v1/sys/mounts/<path:path>", system.MountView.as_view(), name="kv2-mount-settings"),
    path("v1/sys/capabilities-self", system.CapabilitiesView.as_view(), name="kv2-capabilities"),
    path("v1/sys/wrapping/lookup", wrapping.WrappingLookupView.as_view(), name="kv2-wrapping-lookup"),
    path("v1/sys/wrapping/unwrap", wrapping.UnwrapView.as_view(), name="kv2-unwrap"),
    path(
        "v1/sys/control-group/request", wrapping.ControlGroupView.as_view(), name="kv2-control-group-request"
    ),
    path(
        "v1/sys/control-group/authorize",
        wrapping.AuthorizeView.as_view(),
        name="kv2-control-group-authorize",
    ),
    path("v1/auth/token/lookup-self", auth.LookupView.as_view(), name="kv2-lookup"),
    path("v1/auth/token/lookup", auth.LookupOfView.as_view(), name="kv2-lookup-of"),
    path("v1/auth/token/create", auth.CreateView.as_view(), name="kv2-create"),
    path("v1/auth/token/accessors", auth.AccessorsView.as_view(), name="kv2-accessors"),
    path("v1/auth/token/accessors/", auth.AccessorsView.as_view(), name="kv2-accessors-root"),
    path("v1/auth/token/lookup-accessor", auth.LookupAccessorView.as_view(), name="kv2-lookup-accessor"),
    path("v1/auth/token/revoke", wrapping.RevokeOfView.as_view(), name="kv2-revoke-of"),
    path("v1/auth/token/revoke-accessor", wrapping.RevokeAccessorView.as_view(), name="kv2-revoke-accessor"),
    path("v1/auth/token/renew", auth.RenewOfView.as_view(), name="kv2-renew-of"),
    path("v1/auth/token/renew-accessor", auth.RenewAccessorView.as_view(), name="kv2-renew-accessor"),
    path("v1/auth/token/renew-self", auth.RenewView.as_view(), name="kv2-renew"),
    path("v1/auth/token/revoke-self", wrapping.RevokeView.as_view(), name="kv2-revoke"),
    path("v1/auth/approle/login", auth.AppRoleLoginView.as_view(), name="kv2-approle"),
    path("v1/auth/jwt/login", auth.WorkloadLoginView.as_view(), name="kv2-jwt"),
    path("v1/auth/kubernetes/login", auth.WorkloadLoginView.as_view(), name="kv2-kubernetes"),
    path(
        "v1/database/static-creds/<path:path>",
        databases.StaticCredentialsView.as_view(),
        name="kv2-static-credentials",
    ),
    path("v1/<str:mount>/data/<path:path>", data.DataView.as_view(), name="kv2-data"),
    path("v1/<str:mount>/config", metadata.ConfigView.as_view(), name="kv2-config"),
    path("v1/<str:mount>/metadata", metadata.NamesView.as_view(), name="kv2-list"),
    path("v1/<str:mount>/metadata/", metadata.NamesView.as_view(), name="kv2-list-root"),
    path("v1/<str:mount>/metadata/<path:path>", metadata.MetadataView.as_view(), name="kv2-metadata"),
    path("v1/<str:mount>/subkeys/<path:path>", data.SubkeysView.as_view(), name="kv2-subkeys"),
    path("v1/<str:mount>/delete/<path:path>", versions.DeleteView.as_view(), name="kv2-delete"),
    path("v1/<str:mount>/undelete/<path:path>", versions.UndeleteView.as_view(), name="kv2-undelete"),
    path("v1/<str:mount>/destroy/<path:path>", versions.DestroyView.as_view(), name="kv2-destroy"),
    path("v1/<any:path>", data.OtherPathView.as_view(), name="kv2-other"),
]
KV2: Final = Protocol("vault/", urlpatterns, (read,), describe, COMPONENTS)
