"""Django and its libraries: apps, middleware, templates, database, cache, files, headers, API."""

import sys
from pathlib import Path

from bootstrap_wrapper import get_bootstrap_dir
from csp.constants import NONE, SELF

from core.config.variables import holds_back
from keeper_project.settings.installation import BASE_DIR, REDIS_URL, STATIC_ROOT

# REST framework loads them, and by them psycopg, into each process: 12 MB, and a tenth of a start.
sys.modules["django.contrib.postgres.fields"] = None  # type: ignore[assignment]  # Python's word for "not there"
INSTALLED_APPS = [
    "keeper_project",
    "operations_app",
    "sync_app",
    "secrets_app",
    "environments_app",
    "audit_app",
    "auditlog",
    "keeper_project.apps.KeeperAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django.forms",
    "csp",
    "django_htmx",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
]
MIDDLEWARE = [
    "keeper_project.http.middleware.ProbesMiddleware",
    "keeper_project.observability.metrics.RequestMetricsMiddleware",
    "keeper_project.http.middleware.LostTransactionMiddleware",
    "audit_app.middleware.RequestContextMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "keeper_project.http.middleware.HeadersMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "gateway_app.lanes.LaneMiddleware",
    "environments_app.middleware.DecoyMiddleware",
    "keeper_project.http.middleware.KeptSessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "environments_app.middleware.SignInMiddleware",
    "environments_app.middleware.PersonMiddleware",
    "environments_app.middleware.ExpiredSessionMiddleware",
    "keeper_project.http.middleware.AccountSetupMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "keeper_project.http.middleware.ProblemPagesMiddleware",
]
APPEND_SLASH = False
ROOT_URLCONF = "keeper_project.urls"
WSGI_APPLICATION = "keeper_project.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "operations_app.frame.navigation.frame",
            ],
        },
    },
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CACHES = {
    "default": {
        "BACKEND": "keeper_project.runtime.resilient_cache.SparedRedisCache",
        "LOCATION": REDIS_URL,
        # Earlier versions stored pickles, and would load what this one stores.
        "VERSION": 2,
        # A machine that is gone answers nothing, and no page waits for that.
        "OPTIONS": {"socket_connect_timeout": 0.5, "socket_timeout": 0.5},
    }
    if REDIS_URL
    else {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "LOCATION": "keeper",
        # Each row that was tampered with takes an entry: beyond the limit reports would be repeated.
        "OPTIONS": {"MAX_ENTRIES": 100_000},
    }
}
LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False
FORMAT_MODULE_PATH = ["keeper_project.formats"]
STATIC_URL = "static/"
# WhiteNoise warns of a folder that is missing; only an image that runs collectstatic fills it.
if not holds_back():
    Path(STATIC_ROOT).mkdir(parents=True, exist_ok=True)
STATICFILES_DIRS = [BASE_DIR / "static", ("bootstrap", get_bootstrap_dir())]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
# Files are served from the finders, so that no collectstatic is needed to start.
WHITENOISE_USE_FINDERS = True
DATA_UPLOAD_MAX_MEMORY_SIZE = 16 * 1024 * 1024
FILE_UPLOAD_HANDLERS = ["django.core.files.uploadhandler.MemoryFileUploadHandler"]
FORM_RENDERER = "django.forms.renderers.TemplatesSetting"

SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
        "manifest-src": [SELF],
    }
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "environments_app.authentication.drf.ServiceTokenAuthentication",
        "environments_app.authentication.drf.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "core.http.json.Negotiation",
    "DEFAULT_RENDERER_CLASSES": ["core.http.json.JsonRenderer"],
    "DEFAULT_PARSER_CLASSES": ["core.http.json.JsonParser"],
    "DEFAULT_PAGINATION_CLASS": "core.pagination.KeysetPagination",
    "DEFAULT_SCHEMA_CLASS": "keeper_project.http.openapi.KeeperSchema",
    "EXCEPTION_HANDLER": "keeper_project.http.errors.problem_response",
    "DEFAULT_METADATA_CLASS": "core.http.json.AllowedMethods",
    "UNAUTHENTICATED_USER": None,
    "DATETIME_FORMAT": "iso-8601",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Keeper",
    "DESCRIPTION": "Secrets of an environment, sealed and recorded.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api",
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "docExpansion": "none"},
    "COMPONENT_SPLIT_REQUEST": True,
    "SERVERS": [{"url": "/", "description": "The installation that serves this document."}],
    "LICENSE": {"name": "MIT", "url": "https://opensource.org/license/mit"},
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "keeper_project.http.openapi.add_problem_schemas",
        "sync_app.api.settings_schema.describe_settings",
        "gateway_app.protocol.describe_protocols",
    ],
    "ENUM_NAME_OVERRIDES": {
        "Role": "environments_app.models.access.Role.choices",
        "TokenRole": "environments_app.models.access.TokenRole.choices",
        "TrustRole": "environments_app.models.trust.TrustRole.choices",
        "AccessKind": "environments_app.models.review.AccessKind.choices",
        "ReviewState": "environments_app.models.review.ReviewState.choices",
        "DepartureKind": "environments_app.models.departure.DepartureKind.choices",
        "SecretType": "secrets_app.types.registry.SecretType.choices",
    },
}
