"""All settings of Keeper; every value is read from the environment (see .env.example)."""

from pathlib import Path

import environ
from bootstrap_wrapper import get_bootstrap_dir
from celery.schedules import crontab
from csp.constants import NONE, SELF

from keeper_project.config.database_url import database_settings
from keeper_project.config.env import LiteralEnv, holds_back, read_or_create
from keeper_project.config.listen_address import serves_this_machine_alone
from keeper_project.config.startup_checks import okta_metadata_url

BASE_DIR = Path(__file__).resolve().parent.parent
env = LiteralEnv()
environ.Env.read_env(BASE_DIR / ".env")

# --- The installation --------------------------------------------------------------------
DEBUG = env.bool("DEBUG", default=False)
KEEPER_DATA_DIR = (BASE_DIR / env.str("KEEPER_DATA_DIR", default="var")).resolve()
SECRET_KEY = env.str("SECRET_KEY", default="") or read_or_create(KEEPER_DATA_DIR / "secret_key")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
# Where people reach Keeper: links in messages lead there, and the identity provider answers there.
KEEPER_URL = env.str("KEEPER_URL", default="").rstrip("/")
# Addresses or networks whose X-Forwarded-For and X-Forwarded-Proto are believed.
KEEPER_TRUSTED_PROXIES = env.list("KEEPER_TRUSTED_PROXIES", default=[])
# The address on which `keeper run` listens, which says so itself.
KEEPER_LISTEN = env.str("KEEPER_LISTEN", default="")
# The header in which they say whom they serve; WSGI cannot tell its dashes from underscores.
KEEPER_FORWARDED_HEADER = env.str("KEEPER_FORWARDED_HEADER", default="X-Forwarded-For")
# How often an address may be turned away in a minute before it has to wait for the next one.
KEEPER_REFUSALS_PER_MINUTE = env.int("KEEPER_REFUSALS_PER_MINUTE", default=60)
# Who may look at /metrics; where a worker without pages shows its own, as ADDRESS:PORT.
KEEPER_METRICS_ALLOWED = env.list("KEEPER_METRICS_ALLOWED", default=["127.0.0.1", "::1"])
KEEPER_METRICS_LISTEN = env.str("KEEPER_METRICS_LISTEN", default="")
# Where the metrics of several processes add up, by the name that the Prometheus client reads itself.
PROMETHEUS_MULTIPROC_DIR = env.str("PROMETHEUS_MULTIPROC_DIR", default="")
# Networks inside which Keeper may reach other systems; without, it connects to public addresses by TLS.
KEEPER_OUTBOUND_ALLOWED = env.list("KEEPER_OUTBOUND_ALLOWED", default=[])
# How long a request to another system may take altogether, from its name to the end of its answer.
KEEPER_OUTBOUND_SECONDS = env.float("KEEPER_OUTBOUND_SECONDS", default=10.0)
KEEPER_ADMIN_USERNAME = env.str("KEEPER_ADMIN_USERNAME", default="admin")
KEEPER_ADMIN_PASSWORD = env.str("KEEPER_ADMIN_PASSWORD", default="")

# --- Keys ----------------------------------------------------------------------------------
KEY_MANAGEMENT_BACKEND = env.str("KEY_MANAGEMENT_BACKEND", default="local")
# While data keys move between the key file and KMS: what either of them wraps opens.
KEY_MIGRATION = env.bool("KEY_MIGRATION", default=False)
# The keys of the older scheme, which open imported values until they are migrated.
LEGACY_FERNET_KEYS = env.list("LEGACY_FERNET_KEYS", default=[])
KEEPER_LOCAL_KEY_FILE = env.str("KEEPER_LOCAL_KEY_FILE", default="") or str(KEEPER_DATA_DIR / "local.key")
KEEPER_LOCAL_KEY_PASSPHRASE = env.str("KEEPER_LOCAL_KEY_PASSPHRASE", default="")
AWS_REGION = env.str("AWS_REGION", default="") or env.str("AWS_DEFAULT_REGION", default="")
AWS_ENDPOINT_URL_KMS = env.str("AWS_ENDPOINT_URL_KMS", default="")
KMS_KEY_ID = env.str("KMS_KEY_ID", default="")
KMS_KEY_ALIAS = env.str("KMS_KEY_ALIAS", default="")
KMS_ENCRYPTION_CONTEXT = env.json("KMS_ENCRYPTION_CONTEXT", default={})
# Key ARNs, or account and region as `arn:aws:kms:REGION:ACCOUNT:`, that may wrap and unwrap;
# empty: those of the configured key.
KMS_ALLOWED_KEYS = env.list("KMS_ALLOWED_KEYS", default=[])
KMS_DEK_CACHE_TTL = env.int("KMS_DEK_CACHE_TTL", default=300)
KMS_DEK_CACHE_SIZE = env.int("KMS_DEK_CACHE_SIZE", default=1000)
KMS_DEK_CACHE_USES = env.int("KMS_DEK_CACHE_USES", default=1_000_000)
KMS_DATA_KEY_MAX_AGE_DAYS = env.int("KMS_DATA_KEY_MAX_AGE_DAYS", default=90)
ENABLE_KMS_KEY_ROTATION = env.bool("ENABLE_KMS_KEY_ROTATION", default=False)
KMS_TIMEOUT_SECONDS = env.float("KMS_TIMEOUT_SECONDS", default=5.0)
# `id:secret` pairs, the first one hashes new service tokens; empty: one is made and kept.
KEEPER_TOKEN_PEPPERS = env.list("KEEPER_TOKEN_PEPPERS", default=[]) or [
    "local:" + read_or_create(KEEPER_DATA_DIR / "token_pepper")
]

# How long a service token lives where nobody says so, and at most; 0: for ever.
KEEPER_TOKEN_DEFAULT_DAYS = env.int("KEEPER_TOKEN_DEFAULT_DAYS", default=90)
KEEPER_TOKEN_MAX_DAYS = env.int("KEEPER_TOKEN_MAX_DAYS", default=0)
# How long before its end people are told, and after how long without a use.
KEEPER_TOKEN_WARNING_DAYS = env.int("KEEPER_TOKEN_WARNING_DAYS", default=14)
KEEPER_TOKEN_UNUSED_DAYS = env.int("KEEPER_TOKEN_UNUSED_DAYS", default=90)

# --- Secrets -------------------------------------------------------------------------------
# How long a deleted secret can be restored before it is destroyed; 0: for ever.
KEEPER_DELETED_RETENTION_DAYS = env.int("KEEPER_DELETED_RETENTION_DAYS", default=30)

# --- Audit trail -----------------------------------------------------------------------------
# Where the signed heads of the trail go each minute, outside the database (audit_app.sinks.registry).
KEEPER_AUDIT_SINKS = env.list("KEEPER_AUDIT_SINKS", default=["file"])
# How many days of the trail stay in the database at least; older events are sealed in a bundle. 0: all.
KEEPER_AUDIT_RETENTION_DAYS = env.int("KEEPER_AUDIT_RETENTION_DAYS", default=0)
KEEPER_AUDIT_ARCHIVE_DIR = env.str("KEEPER_AUDIT_ARCHIVE_DIR", default="") or str(
    KEEPER_DATA_DIR / "audit-archive"
)
# Where events go as JSON lines, for a SIEM; empty: nowhere.
KEEPER_EVENT_SINKS = env.list("KEEPER_EVENT_SINKS", default=[])
# Sent as a bearer token to the sinks that are reached by HTTP.
KEEPER_AUDIT_HTTP_TOKEN = env.str("KEEPER_AUDIT_HTTP_TOKEN", default="")

# How often every stored value is opened, without being shown, and held against the trail; 0: never.
KEEPER_INTEGRITY_SCAN_INTERVAL_HOURS = env.int("KEEPER_INTEGRITY_SCAN_INTERVAL_HOURS", default=24)

# --- Sync ----------------------------------------------------------------------------------
# Whether a target of AWS without an access key of its own may use the identity of Keeper's machine,
# which every manager of an environment can then point at what that identity reaches.
KEEPER_SYNC_ALLOW_INSTANCE_CREDENTIALS = env.bool("KEEPER_SYNC_ALLOW_INSTANCE_CREDENTIALS", default=False)
# How long a run may take altogether, its attempts included, before it ends as failed.
KEEPER_SYNC_RUN_SECONDS = env.int("KEEPER_SYNC_RUN_SECONDS", default=6 * 3600)
# What a new installation makes its first targets of (sync_app.targets.default_targets); empty: none.
KEEPER_DEFAULT_TARGET_ENVIRONMENT = env.str("KEEPER_DEFAULT_TARGET_ENVIRONMENT", default="development")
VAULT_URL = env.str("VAULT_URL", default="")
VAULT_TOKEN = env.str("VAULT_TOKEN", default="")
VAULT_MOUNT_POINT = env.str("VAULT_MOUNT_POINT", default="secret")
# The AWS SDK reads these by itself for KMS; a default target seals its own copy.
AWS_ACCESS_KEY_ID = env.str("AWS_ACCESS_KEY_ID", default="")
AWS_SECRET_ACCESS_KEY = env.str("AWS_SECRET_ACCESS_KEY", default="")
AWS_SESSION_TOKEN = env.str("AWS_SESSION_TOKEN", default="")
AWS_ENDPOINT_URL_SECRETS_MANAGER = env.str("AWS_ENDPOINT_URL_SECRETS_MANAGER", default="")
AWS_ENDPOINT_URL_STS = env.str("AWS_ENDPOINT_URL_STS", default="")

# --- Backups -------------------------------------------------------------------------------
# Where backups go, and where `keeper backup` puts one that was given no name.
KEEPER_BACKUP_DIR = env.str("KEEPER_BACKUP_DIR", default="") or str(KEEPER_DATA_DIR / "backups")
# How often one is made by itself, and how many of those are kept; 0: none, and all.
KEEPER_BACKUP_INTERVAL_HOURS = env.int("KEEPER_BACKUP_INTERVAL_HOURS", default=0)
KEEPER_BACKUP_KEEP = env.int("KEEPER_BACKUP_KEEP", default=14)
# A file that every installation sees which might act on this database or a copy of it.
KEEPER_LEASE_FILE = env.str("KEEPER_LEASE_FILE", default="")

# Over so many hours the deletion budget of a target counts what its passes deleted there.
KEEPER_DELETION_WINDOW_HOURS = env.int("KEEPER_DELETION_WINDOW_HOURS", default=24)

# --- Notifications ---------------------------------------------------------------------------
# Who is told what concerns the installation as a whole.
KEEPER_ALERT_EMAILS = env.list("KEEPER_ALERT_EMAILS", default=[])
# One message about the same thing within so many minutes; what comes meanwhile is told together.
KEEPER_ALERT_INTERVAL_MINUTES = env.int("KEEPER_ALERT_INTERVAL_MINUTES", default=30)
# Who gets the compliance report by e-mail, "weekly" or "monthly"; empty: nobody.
KEEPER_REPORT_EMAILS = env.list("KEEPER_REPORT_EMAILS", default=[])
KEEPER_REPORT_SCHEDULE = env.str("KEEPER_REPORT_SCHEDULE", default="")
# From which hour of the day on (UTC) people get their digest by e-mail; empty: nobody gets one.
KEEPER_DIGEST_HOUR = int(hour) if (hour := env.str("KEEPER_DIGEST_HOUR", default="6")) else None
# How long a request for approval may wait, and an approval be carried out, counted from the request.
KEEPER_APPROVAL_HOURS = env.int("KEEPER_APPROVAL_HOURS", default=72)
# How long access may be asked for that ends by itself.
KEEPER_ACCESS_MAX_HOURS = env.int("KEEPER_ACCESS_MAX_HOURS", default=168)
# Empty: no e-mail is sent.
EMAIL_HOST = env.str("EMAIL_HOST", default="")
EMAIL_PORT = env.int("EMAIL_PORT", default=587)
EMAIL_HOST_USER = env.str("EMAIL_HOST_USER", default="")
EMAIL_HOST_PASSWORD = env.str("EMAIL_HOST_PASSWORD", default="")
EMAIL_USE_TLS = env.bool("EMAIL_USE_TLS", default=True)
EMAIL_USE_SSL = env.bool("EMAIL_USE_SSL", default=False)
EMAIL_TIMEOUT = 10
EMAIL_BACKEND = "audit_app.network.outbound_mail.EmailBackend"
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="keeper@localhost")

# --- Wiring: what a lower app needs from a higher one ---------------------------------------
KEEPER_KEYRING = "secrets_app.keys.system_keyring.SystemKeyring"
KEEPER_AUDIT_ACCESS_POLICY = "environments_app.authorization.policy.TrailPolicy"
KEEPER_REPORT_SECTIONS = [
    "environments_app.environments.reports.SECTIONS",
    "audit_app.queries.report_sections.SECTIONS",
    "secrets_app.maintenance.reports.SECTIONS",
    "sync_app.runs.reports.SECTIONS",
]
KEEPER_HEALTH_CHECKS = [
    "audit_app.health.database",
    "secrets_app.health.keys",
    "keeper_project.health.service.data_directory",
]
# Shown beside them by the probe and the dashboard; Keeper serves what it can without these.
KEEPER_HEALTH_WARNINGS = [
    "keeper_project.health.service.data_keys",
    "keeper_project.health.service.environment_keys",
    "keeper_project.health.service.processes",
    "keeper_project.health.service.worker",
    "keeper_project.health.service.checkpoints",
    "keeper_project.health.service.installation",
    "keeper_project.health.service.systems",
]
# Warnings that ask outside: for the probe, which has nothing else to do, and never for a page.
KEEPER_HEALTH_PROBES = ["keeper_project.health.service.broker"]
KEEPER_INTEGRITY_CHECKS = [
    "audit_app.integrity.config_history.log_entries",
    "audit_app.integrity.active_installation.problems",
    "audit_app.integrity.row_state.lost_rows",
    "environments_app.authorization.row_checks.access_rows",
    "secrets_app.maintenance.integrity_checks.secrets",
    "secrets_app.maintenance.integrity_checks.shares",
    "secrets_app.maintenance.integrity_checks.webhooks",
    "secrets_app.maintenance.integrity_checks.key_migrations",
    "secrets_app.maintenance.integrity_checks.versions",
    "secrets_app.maintenance.integrity_checks.losses",
    "sync_app.runs.row_checks.targets",
    "sync_app.runs.row_checks.entries",
    "sync_app.runs.row_checks.rotation_policies",
    "sync_app.runs.row_checks.rotations",
    "sync_app.runs.row_checks.acknowledgements",
    "sync_app.runs.row_checks.work",
    "sync_app.runs.row_checks.consents",
]
KEEPER_AUDIT_ALERTS = "environments_app.notifications.operator_alerts.OperatorAlerts"
# What acts, and so waits after a restore until somebody releases it.
KEEPER_RESTORE_SUSPENDERS = [
    "environments_app.environments.restore_suspension.MEMBERSHIPS",
    "environments_app.environments.restore_suspension.MAPPINGS",
    "environments_app.environments.restore_suspension.TOKENS",
    "secrets_app.services.share.SHARES",
    "sync_app.runs.restore_suspension.TARGETS",
    "sync_app.runs.restore_suspension.POLICIES",
]
# Called with the time of a restore, they yield a line for what has changed elsewhere since the backup.
KEEPER_RESTORE_CHECKS = [
    "sync_app.runs.restore_suspension.rotated_since",
    "sync_app.runs.restore_suspension.changed_in_targets",
]
KEEPER_SECRET_PANELS = [
    "sync_app.views.panels.delivery.DeliveryPanel",
    "sync_app.views.panels.rotation.RotationPanel",
    "secrets_app.views.panels.references.ReferencePanel",
]
# Called with actor and secret; answers whether a policy took the rotation.
KEEPER_ROTATION_REQUESTER = "sync_app.rotation.execution.requests.request_for_secret"
KEEPER_ENVIRONMENT_PANELS = [
    "secrets_app.views.panels.keys.KeyPanel",
    "sync_app.views.panels.delivery.TargetPanel",
    "sync_app.views.consents.ConsentPanel",
]
KEEPER_NOTIFIERS = [
    "environments_app.notifications.email.EmailTransport",
    "secrets_app.webhooks.transport.WebhookTransport",
]
# Called with the uuids of secrets whose values shall be replaced soon; each returns how many it will replace.
KEEPER_ROTATION_RESCHEDULERS = ["sync_app.rotation.execution.schedule.bring_forward"]
# Called with an environment's id and the names of its secrets that changed, after that is committed.
KEEPER_CHANGE_LISTENERS = ["sync_app.runs.schedule.nudge_environment"]
# Asked before a secret's value is written by hand, pulled or rolled back, and before it is deleted.
KEEPER_WRITE_GUARDS = ["sync_app.rotation.policies.write_guard.guard"]
# Called with what an environment is to name as its key; returns a warning, or raises InvalidField.
KEEPER_ENVIRONMENT_KEY_CHECK = "secrets_app.key_operations.environment_keys.check_reference"
# Who keeps what waits for a second person, and does it once it is approved.
KEEPER_APPROVAL_EXECUTORS = [
    "environments_app.approval_executor.AccessOwner",
    "secrets_app.approval_executor.SecretsOwner",
    "sync_app.approval_executor.SyncOwner",
]

# --- Django --------------------------------------------------------------------------------
INSTALLED_APPS = [
    "keeper_project",
    "sync_app",
    "secrets_app",
    "environments_app",
    "audit_app",
    "auditlog",
    "django.contrib.admin",
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
    "audit_app.middleware.RequestContextMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "keeper_project.http.middleware.NoStoreMiddleware",
    "keeper_project.http.middleware.ContentSecurityPolicyMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "keeper_project.http.fast_read.middleware.HotReadMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "environments_app.middleware.PrincipalMiddleware",
    "environments_app.middleware.ExpiredSessionMiddleware",
    "keeper_project.http.middleware.SecondFactorMiddleware",
    "audit_app.middleware.ConfigurationHistoryMiddleware",
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
                "keeper_project.ui.navigation.frame",
            ],
        },
    },
]
DATABASES = {
    "default": database_settings(
        env.str("DATABASE_URL", default=f"sqlite:///{KEEPER_DATA_DIR}/keeper.db"), base_dir=BASE_DIR
    )
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
REDIS_URL = env.str("REDIS_URL", default="")
CACHES = {
    "default": {
        "BACKEND": "keeper_project.runtime.resilient_cache.SparedRedisCache",
        "LOCATION": REDIS_URL,
        # A machine that is gone answers nothing, and no page waits for that.
        "OPTIONS": {"socket_connect_timeout": 1.0, "socket_timeout": 1.0},
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
STATIC_URL = "static/"
STATIC_ROOT = env.str("STATIC_ROOT", default="") or str(KEEPER_DATA_DIR / "static")
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

# --- People --------------------------------------------------------------------------------
AUTH_USER_MODEL = "environments_app.User"
AUTHENTICATION_BACKENDS = ["environments_app.users.password_backend.LocalBackend"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
# Single sign-on by SAML 2.0; it is on where the identity provider's metadata can be found.
KEEPER_SAML_METADATA_FILE = env.str("KEEPER_SAML_METADATA_FILE", default="")
KEEPER_SAML_METADATA_URL = env.str("KEEPER_SAML_METADATA_URL", default="") or okta_metadata_url(
    issuer=env.str("OKTA_ISSUER", default=""), app=env.str("OKTA_CLIENT_ID", default="")
)
KEEPER_SAML = bool(KEEPER_SAML_METADATA_FILE or KEEPER_SAML_METADATA_URL)
KEEPER_SAML_ENTITY_ID = env.str("KEEPER_SAML_ENTITY_ID", default="")
KEEPER_SAML_IDP_ENTITY_ID = env.str("KEEPER_SAML_IDP_ENTITY_ID", default="")
# The names of attributes; without one for the username, the NameID is the name.
KEEPER_SAML_USERNAME_ATTRIBUTE = env.str("KEEPER_SAML_USERNAME_ATTRIBUTE", default="")
KEEPER_SAML_EMAIL_ATTRIBUTE = env.str("KEEPER_SAML_EMAIL_ATTRIBUTE", default="email")
KEEPER_SAML_NAME_ATTRIBUTE = env.str("KEEPER_SAML_NAME_ATTRIBUTE", default="displayName")
KEEPER_SAML_GROUPS_ATTRIBUTE = env.str("KEEPER_SAML_GROUPS_ATTRIBUTE", default="groups")
KEEPER_SAML_CREATE_USERS = env.bool("KEEPER_SAML_CREATE_USERS", default=True)
KEEPER_SAML_CLOCK_SKEW_SECONDS = env.int("KEEPER_SAML_CLOCK_SKEW_SECONDS", default=60)
KEEPER_SAML_KEY_FILE = env.str("KEEPER_SAML_KEY_FILE", default="") or str(KEEPER_DATA_DIR / "saml.key")
KEEPER_SAML_CERTIFICATE_FILE = env.str("KEEPER_SAML_CERTIFICATE_FILE", default="") or str(
    KEEPER_DATA_DIR / "saml.crt"
)
# djangosaml2's own: who configures it, by which binding it asks, and that it leaves the policy alone.
SAML_CONFIG_LOADER = "environments_app.saml.configuration.load"
SAML_DEFAULT_BINDING = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
SAML_CSP_HANDLER = ""
LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "dashboard"
LOGOUT_REDIRECT_URL = "sign-in"
CSRF_FAILURE_VIEW = "keeper_project.http.error_pages.csrf_failure"
# A row of the session table opens no session: the id in the cookie is stored as an HMAC.
SESSION_ENGINE = "environments_app.users.session_store"
SESSION_COOKIE_AGE = env.int("SESSION_COOKIE_AGE", default=8 * 3600)
# How long a session may lie unused.
KEEPER_SESSION_IDLE_SECONDS = env.int("KEEPER_SESSION_IDLE_SECONDS", default=3600)
# How long ago somebody must have signed in for what opens many values at once.
KEEPER_REAUTH_SECONDS = env.int("KEEPER_REAUTH_SECONDS", default=900)
# Whether administrators who sign in by a password need a second factor besides.
KEEPER_REQUIRE_ADMIN_MFA = env.bool("KEEPER_REQUIRE_ADMIN_MFA", default=False)
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
# In a cookie of its own: in the session, every stranger who sees the sign-in would make a row.
CSRF_USE_SESSIONS = False
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_SAMESITE = "Lax"

# --- Transport -----------------------------------------------------------------------------
# TLS is assumed unless nobody else is served, or it is switched off by name.
KEEPER_TLS = env.bool(
    "KEEPER_TLS", default=not serves_this_machine_alone(KEEPER_LISTEN, KEEPER_TRUSTED_PROXIES)
)
SESSION_COOKIE_SECURE = KEEPER_TLS
CSRF_COOKIE_SECURE = KEEPER_TLS
SECURE_SSL_REDIRECT = KEEPER_TLS
# RequestContextMiddleware removes the header where no trusted proxy has set it.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]
SECURE_HSTS_SECONDS = 31_536_000 if KEEPER_TLS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = KEEPER_TLS
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

# --- API -----------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "environments_app.authentication.drf.ServiceTokenAuthentication",
        "environments_app.authentication.drf.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["keeper_project.http.json.JsonRenderer"],
    "DEFAULT_PARSER_CLASSES": ["keeper_project.http.json.JsonParser"],
    "DEFAULT_PAGINATION_CLASS": "keeper_project.http.pagination.KeysetPagination",
    "DEFAULT_SCHEMA_CLASS": "keeper_project.http.openapi.KeeperSchema",
    "EXCEPTION_HANDLER": "keeper_project.http.problem_details.problem_response",
    "DEFAULT_METADATA_CLASS": None,
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
    "COMPONENT_SPLIT_REQUEST": True,
    "SERVERS": [{"url": "/", "description": "The installation that serves this document."}],
    "LICENSE": {"name": "MIT", "url": "https://opensource.org/license/mit"},
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "keeper_project.http.openapi.add_problem_schemas",
        "sync_app.api.settings_schema.describe_settings",
    ],
    "ENUM_NAME_OVERRIDES": {
        "Role": "environments_app.models.access.Role.choices",
        "TokenRole": "environments_app.models.access.TokenRole.choices",
        "SecretType": "secrets_app.secret_types.registry.SecretType.choices",
    },
}

# --- History of configuration ----------------------------------------------------------------
AUDITLOG_INCLUDE_ALL_MODELS = False
# audit_app.middleware names actor and address; auditlog's own believes any X-Forwarded-For.
AUDITLOG_DISABLE_REMOTE_ADDR = True
# Sealed and hashed columns are left out by name; a system check refuses one that is forgotten.
AUDITLOG_INCLUDE_TRACKING_MODELS = [
    {"model": "environments_app.Environment", "exclude_fields": ["row_mac"]},
    {"model": "environments_app.Membership", "exclude_fields": ["row_mac"]},
    {"model": "environments_app.SamlGroupMapping", "exclude_fields": ["row_mac"]},
    {"model": "environments_app.GroupMember", "exclude_fields": ["row_mac"]},
    {
        "model": "environments_app.ServiceToken",
        "exclude_fields": ["row_mac", "secret_hash", "last_used_at", "last_used_address"],
    },
    {"model": "environments_app.User", "exclude_fields": ["row_mac", "password", "last_login"]},
    {"model": "environments_app.Recipient", "exclude_fields": ["row_mac"]},
    {"model": "secrets_app.Webhook", "exclude_fields": ["row_mac", "sealed", "data_key"]},
    {"model": "auth.Group", "exclude_fields": [], "m2m_fields": ["permissions"]},
    {
        "model": "sync_app.Target",
        "exclude_fields": [
            "row_mac",
            "credentials",
            "data_key",
            "due_at",
            "last_success_at",
            "last_failure_at",
            "last_error",
            "failures",
            "updated_at",
        ],
    },
    {
        "model": "sync_app.RotationPolicy",
        "exclude_fields": ["row_mac", "credentials", "data_key", "due_at", "last_rotated_at", "updated_at"],
    },
]

# --- Background work -----------------------------------------------------------------------
CELERY_BROKER_URL = env.str("CELERY_BROKER_URL", default="") or REDIS_URL or "memory://"
# Without a broker, the worker of `keeper run` keeps messages in its own memory, where no other process
# reaches them: it looks for rows that are due each second instead.
KEEPER_EMBEDDED_WORKER = CELERY_BROKER_URL.startswith("memory://")
CELERY_BROKER_TRANSPORT_OPTIONS = {"polling_interval": 0.2} if KEEPER_EMBEDDED_WORKER else {}
# How often work is looked for of which a broker's messages tell sooner.
_LOOK_SECONDS = 1.0 if KEEPER_EMBEDDED_WORKER else 10.0
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULE_FILENAME = str(KEEPER_DATA_DIR / "celerybeat-schedule")
CELERY_BEAT_SCHEDULE = {
    "worker-heartbeat": {"task": "keeper_project.tasks.beat_heartbeat", "schedule": 30.0},
    "record-refusals": {"task": "audit_app.tasks.record_refusals", "schedule": 60.0},
    "make-checkpoint": {
        "task": "audit_app.tasks.make_checkpoint",
        "schedule": 60.0,
        "options": {"expires": 50},
    },
    "prune-trail": {"task": "audit_app.tasks.prune_trail", "schedule": crontab(hour="3", minute="23")},
    "stream-events": {
        "task": "audit_app.tasks.stream_events",
        "schedule": 5.0,
        "options": {"expires": 5},
    },
    # A check that waited longer than this is overtaken by the next one.
    "check-keys": {
        "task": "secrets_app.tasks.check_keys",
        "schedule": 300.0,
        "options": {"expires": 240},
    },
    "watch-keys": {
        "task": "secrets_app.tasks.watch_keys",
        "schedule": 20.0,
        "options": {"expires": 18},
    },
    "check-failing-keys": {
        "task": "secrets_app.tasks.check_failing_keys",
        "schedule": 60.0,
        "options": {"expires": 50},
    },
    "check-systems": {
        "task": "keeper_project.tasks.check_systems",
        "schedule": 60.0,
        "options": {"expires": 50},
    },
    "deliver-notifications": {
        "task": "environments_app.tasks.deliver_notifications",
        "schedule": 20.0,
    },
    "sync-due": {
        "task": "sync_app.tasks.run_due",
        "schedule": _LOOK_SECONDS,
        "options": {"expires": 30},
    },
    "rotate-due": {
        "task": "sync_app.tasks.rotate_due",
        "schedule": _LOOK_SECONDS,
        "options": {"expires": 30},
    },
    "check-requested-keys": {
        "task": "secrets_app.tasks.check_requested_keys",
        "schedule": _LOOK_SECONDS,
        "options": {"expires": 30},
    },
    "carry-out-backup-requests": {
        "task": "keeper_project.tasks.carry_out_backup_requests",
        "schedule": _LOOK_SECONDS,
        "options": {"expires": 30},
    },
    "mend-due-times": {
        "task": "sync_app.tasks.mend_due_times",
        "schedule": crontab(minute="13"),
    },
    "back-up": {"task": "keeper_project.tasks.back_up_if_due", "schedule": crontab(minute="*/10")},
    "sweep": {"task": "secrets_app.tasks.sweep", "schedule": 60.0, "options": {"expires": 50}},
    "send-digests": {"task": "keeper_project.tasks.send_digests", "schedule": crontab(minute="37")},
    "send-report": {"task": "keeper_project.tasks.send_report", "schedule": crontab(minute="7")},
    "purge-deleted": {"task": "secrets_app.tasks.purge_deleted", "schedule": crontab(minute="41")},
    "expire-approvals": {"task": "environments_app.tasks.expire_approvals", "schedule": 300.0},
    "end-expired-access": {"task": "environments_app.tasks.end_expired_access", "schedule": 60.0},
    "refresh-saml-metadata": {
        "task": "environments_app.tasks.refresh_saml_metadata",
        "schedule": crontab(minute="23"),
    },
    "watch-tokens": {
        "task": "environments_app.tasks.watch_tokens",
        "schedule": crontab(minute="11"),
    },
    "purge-saml-assertions": {
        "task": "environments_app.tasks.purge_saml_assertions",
        "schedule": crontab(minute="29"),
    },
    "clear-sessions": {
        "task": "keeper_project.tasks.clear_sessions",
        "schedule": crontab(minute="17", hour="3"),
    },
}

# --- Logs ----------------------------------------------------------------------------------
KEEPER_LOG_LEVEL = env.str("KEEPER_LOG_LEVEL", default="INFO")
KEEPER_LOG_FILE = env.str("KEEPER_LOG_FILE", default="") or str(KEEPER_DATA_DIR / "logs" / "keeper.log")
LOGGING_CONFIG = "keeper_project.observability.logging.configure"
LOGGING = {"level": KEEPER_LOG_LEVEL, "file": KEEPER_LOG_FILE}
