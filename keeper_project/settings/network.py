"""Who reaches Keeper, and whom Keeper may reach."""

from core.config.variables import Group
from keeper_project.startup import serves_this_machine_alone

_network = Group("Network")
ALLOWED_HOSTS = _network.several(
    "ALLOWED_HOSTS",
    ("localhost", "127.0.0.1", "[::1]"),
    help="Host names by which browsers and programs reach Keeper.",
)
KEEPER_URL = _network.text(
    "KEEPER_URL",
    unset="messages contain paths only",
    help="Address of Keeper for people, such as https://keeper.example.com. Single sign-on needs it.",
).rstrip("/")
KEEPER_LISTEN = _network.text(
    "KEEPER_LISTEN", help="Numeric address on which `keeper run` listens. The command sets it."
)
KEEPER_TRUSTED_PROXIES = _network.several(
    "KEEPER_TRUSTED_PROXIES",
    help="Addresses or networks of proxies whose X-Forwarded-For and X-Forwarded-Proto headers are trusted.",
)
KEEPER_TLS = _network.switch(
    "KEEPER_TLS",
    default=not serves_this_machine_alone(KEEPER_LISTEN, KEEPER_TRUSTED_PROXIES),
    example="true",
    unset="true, except where `keeper run` listens on the loopback address and no proxy is trusted",
    help="Makes cookies secure and redirects plain requests to https.",
)
KEEPER_FORWARDED_HEADER = _network.text(
    "KEEPER_FORWARDED_HEADER",
    "X-Forwarded-For",
    help="Header in which trusted proxies name the client. They must drop headers with underscores in the "
    "name, "
    "because WSGI cannot tell dashes from underscores.",
)
CSRF_TRUSTED_ORIGINS = _network.several(
    "CSRF_TRUSTED_ORIGINS",
    help="Other origins whose forms are accepted, as https://keeper.example.com. Not needed if the proxy "
    "passes "
    "the Host header.",
)
KEEPER_REFUSALS_PER_MINUTE = _network.whole(
    "KEEPER_REFUSALS_PER_MINUTE",
    60,
    unit="refusals a minute",
    help="Refused requests of one address before it gets 429 until the next minute.",
)
KEEPER_METRICS_ALLOWED = _network.several(
    "KEEPER_METRICS_ALLOWED",
    ("127.0.0.1", "::1"),
    help="Addresses or networks that may read /metrics (Prometheus).",
)
KEEPER_METRICS_LISTEN = _network.text(
    "KEEPER_METRICS_LISTEN",
    help="Address for the metrics of a worker that serves no pages, such as 127.0.0.1:9101.",
)
PROMETHEUS_MULTIPROC_DIR = _network.text(
    "PROMETHEUS_MULTIPROC_DIR",
    help="Folder in which the metrics of several processes are added up. It must be empty at the start; "
    "`keeper run` sets it for its own processes.",
)
KEEPER_OUTBOUND_ALLOWED = _network.several(
    "KEEPER_OUTBOUND_ALLOWED",
    help="Private, loopback or link-local networks that Keeper may connect to, such as 10.20.0.0/16. Public "
    "addresses are always allowed, by TLS only.",
)
KEEPER_OUTBOUND_SECONDS = _network.decimal(
    "KEEPER_OUTBOUND_SECONDS",
    10.0,
    unit="seconds",
    help="Deadline of one request to another system, from name lookup to the end of the answer. Mail has "
    "10 s, "
    "KMS has KMS_TIMEOUT_SECONDS.",
)

SESSION_COOKIE_SECURE = KEEPER_TLS
CSRF_COOKIE_SECURE = KEEPER_TLS
SECURE_SSL_REDIRECT = KEEPER_TLS
# RequestContextMiddleware removes the header unless a trusted proxy set it.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]
SECURE_HSTS_SECONDS = 31_536_000 if KEEPER_TLS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = KEEPER_TLS
