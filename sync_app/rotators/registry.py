"""The kinds of systems whose credentials Keeper rotates; adding one is a class and a line here."""

from sync_app.rotators.aws_iam.rotator import AwsIam
from sync_app.rotators.base import Rotator
from sync_app.rotators.generated.rotator import GeneratedValue
from sync_app.rotators.mysql.rotator import MySql
from sync_app.rotators.postgresql.rotator import PostgreSql

GENERATED = "generated"
ROTATORS: dict[str, type[Rotator]] = {
    "mysql": MySql,
    "postgresql": PostgreSql,
    "aws_iam": AwsIam,
    GENERATED: GeneratedValue,
}
