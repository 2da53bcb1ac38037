"""Where Keeper keeps its files, its database and its broker; backups; logs."""

from pathlib import Path

from core.config.database_url import database_settings
from core.config.variables import Group, load_file, read_or_create

BASE_DIR = Path(__file__).resolve().parent.parent.parent
load_file(BASE_DIR / ".env")

_installation = Group("Installation", page="deployment.md")
KEEPER_DATA_DIR = (
    BASE_DIR
    / _installation.text(
        "KEEPER_DATA_DIR",
        "var",
        help="Folder for the files that Keeper creates: the SQLite database, key files, logs. "
        "Relative to the checkout.",
    )
).resolve()
# The URL itself is no setting: error pages with DEBUG would show its password.
_url = _installation.text(
    "DATABASE_URL",
    unset="keeper.db in KEEPER_DATA_DIR",
    help="The database: sqlite:///FILE, or mysql://USER:PASSWORD@HOST/NAME for MariaDB and MySQL. A host, "
    "localhost included, is reached by TCP; several of one database are HOST:PORT,HOST:PORT. Options: "
    "unix_socket, ssl_mode, ssl_ca, ssl_cert, ssl_key, charset, wsrep_sync_wait. "
    "Any other option is refused, except SQLAlchemy's pool options, which have no effect.",
)
DATABASES = {
    "default": database_settings(_url or f"sqlite:///{KEEPER_DATA_DIR}/keeper.db", base_dir=BASE_DIR)
}
REDIS_URL = _installation.text(
    "REDIS_URL",
    unset="a cache per process, and no broker: the worker of `keeper run` polls for due work each second",
    help="Cache and broker that all processes share, as redis://:PASSWORD@HOST:6379/0. rediss:// uses TLS "
    "and verifies the certificate; ?ssl_ca_certs=FILE names an authority of your own.",
)
CELERY_BROKER_URL = (
    _installation.text(
        "CELERY_BROKER_URL",
        unset="REDIS_URL",
        help="Broker for background work, if it is not REDIS_URL.",
    )
    or REDIS_URL
    or "memory://"
)
SECRET_KEY = _installation.text(
    "SECRET_KEY",
    unset="a key that Keeper creates in KEEPER_DATA_DIR",
    help="Signs sessions. At least 32 random characters, the same on every machine.",
) or read_or_create(KEEPER_DATA_DIR / "secret_key")
KEEPER_ADMIN_USERNAME = _installation.text(
    "KEEPER_ADMIN_USERNAME", "admin", help="Username of the first administrator, created at the first start."
)
KEEPER_ADMIN_PASSWORD = _installation.text(
    "KEEPER_ADMIN_PASSWORD",
    unset="a password that is generated and printed once",
    help="Password of the first administrator.",
)
KEEPER_DOCUMENTATION_URL = _installation.text(
    "KEEPER_DOCUMENTATION_URL",
    help="Address of your documentation. The pages link to it if it is set.",
)
DEBUG = _installation.switch(
    "DEBUG",
    default=False,
    help="Shows local variables in error pages, and logs for people. For development on one machine only.",
)

_backups = Group("Backups", page="backup.md")
KEEPER_BACKUP_DIR = _backups.text(
    "KEEPER_BACKUP_DIR",
    unset="backups in KEEPER_DATA_DIR",
    help="Folder for backups. Use a separate disk, or one that is copied elsewhere.",
) or str(KEEPER_DATA_DIR / "backups")
KEEPER_BACKUP_INTERVAL_HOURS = _backups.whole(
    "KEEPER_BACKUP_INTERVAL_HOURS",
    0,
    unit="hours",
    help="Time between scheduled backups. 0 disables them. A backup that is twice as late raises an alert.",
)
KEEPER_BACKUP_KEEP = _backups.whole(
    "KEEPER_BACKUP_KEEP",
    14,
    unit="backups",
    help="Number of scheduled backups of this installation to keep; the oldest are deleted. 0 keeps all.",
)
KEEPER_LEASE_FILE = _backups.text(
    "KEEPER_LEASE_FILE",
    help="File on storage that every copy of this installation can reach. It names the copy that was "
    "activated "
    "last; all other copies stop working.",
)

_logs = Group("Logs and files")
KEEPER_LOG_LEVEL = _logs.text(
    "KEEPER_LOG_LEVEL",
    "INFO",
    help="DEBUG, INFO, WARNING or ERROR. No level logs a value, a statement's parameters or a reply of KMS.",
)
KEEPER_LOG_FILE = _logs.text(
    "KEEPER_LOG_FILE",
    unset="logs/keeper.log in KEEPER_DATA_DIR",
    help="File for the JSON log lines, beside standard output, rotated at 20 MB. - disables it.",
) or str(KEEPER_DATA_DIR / "logs" / "keeper.log")
KEEPER_TRACES_URL = _logs.text(
    "KEEPER_TRACES_URL",
    help="Address that takes OpenTelemetry traces (OTLP over HTTP), such as "
    "http://collector:4318/v1/traces. A private address must be in KEEPER_OUTBOUND_ALLOWED. Needs "
    "requirements-otel.txt. Empty: no traces.",
)
KEEPER_TRACES_RATIO = _logs.decimal(
    "KEEPER_TRACES_RATIO", 0.1, unit="share from 0 to 1", help="Share of requests and tasks that are traced."
)
STATIC_ROOT = _logs.text(
    "STATIC_ROOT",
    unset="static in KEEPER_DATA_DIR",
    help="Folder for collectstatic. Keeper serves its styles and scripts without it too.",
) or str(KEEPER_DATA_DIR / "static")
LOGGING_CONFIG = "keeper_project.observability.logging.configure"
LOGGING = {"level": KEEPER_LOG_LEVEL, "file": KEEPER_LOG_FILE}
