"""The addresses of the protocol, below /vault."""

from django.urls import path

from gateway_app.kv2 import auth, data, system

urlpatterns = [
    path("v1/sys/health", system.HealthView.as_view(), name="kv2-health"),
    path("v1/sys/seal-status", system.SealStatusView.as_view(), name="kv2-seal-status"),
    path("v1/sys/init", system.InitView.as_view(), name="kv2-init"),
    path("v1/sys/leader", system.LeaderView.as_view(), name="kv2-leader"),
    path("v1/sys/internal/ui/mounts", system.MountsView.as_view(), name="kv2-mounts"),
    path("v1/sys/internal/ui/mounts/<path:path>", system.MountView.as_view(), name="kv2-mount"),
    path("v1/sys/mounts/<path:path>", system.MountView.as_view(), name="kv2-mount-settings"),
    path("v1/sys/capabilities-self", system.CapabilitiesView.as_view(), name="kv2-capabilities"),
    path("v1/auth/token/lookup-self", auth.LookupView.as_view(), name="kv2-lookup"),
    path("v1/auth/token/renew-self", auth.RenewView.as_view(), name="kv2-renew"),
    path("v1/auth/token/revoke-self", auth.RevokeView.as_view(), name="kv2-revoke"),
    path("v1/auth/approle/login", auth.AppRoleLoginView.as_view(), name="kv2-approle"),
    path("v1/auth/jwt/login", auth.WorkloadLoginView.as_view(), name="kv2-jwt"),
    path("v1/auth/kubernetes/login", auth.WorkloadLoginView.as_view(), name="kv2-kubernetes"),
    path("v1/<str:mount>/data/<path:path>", data.DataView.as_view(), name="kv2-data"),
    path("v1/<str:mount>/metadata", data.MetadataView.as_view(), name="kv2-list"),
    path("v1/<str:mount>/metadata/", data.MetadataView.as_view(), name="kv2-list-root"),
    path("v1/<str:mount>/metadata/<path:path>", data.MetadataView.as_view(), name="kv2-metadata"),
    path("v1/<str:mount>/subkeys/<path:path>", data.SubkeysView.as_view(), name="kv2-subkeys"),
    path("v1/<str:mount>/delete/<path:path>", data.DeleteView.as_view(), name="kv2-delete"),
    path("v1/<str:mount>/undelete/<path:path>", data.UndeleteView.as_view(), name="kv2-undelete"),
    path("v1/<str:mount>/destroy/<path:path>", data.DestroyView.as_view(), name="kv2-destroy"),
    path("v1/<path:path>", data.OtherPathView.as_view(), name="kv2-other"),
]
