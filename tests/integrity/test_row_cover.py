"""Each column of an authenticated row is covered by its MAC, or is named here with the reason why not.

And the cover is written once: no reader and no writer spells it by itself.
"""

import re
from pathlib import Path
from typing import Final

from tests.integrity.rows import authenticated, uncovered

ROOT: Final = Path(__file__).resolve().parents[2]
APPS: Final = (
    "core",
    "audit_app",
    "environments_app",
    "secrets_app",
    "sync_app",
    "gateway_app",
    "operations_app",
)

SHOWN: Final = "People read it on pages; no rule asks it."
WHEN: Final = (
    "A time for people, lists and retention; it lets nothing happen that the covered columns do not allow."
)
USED: Final = "Each use writes it, without the keys of a change; it lets nothing more happen."
SEALED: Final = "An envelope that is bound to its row opens nowhere else; the key's id only finds the key."
PACE: Final = "When and how often a worker tries; what it may do is covered, and asked again at each act."
RESULT: Final = "What a worker found or reached; the next pass finds it anew."
UNCOVERED: Final[dict[str, dict[str, str]]] = {
    "sync_app.Target": {
        SEALED: "credentials data_key_id",
        PACE: "interval_seconds due_at failures",
        RESULT: "last_success_at last_failure_at last_error",
        WHEN: "created_at updated_at",
    },
    "sync_app.SyncEntry": {
        "The covered mark of each value decides; the number only names it for people.": "base_number intended_number",
        "What the target itself says of the pending value is compared before it is promoted or dropped.": (
            "pending_keeper pending_target pending_at"
        ),
        RESULT: "state reason undelivered checked_at synced_at",
    },
    "sync_app.Plan": {
        RESULT: "state counts keeper_complete target_complete error",
        SHOWN: "rules made_by",
        WHEN: "created_at ready_at finished_at",
    },
    "sync_app.ReferenceConsent": {SHOWN: "given_by", WHEN: "created_at"},
    "sync_app.Run": {
        SHOWN: "trigger actor_name request_id",
        PACE: "state active lease_owner lease_until epoch attempts not_before",
        RESULT: "total finished failed skipped error",
        WHEN: "created_at started_at finished_at",
    },
    "sync_app.Migration": {
        PACE: "state due_at lease_owner lease_until epoch attempts",
        RESULT: "counts error",
        WHEN: "planned_at created_at",
    },
    "sync_app.MountRule": {WHEN: "created_at"},
    "sync_app.MigrationLine": {RESULT: "reason state"},
    "sync_app.RotationPolicy": {
        SEALED: "credentials data_key_id",
        PACE: "due_at",
        WHEN: "last_rotated_at created_at updated_at",
    },
    "sync_app.Rotation": {
        SHOWN: "trigger actor_name request_id reason problem",
        PACE: "slot lease_owner lease_until epoch attempts not_before stopped_at",
        WHEN: "queued_at started_at promoted_at finished_at",
    },
    "sync_app.Acknowledgement": {SHOWN: "consumer_name", WHEN: "acknowledged_at"},
    "secrets_app.KeyMigration": {WHEN: "started_at ended_at"},
    "secrets_app.Secret": {
        SHOWN: "description owner facts custom_metadata",
        "A MAC of its own covers the tags, which a user may leave as an older release stored them.": "tags tags_mac",
        "It only finds: what is found proves itself.": "search_text version_ends_at",
        "It makes a second of two concurrent writers fail, and names a state for caches.": "revision",
        WHEN: "expires_at deleted_at rotated_at rotation_due_at created_at updated_at",
    },
    "secrets_app.Share": {
        SHOWN: "note",
        WHEN: "created_at",
        PACE: "code_due_at",
        "A keyed hash over the share proves itself, and when its code was asked for.": "proof_mac code_asked_at",
        "Put back, they allow more guesses of 80 bits or of a code for ten minutes.": "tries codes",
    },
    "secrets_app.Webhook": {SEALED: "sealed data_key_id", SHOWN: "created_by", WHEN: "created_at"},
    "secrets_app.DepartureValue": {RESULT: "by_policy", SHOWN: "assignee_id read_by"},
    "environments_app.Departure": {
        SHOWN: "ended_by_name ended",
        PACE: "counted_at settled_at lease_until",
        RESULT: "by_policy",
    },
    "environments_app.Environment": {
        SHOWN: "display_name description colour position",
        WHEN: "created_at updated_at",
    },
    "environments_app.User": {
        SHOWN: "display_name",
        "Notifications go there, which hold no value. A password is reset at the covered `reset_email`.": "email",
        USED: "last_login",
        WHEN: "date_joined",
    },
    "environments_app.Membership": {SHOWN: "granted_by_id", WHEN: "created_at"},
    "environments_app.AccessConfirmation": {SHOWN: "confirmed_by_id", WHEN: "confirmed_at"},
    "environments_app.ServiceToken": {
        SHOWN: "created_by_id replaces_id",
        USED: "last_used_at last_used_address",
        WHEN: "created_at",
    },
    "environments_app.Approval": {
        SHOWN: "failure requester_name decided_by_name comment",
        WHEN: "asked_at decided_at finished_at",
    },
    "environments_app.AccessRequest": {
        SHOWN: "comment membership_uuid",
        WHEN: "asked_at decided_at finished_at",
    },
    "environments_app.Review": {PACE: "reminders"},
    "environments_app.SecondFactor": {
        "Each accepted code raises it. Put back, it lets a code be used again within its minute.": "last_step",
        WHEN: "created_at",
    },
    "environments_app.Passkey": {
        "It only finds: the covered credential id is compared.": "handle",
        "Each use raises it. Put back, it hides a copy of the authenticator, whose answer must still verify.": "sign_count",
        USED: "last_used_at",
    },
    "environments_app.PasswordLink": {
        PACE: "due_at attempts",
        SHOWN: "error",
        "It counts requests of a network.": "source",
        "A link whose end was taken away still needs its code, which only the message had.": "ended_at",
        WHEN: "created_at",
    },
    "environments_app.Recipient": {SHOWN: "created_by", WHEN: "created_at"},
    "environments_app.PersonalToken": {USED: "last_used_at last_used_address", WHEN: "created_at"},
    "environments_app.DeviceSignIn": {
        PACE: "polled_at",
        "The token that it names proves itself, and is its owner's.": "token_id",
        "A refusal that was taken away leaves the request open until its covered end.": "denied_at",
        WHEN: "created_at",
    },
    "environments_app.SamlProvider": {PACE: "fetched_at"},
    "environments_app.EventSink": {WHEN: "created_at"},
    "environments_app.OidcProvider": {
        PACE: "fetched_at",
        SHOWN: "last_refused_at last_refusal",
        WHEN: "created_at",
    },
    "environments_app.ScimClient": {SHOWN: "last_error last_error_at", WHEN: "created_at"},
    "environments_app.ProvisionedGroup": {
        SHOWN: "display_name external_id",
        PACE: "revision changed_at",
        WHEN: "created_at",
    },
    "environments_app.ProvisionedUser": {
        SHOWN: "attributes",
        PACE: "revision changed_at",
        WHEN: "created_at",
    },
    "environments_app.SamlGroupMapping": {WHEN: "created_at"},
    "environments_app.Trust": {
        SHOWN: "created_by_id last_refused_at last_refusal",
        USED: "last_used_at",
        WHEN: "created_at",
    },
}  # fmt: skip


def test_each_column_is_covered_or_named_with_a_reason() -> None:
    named = {
        label: sorted(column for columns in reasons.values() for column in columns.split())
        for label, reasons in UNCOVERED.items()
    }
    found = {model._meta.label: sorted(uncovered(model)) for model in authenticated()}
    assert named == {label: columns for label, columns in found.items() if columns}


def using(pattern: str) -> set[str]:
    """Return the production modules whose source matches."""
    return {
        path.relative_to(ROOT).as_posix()
        for app in APPS
        for path in (ROOT / app).rglob("*.py")
        if not {"tests", "migrations"} & set(path.relative_to(ROOT).parts)
        and re.search(pattern, path.read_text(encoding="utf-8"), re.MULTILINE)
    }


def test_the_cover_of_a_row_is_written_in_one_module() -> None:
    """`row_message` alone puts the cover together: for instances, for plain rows, and for new ones."""
    one = "audit_app/integrity/row_authentication.py"
    prover, bulk = "audit_app/integrity/proven_table.py", "secrets_app/rows/bulk_insert.py"
    assert using(r"\brow_message\b") == {one, prover, bulk}
    # The prover reads which columns to fetch.
    assert using(r"\w\.MAC_COVERS") == {one, prover}
    # The tags have a MAC of their own, under a label of their own.
    assert using(r"\bmac_message\b") == {one, "secrets_app/models/secret.py"}


def test_what_else_the_key_of_rows_authenticates_is_named() -> None:
    assert using(r"Purpose\.ROW_MAC") == {
        "audit_app/integrity/row_authentication.py",
        "audit_app/integrity/proven_table.py",
        "secrets_app/rows/bulk_insert.py",
        # The tags of a secret.
        "secrets_app/models/secret.py",
        # The digest of a proposed act, which holds values and must not be guessed.
        "environments_app/approvals/gate.py",
        # Which installation is active, in its row and in the lease file.
        "audit_app/integrity/active_installation.py",
    }
