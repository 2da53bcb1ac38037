"""What a lower app needs from a higher one, by dotted path."""

KEEPER_KEYRING = "secrets_app.keys.system_keyring.SystemKeyring"
KEEPER_AUDIT_ACCESS_POLICY = "environments_app.authorization.policy.AuditLogPolicy"
# The protocols that clients speak, with their addresses and their lanes.
KEEPER_PROTOCOLS = [
    "gateway_app.rest.REST",
    "gateway_app.kv2.lane.KV2",
    "gateway_app.aws.lane.AWS",
    "gateway_app.scim.lane.SCIM",
]
KEEPER_REPORT_SECTIONS = [
    "environments_app.environments.report_sections.SECTIONS",
    "environments_app.reviews.evidence.SECTIONS",
    "audit_app.queries.reports.SECTIONS",
    "secrets_app.maintenance.report_sections.SECTIONS",
    "sync_app.runs.report_sections.SECTIONS",
]
KEEPER_INTEGRITY_CHECKS = [
    "audit_app.integrity.database_file.problems",
    "audit_app.integrity.config_history.log_entries",
    "audit_app.integrity.active_installation.problems",
    "audit_app.integrity.row_state.lost_rows",
    "environments_app.authorization.rows.access_rows",
    "secrets_app.maintenance.integrity_checks.secrets",
    "secrets_app.maintenance.integrity_checks.shares",
    "secrets_app.maintenance.integrity_checks.wrapped_reads",
    "secrets_app.maintenance.integrity_checks.webhooks",
    "secrets_app.maintenance.integrity_checks.key_migrations",
    "secrets_app.maintenance.integrity_checks.versions",
    "secrets_app.maintenance.integrity_checks.losses",
    "secrets_app.maintenance.integrity_checks.origins",
    "secrets_app.maintenance.integrity_checks.departures",
    "sync_app.runs.row_checks.targets",
    "sync_app.runs.row_checks.entries",
    "sync_app.runs.row_checks.migrations",
    "sync_app.runs.row_checks.rotation_policies",
    "sync_app.runs.row_checks.rotations",
    "sync_app.runs.row_checks.acknowledgements",
    "sync_app.runs.row_checks.work",
    "sync_app.runs.row_checks.consents",
]
# Called with a deleted environment, they yield what of it was changed outside Keeper: it is not removed then.
KEEPER_PURGE_CHECKS = ["secrets_app.maintenance.integrity_checks.of_environment"]
KEEPER_STORED_EVENT_SINKS = "environments_app.event_sinks.stored_sinks"
KEEPER_AUDIT_ALERTS = "environments_app.notifications.operator_alerts.OperatorAlerts"
# What a restore suspends until it is released.
KEEPER_RESTORE_SUSPENDERS = [
    "environments_app.environments.restore_suspension.MEMBERSHIPS",
    "environments_app.environments.restore_suspension.MAPPINGS",
    "environments_app.environments.restore_suspension.TOKENS",
    "environments_app.environments.restore_suspension.TRUSTS",
    "environments_app.environments.restore_suspension.PERSONAL_TOKENS",
    "environments_app.environments.restore_suspension.PROGRAM_RELEASES",
    "secrets_app.services.share.SHARES",
    "secrets_app.services.wrapped_reads.WRAPPED_READS",
    "sync_app.runs.restore_suspension.TARGETS",
    "sync_app.runs.restore_suspension.POLICIES",
]
# Called with the time of a restore, they yield a line for what has changed elsewhere since the backup.
KEEPER_RESTORE_CHECKS = [
    "sync_app.runs.restore_suspension.rotated_since",
    "sync_app.runs.restore_suspension.changed_in_targets",
]
KEEPER_SECRET_PANELS = [
    "sync_app.views.panels.DeliveryPanel",
    "sync_app.views.panels.RotationPanel",
    "secrets_app.views.panels.ReferencePanel",
]
# Called with actor and secret; answers whether a policy took the rotation.
KEEPER_ROTATION_REQUESTER = "sync_app.rotation.execution.requests.request_for_secret"
KEEPER_ENVIRONMENT_PANELS = [
    "environments_app.views.trusts.TrustPanel",
    "secrets_app.views.panels.LinksPanel",
    "secrets_app.views.panels.KeyPanel",
    "sync_app.views.panels.TargetPanel",
    "sync_app.views.consents.ConsentPanel",
]
KEEPER_NOTIFIERS = [
    "environments_app.notifications.email.EmailTransport",
    "secrets_app.webhooks.WebhookTransport",
    "secrets_app.change_webhooks.ChangeTransport",
]
# What lets values, names or events out of Keeper, or workloads in: a departure names who set it up.
KEEPER_OUTLETS = ["secrets_app.outlets.KINDS", "sync_app.targets.outlets.KINDS"]
# Called with the uuids of secrets whose values shall be replaced soon; each returns those it will replace.
KEEPER_ROTATION_RESCHEDULERS = ["sync_app.rotation.execution.schedule.bring_forward"]
# Called with an environment's id and the names of its secrets that changed, after that is committed.
KEEPER_CHANGE_LISTENERS = ["sync_app.runs.schedule.schedule_environment"]
# Asked before a secret's value is written by hand, pulled or rolled back, and before it is deleted.
KEEPER_WRITE_GUARDS = ["sync_app.rotation.policies.guards.guard_write"]
# Called with what an environment is to name as its key; returns a warning, or raises InvalidField.
KEEPER_ENVIRONMENT_KEY_CHECK = "secrets_app.key_operations.trial.check_reference"
# Called with an actor and perhaps a path; returns how many secrets they see in each environment, and when
# one changed last.
KEEPER_ENVIRONMENT_COUNTER = "secrets_app.queries.lookup.count_by_environment"
# The executors of approvals: they store the payload of a request, and execute it once approved.
KEEPER_APPROVAL_EXECUTORS = [
    "environments_app.approval_executor.AccessApprovalExecutor",
    "secrets_app.approval_executor.SecretsApprovalExecutor",
    "sync_app.approval_executor.SyncApprovalExecutor",
]
