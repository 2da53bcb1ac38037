"""How long secrets stay, how often they are checked, and the keys that wrap data keys, AWS included."""

from core.config.variables import Group
from keeper_project.settings.installation import KEEPER_DATA_DIR

_secrets = Group("Secrets")
KEEPER_DELETED_RETENTION_DAYS = _secrets.whole(
    "KEEPER_DELETED_RETENTION_DAYS",
    30,
    unit="days",
    help="Time in which a deleted secret or environment can be restored before it is destroyed. "
    "0 keeps it without limit.",
)
KEEPER_INTEGRITY_SCAN_INTERVAL_HOURS = _secrets.whole(
    "KEEPER_INTEGRITY_SCAN_INTERVAL_HOURS",
    24,
    unit="hours",
    help="Time between integrity scans, which decrypt every stored value and compare it with the audit log. "
    "0 disables them.",
)


_keys = Group("Keys", page="keys.md")
KEY_MANAGEMENT_BACKEND = _keys.text(
    "KEY_MANAGEMENT_BACKEND", "local", help="What wraps data keys: `local` (a key file) or `kms` (AWS KMS)."
)
KEY_MIGRATION = _keys.switch(
    "KEY_MIGRATION",
    default=False,
    help="Set it to true while data keys move between the key file and KMS: both can then unwrap. It "
    "needs the "
    "settings of both. Unset it after `keeper migrate to-kms --finalize`.",
)
LEGACY_FERNET_KEYS = _keys.several(
    "LEGACY_FERNET_KEYS",
    help="Keys of the older Fernet scheme. They open values that `keeper import-fernet` imported, until "
    "`keeper migrate to-kms` re-encrypts these.",
)
KEEPER_LOCAL_KEY_FILE = _keys.text(
    "KEEPER_LOCAL_KEY_FILE",
    unset="local.key in KEEPER_DATA_DIR, created at the first start",
    help="Key file of `local`, 32 bytes. Back it up apart from the database: without it no value opens.",
) or str(KEEPER_DATA_DIR / "local.key")
KEEPER_LOCAL_KEY_PASSPHRASE = _keys.text(
    "KEEPER_LOCAL_KEY_PASSPHRASE", help="Derives the local key from the file and this passphrase (Argon2id)."
)
KMS_KEY_ID = _keys.text("KMS_KEY_ID", help="Default KMS key of environments: a key id or an ARN.")
KMS_KEY_ALIAS = _keys.text("KMS_KEY_ALIAS", help="Default KMS key of environments, by alias.")
KMS_ALLOWED_KEYS = _keys.several(
    "KMS_ALLOWED_KEYS",
    unset="the account and region of the default key",
    help="ARNs of the keys that may wrap and unwrap. arn:aws:kms:REGION:ACCOUNT: allows all keys of an "
    "account "
    "in a region.",
)
KMS_ENCRYPTION_CONTEXT = _keys.mapping(
    "KMS_ENCRYPTION_CONTEXT",
    help="Strings added to the encryption context of every data key.",
    example='{"application":"keeper"}',
)
KMS_TIMEOUT_SECONDS = _keys.decimal(
    "KMS_TIMEOUT_SECONDS", 5.0, unit="seconds", help="Deadline of a call of KMS, retries included."
)
KMS_DEK_CACHE_TTL = _keys.whole(
    "KMS_DEK_CACHE_TTL",
    300,
    unit="seconds",
    help="Time that plain data keys and resolved aliases stay in memory.",
)
KMS_DEK_CACHE_SIZE = _keys.whole(
    "KMS_DEK_CACHE_SIZE", 1000, unit="keys", help="Number of plain data keys in memory."
)
KMS_DEK_CACHE_USES = _keys.whole(
    "KMS_DEK_CACHE_USES",
    1_000_000,
    unit="uses",
    help="Uses of a data key in memory before it is unwrapped again.",
)
KMS_DATA_KEY_MAX_AGE_DAYS = _keys.whole(
    "KMS_DATA_KEY_MAX_AGE_DAYS",
    90,
    unit="days",
    help="Age at which an environment gets a new data key for writes.",
)
ENABLE_KMS_KEY_ROTATION = _keys.switch(
    "ENABLE_KMS_KEY_ROTATION",
    default=False,
    help="Lets `keeper kms rotate` enable AWS's automatic key rotation.",
)

_aws = Group("AWS", page="sync.md")
AWS_REGION = _aws.text(
    "AWS_REGION",
    unset="AWS_DEFAULT_REGION",
    help="Region of KMS and of the target `aws` of a new installation.",
) or _aws.text("AWS_DEFAULT_REGION", help="The same, by the SDK's older name.")
# The SDK reads these for KMS. A default target stores a sealed copy.
AWS_ACCESS_KEY_ID = _aws.text(
    "AWS_ACCESS_KEY_ID",
    unset="what the AWS SDK finds: a profile, or the role of the machine",
    help="Access key for KMS. Without a session token it is also the key of the target `aws`.",
)
AWS_SECRET_ACCESS_KEY = _aws.text("AWS_SECRET_ACCESS_KEY", help="Secret of that access key.")
AWS_SESSION_TOKEN = _aws.text("AWS_SESSION_TOKEN", help="Session token of temporary credentials.")
AWS_ENDPOINT_URL_KMS = _aws.text(
    "AWS_ENDPOINT_URL_KMS",
    help="Another address for KMS, such as a VPC endpoint. Without TLS it must be on this machine or in a "
    "network "
    "of KEEPER_OUTBOUND_ALLOWED.",
)
AWS_ENDPOINT_URL_SECRETS_MANAGER = _aws.text(
    "AWS_ENDPOINT_URL_SECRETS_MANAGER",
    help="Another address of Secrets Manager for the target `aws`. Private addresses must be in "
    "KEEPER_OUTBOUND_ALLOWED.",
)
AWS_ENDPOINT_URL_STS = _aws.text("AWS_ENDPOINT_URL_STS", help="Another address of STS for that target.")
