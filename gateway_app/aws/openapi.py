"""The protocol of AWS in the OpenAPI document."""

from collections.abc import Mapping
from typing import Final

from django.views import View

from core.http.json import MEDIA_TYPE
from gateway_app.aws.answers import MEDIA_TYPE as AWS_MEDIA_TYPE
from gateway_app.aws.sts import OPERATIONS as STS_OPERATIONS
from gateway_app.aws.views import OPERATIONS
from gateway_app.protocol import (
    ANY,
    FLAG,
    NUMBER,
    TEXT,
    Document,
    answer,
    content,
    failure,
    list_of,
    object_of,
)

TAG: Final = "AWS-compatible"
_FILTERS: Final = {"Filters": list_of(object_of(Key=TEXT, Values=list_of(TEXT)))}
_PAGE: Final = {**_FILTERS, "MaxResults": NUMBER, "NextToken": TEXT}
_AWS_BODIES: Final[Mapping[str, Document]] = {
    "GetSecretValue": object_of("SecretId", SecretId=TEXT, VersionId=TEXT, VersionStage=TEXT),
    "BatchGetSecretValue": object_of(SecretIdList=list_of(TEXT), **_PAGE),
    "DescribeSecret": object_of("SecretId", SecretId=TEXT),
    "ListSecretVersionIds": object_of(
        "SecretId", SecretId=TEXT, MaxResults=NUMBER, NextToken=TEXT, IncludeDeprecated=FLAG
    ),
    "GetResourcePolicy": object_of("SecretId", SecretId=TEXT),
    "GetRandomPassword": object_of(
        PasswordLength=NUMBER, ExcludeCharacters=TEXT, ExcludeNumbers=FLAG, ExcludePunctuation=FLAG,
        ExcludeUppercase=FLAG, ExcludeLowercase=FLAG, IncludeSpace=FLAG, RequireEachIncludedType=FLAG,
    ),
    "ListSecrets": object_of(SortOrder={"type": "string", "enum": ["asc", "desc"]}, **_PAGE),
}  # fmt: skip
COMPONENTS: Final[Mapping[str, Document]] = {
    "schemas": {"AwsError": object_of("__type", __type=TEXT, Message=TEXT, message=TEXT)},
    "securitySchemes": {
        "awsSignature": {
            "type": "apiKey", "in": "header", "name": "Authorization",
            "description": "Signature Version 4 by the key of a session.",
        },
    },
}  # fmt: skip


def describe(name: str, _view: type[View], _method: str) -> Document:
    """Return what a method of a route takes and answers."""
    described: Document = {"tags": [TAG]}
    if name == "aws-credentials":
        session = object_of(AccessKeyId=TEXT, SecretAccessKey=TEXT, Token=TEXT, Expiration=TEXT)
        refused = answer(MEDIA_TYPE, object_of(code=TEXT, message=TEXT), "The refusal.")
        answers = {"200": answer(MEDIA_TYPE, session), "default": refused}
        return described | {"security": [{"serviceToken": []}], "responses": answers}
    if name.startswith("aws-sts"):
        return described | _of_sts()
    target = {"type": "string", "enum": [f"secretsmanager.{name}" for name in OPERATIONS]}
    bodies = [_AWS_BODIES[name] | {"title": name} for name in OPERATIONS]
    return described | {
        "security": [{"awsSignature": []}],
        "parameters": [{"name": "X-Amz-Target", "in": "header", "required": True, "schema": target}],
        "requestBody": content(AWS_MEDIA_TYPE, {"anyOf": bodies}) | {"required": True},
        "responses": {
            "200": answer(AWS_MEDIA_TYPE, ANY),
            "default": failure("AwsError", AWS_MEDIA_TYPE),
        },
    }


def _of_sts() -> Document:
    members = object_of(
        "Action", "Version",
        Action={"type": "string", "enum": [*STS_OPERATIONS]}, Version=TEXT, RoleArn=TEXT,
        RoleSessionName=TEXT, WebIdentityToken=TEXT, DurationSeconds=NUMBER,
    )  # fmt: skip
    return {
        # A workload's token is its own proof; who calls is known by a signature.
        "security": [{}, {"awsSignature": []}],
        "requestBody": content("application/x-www-form-urlencoded", members) | {"required": True},
        "responses": {
            "200": answer(
                "text/xml",
                TEXT,
                "AssumeRoleWithWebIdentityResponse, with the session's credentials, or "
                "GetCallerIdentityResponse.",
            ),
            "default": answer("text/xml", TEXT, "ErrorResponse, with its code."),
        },
    }
