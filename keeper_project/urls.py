"""Every address of Keeper."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path
from django.views.decorators.http import require_GET
from django.views.generic import RedirectView

from audit_app import urls as audit
from environments_app import urls as environments
from environments_app.views.client_download import client, client_checksum
from environments_app.views.sign_in import sign_out
from gateway_app.protocol import protocols
from keeper_project.api import ApiReferenceView, ApiSchemaView, ServerVersionView
from keeper_project.observability.metrics import metrics
from operations_app.admin_site import site as admin_login
from operations_app.api import ReportListView, ReportView
from operations_app.health.service import healthz, readyz
from operations_app.views import audit as admin_audit
from operations_app.views import backups as backups_views
from operations_app.views import inbox as notice_pages
from operations_app.views import keys, system
from operations_app.views import reports as reports_views
from operations_app.views.dashboard import activity_charts, dashboard
from operations_app.views.system import health as health_page
from secrets_app import urls as secrets
from sync_app import urls as sync

handler400 = "keeper_project.http.errors.bad_request"
handler403 = "keeper_project.http.errors.forbidden"
handler404 = "keeper_project.http.errors.missing"
handler500 = "keeper_project.http.errors.fault"

api: list[URLPattern | URLResolver] = [
    # First: each request of these is compared with the addresses before it.
    path("", include(secrets.API)),
    path("", include(sync.API)),
    path("", include(environments.API)),
    path("", include(audit.API)),
    path("reports", ReportListView.as_view(), name="api-reports"),
    path("reports/<slug:key>", ReportView.as_view(), name="api-report"),
    path("version", ServerVersionView.as_view(), name="api-server-version"),
    path("schema", ApiSchemaView.as_view(), name="api-schema"),
    path("docs", ApiReferenceView.as_view(url_name="api-schema"), name="api-docs"),
]
# Each app's pages of the admin, before the addresses of all of them.
admin.autodiscover()
urlpatterns = [
    # First: a program's request is not compared with the address of each page.
    path("api/", include(api)),
    *(path(protocol.prefix, include([*protocol.urlpatterns])) for protocol in protocols()),
    path("", dashboard, name="dashboard"),
    path("activity/charts", activity_charts, name="activity-charts"),
    path("notifications", notice_pages.notices, name="notices"),
    path("notifications/seen", notice_pages.notices_seen, name="notices-seen"),
    path("notifications/mail", notice_pages.digest_choose, name="digest-choose"),
    path("first-steps/hide", notice_pages.first_steps_hide, name="first-steps-hide"),
    path("reports", reports_views.reports, name="reports"),
    path("reports/<slug:key>", reports_views.report_detail, name="report-detail"),
    path("reports/<slug:key>.<str:form>", reports_views.report_file, name="report-file"),
    path("backups", backups_views.backups, name="backups"),
    path("backups/release/<slug:kind>/<uuid:uuid>", backups_views.restore_release, name="restore-release"),
    path("health", health_page, name="health"),
    path("", include(secrets)),
    path("", include(sync)),
    path("", include(environments)),
    path("", include(audit)),
    # Before Django's own, which neither limit nor record attempts and save past the use cases.
    path("admin/login/", admin_login.enter),
    path("admin/logout/", sign_out),
    path("admin/password_change/", admin_login.absent),
    path("admin/password_change/done/", admin_login.absent),
    path("admin/keys/", admin.site.admin_view(keys.keys), name="admin-keys"),
    path("admin/keys/new", admin.site.admin_view(keys.key_job_new), name="admin-key-job-new"),
    path("admin/keys/jobs/<int:pk>", admin.site.admin_view(keys.key_job), name="admin-key-job"),
    # Where the page of the audit log was.
    path(
        "integrity/trail",
        require_GET(RedirectView.as_view(url=admin_audit.VERIFICATION_URL)),
        name="moved-trail",
    ),
    path("admin/audit/", admin.site.admin_view(admin_audit.audit), name="admin-audit"),
    path("admin/audit/jobs/<int:pk>", admin.site.admin_view(admin_audit.audit_job), name="admin-audit-job"),
    path("admin/system/", admin.site.admin_view(system.system), name="admin-system"),
    path("admin/", admin.site.urls),
    path("healthz", healthz, name="healthz"),
    path("kpr.pyz", client, name="client"),
    path("kpr/<str:name>", client, name="client-file"),
    path("kpr.pyz.sha256", client_checksum, name="client-checksum"),
    path("readyz", readyz, name="readyz"),
    path("metrics", metrics, name="metrics"),
]
