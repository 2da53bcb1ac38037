"""Alerts, reports, approvals and mail."""

from core.config.variables import Group

_notifications = Group("Notifications and approvals", page="approvals.md")
KEEPER_ALERT_EMAILS = _notifications.several(
    "KEEPER_ALERT_EMAILS",
    help="E-mail addresses for alerts about the installation. Each environment has its own recipients on its "
    "notifications page.",
)
KEEPER_ALERT_INTERVAL_MINUTES = _notifications.whole(
    "KEEPER_ALERT_INTERVAL_MINUTES",
    30,
    unit="minutes",
    help="Shortest time between two messages about the same subject. Alerts in between are sent together.",
)
KEEPER_DIGEST_HOUR = _notifications.whole_or_none(
    "KEEPER_DIGEST_HOUR",
    6,
    unit="hour",
    help="Hour of the day (UTC) from which people get their daily digest by e-mail, unless they turned it "
    "off. Empty sends none.",
)
KEEPER_APPROVAL_HOURS = _notifications.whole(
    "KEEPER_APPROVAL_HOURS",
    72,
    unit="hours",
    help="Time after a request in which it can be approved and executed.",
)
KEEPER_READ_APPROVAL_MINUTES = _notifications.whole(
    "KEEPER_READ_APPROVAL_MINUTES",
    60,
    unit="minutes",
    help="Time after its approval in which a guarded value can be read, once: 1 to 1440.",
)
KEEPER_ACCESS_MAX_HOURS = _notifications.whole(
    "KEEPER_ACCESS_MAX_HOURS", 168, unit="hours", help="Longest duration of requested temporary access."
)
KEEPER_DEPARTURE_DAYS = _notifications.whole(
    "KEEPER_DEPARTURE_DAYS",
    7,
    unit="days",
    help="Time after which managers are alerted that values are open which a person who left knows.",
)
KEEPER_RETURN_HOURS = _notifications.whole(
    "KEEPER_RETURN_HOURS",
    24,
    unit="hours",
    help="An ended account that is enabled after this time reads no values until managers confirm it.",
)

_reports = Group("Reports", page="audit.md")
KEEPER_REPORT_EMAILS = _reports.several(
    "KEEPER_REPORT_EMAILS",
    help="E-mail addresses for the compliance report (HTML and JSON). It names people and secrets, never "
    "values.",
)
KEEPER_REPORT_SCHEDULE = _reports.text("KEEPER_REPORT_SCHEDULE", help="weekly or monthly. Empty sends none.")

_mail = Group("Mail")
EMAIL_HOST = _mail.text("EMAIL_HOST", unset="no e-mail is sent", help="Mail server.")
EMAIL_PORT = _mail.whole("EMAIL_PORT", 587, unit="port", help="Port of the mail server.")
EMAIL_HOST_USER = _mail.text("EMAIL_HOST_USER", help="Username at the mail server.")
EMAIL_HOST_PASSWORD = _mail.text("EMAIL_HOST_PASSWORD", help="Password at the mail server.")
EMAIL_USE_TLS = _mail.switch(
    "EMAIL_USE_TLS", default=True, help="Uses STARTTLS. Set it to false with EMAIL_USE_SSL=true."
)
EMAIL_USE_SSL = _mail.switch("EMAIL_USE_SSL", default=False, help="Uses TLS from the start (port 465).")
DEFAULT_FROM_EMAIL = _mail.text("DEFAULT_FROM_EMAIL", "keeper@localhost", help="Sender of every message.")
EMAIL_TIMEOUT = 10
EMAIL_BACKEND = "core.network.mail.EmailBackend"
