"""Systems to sync with, each with a backend of Keeper and another client beside it."""

import base64
import functools
import json
import re
from abc import ABC, abstractmethod
from typing import Any, ClassVar
from uuid import uuid4

import boto3
import hvac
from botocore.exceptions import ClientError

from sync_app.backends.aws.parameter_store import AwsParameterStore
from sync_app.backends.aws.secrets_manager import AwsSecretsManager
from sync_app.backends.base import Backend
from sync_app.backends.kubernetes.backend import KubernetesSecrets
from sync_app.backends.kubernetes.objects import object_name
from sync_app.backends.vault.backend import VaultKv2
from tests.aws_strict.faults import Plan
from tests.kubernetes_strict.server import TOKEN, Cluster
from tests.kubernetes_strict.store import ApiError
from tests.rest_strict.application import Refused

REGION = "eu-central-1"


class World(ABC):
    """A target with a prefix of its own; the other client's paths are those of the target."""

    kind: ClassVar[str]
    # How many bytes a value may have, and whether a deletion can be taken back.
    largest: ClassVar[int] = 65_536
    deletes_recoverably: ClassVar[bool] = True
    # Whether names keep their folders, secrets carry our mark, and values are shown.
    has_folders: ClassVar[bool] = True
    keeps_marks: ClassVar[bool] = True
    reads_values: ClassVar[bool] = True
    destination: dict[str, str]
    credentials: dict[str, str]

    def __init__(self) -> None:
        self.prefix = f"team-{uuid4().hex[:12]}"

    @abstractmethod
    def backend(self, **changes: str) -> Backend:
        """Return Keeper's side, with some fields of destination or credentials changed."""

    @abstractmethod
    def write(self, path: str, value: str) -> None:
        """Write as another client does, creating what is not there."""

    @abstractmethod
    def value(self, path: str) -> str:
        """Read as an application does."""

    @abstractmethod
    def remove(self, path: str) -> None:
        """Delete recoverably, as another client does."""

    @abstractmethod
    def label(self, path: str, key: str, text: str) -> None:
        """Add somebody else's tag."""

    @abstractmethod
    def labels(self, path: str) -> dict[str, str]:
        """Return all tags."""

    def listed(self, name: str) -> str:
        """Return the name under which a list shows a secret of Keeper's."""
        return name if self.has_folders else re.sub("[/.-]", "_", name).lower()

    def labels_or_none(self, path: str) -> dict[str, str] | None:
        """Return all tags, or None if nothing is there."""
        try:
            return self.labels(path)
        except (ClientError, hvac.exceptions.InvalidPath, ApiError, Refused):
            return None


@functools.cache
def client(service: str, url: str) -> Any:
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    return boto3.client(service, region_name=REGION, endpoint_url=url, **keys)  # type: ignore[call-overload]


class AwsWorld(World):
    """moto behind the strict layer; the other client goes to moto directly."""

    kind = "aws_secrets_manager"

    def __init__(self, strict_url: str, moto_url: str, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        self.destination = {
            "region": REGION,
            "prefix": self.prefix,
            "endpoint": strict_url,
            "sts_endpoint": strict_url,
        }
        self.credentials = {"access_key_id": "testing", "secret_access_key": "testing"}
        self.strict_url = strict_url
        self.client = client("secretsmanager", moto_url)
        self.kms = client("kms", moto_url)

    def backend(self, **changes: str) -> Backend:
        return AwsSecretsManager(destination=self.destination | changes, credentials=self.credentials)

    def write(self, path: str, value: str) -> None:
        try:
            made = self.client.put_secret_value(SecretId=path, SecretString=value)["VersionId"]
        except self.client.exceptions.ResourceNotFoundException:
            self.client.create_secret(Name=path, SecretString=value)
            return
        # Where the label was moved before, moto leaves it on that version as well; AWS does not.
        for version, labels in self.client.describe_secret(SecretId=path)["VersionIdsToStages"].items():
            if version != made and "AWSCURRENT" in labels:
                self.client.update_secret_version_stage(
                    SecretId=path, VersionStage="AWSCURRENT", RemoveFromVersionId=version
                )

    def value(self, path: str) -> str:
        return str(self.client.get_secret_value(SecretId=path, VersionStage="AWSCURRENT")["SecretString"])

    def remove(self, path: str) -> None:
        self.client.delete_secret(SecretId=path)

    def label(self, path: str, key: str, text: str) -> None:
        self.client.tag_resource(SecretId=path, Tags=[{"Key": key, "Value": text}])

    def labels(self, path: str) -> dict[str, str]:
        tags = self.client.describe_secret(SecretId=path).get("Tags", [])
        return {tag["Key"]: tag["Value"] for tag in tags}


class ParameterWorld(World):
    """Parameter Store of moto behind the strict layer; the other client goes to moto directly."""

    kind = "aws_parameter_store"
    largest = 8192
    deletes_recoverably = False

    def __init__(self, strict_url: str, moto_url: str, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        self.destination = {
            "region": REGION,
            "prefix": self.prefix,
            "tier": "advanced",
            "endpoint": strict_url,
            "sts_endpoint": strict_url,
        }
        self.credentials = {"access_key_id": "testing", "secret_access_key": "testing"}
        self.client = client("ssm", moto_url)

    def backend(self, **changes: str) -> Backend:
        return AwsParameterStore(destination=self.destination | changes, credentials=self.credentials)

    def write(self, path: str, value: str) -> None:
        self.client.put_parameter(Name=f"/{path}", Value=value, Type="SecureString", Overwrite=True)

    def value(self, path: str) -> str:
        return str(self.client.get_parameter(Name=f"/{path}", WithDecryption=True)["Parameter"]["Value"])

    def remove(self, path: str) -> None:
        self.client.delete_parameter(Name=f"/{path}")

    def label(self, path: str, key: str, text: str) -> None:
        self.client.add_tags_to_resource(
            ResourceType="Parameter", ResourceId=f"/{path}", Tags=[{"Key": key, "Value": text}]
        )

    def labels(self, path: str) -> dict[str, str]:
        reply = self.client.list_tags_for_resource(ResourceType="Parameter", ResourceId=f"/{path}")
        return {tag["Key"]: tag["Value"] for tag in reply["TagList"]}


class KubernetesWorld(World):
    """A strict stand-in of an API server; the other client changes its store directly."""

    kind = "kubernetes"
    deletes_recoverably = False

    def __init__(self, url: str, cluster: Cluster) -> None:
        super().__init__()
        self.cluster = cluster
        self.destination = {"address": url, "namespace": "default", "prefix": self.prefix}
        self.credentials = {"token": TOKEN}

    def backend(self, **changes: str) -> Backend:
        return KubernetesSecrets(destination=self.destination | changes, credentials=self.credentials)

    def write(self, path: str, value: str) -> None:
        self.put(path, {"value": value})

    def put(self, path: str, content: dict[str, str]) -> None:
        """Write keys as `kubectl` does; the others go."""
        data: dict[str, Any] = {
            key: base64.b64encode(text.encode()).decode() for key, text in content.items()
        }
        found = self.cluster.store.secrets.get(("default", object_name(path)))
        if found is not None:
            patch = dict.fromkeys(found.get("data") or {}) | data
            self.cluster.store.merge("default", object_name(path), {"data": patch}, "kubectl")
            return
        metadata = {"name": object_name(path)}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}
        self.cluster.store.create("default", body, "kubectl")

    def content(self, path: str) -> dict[str, str]:
        """Read all keys."""
        data = self.cluster.store.read("default", object_name(path)).get("data") or {}
        return {key: base64.b64decode(text).decode() for key, text in data.items()}

    def value(self, path: str) -> str:
        content = self.content(path)
        return content["value"] if set(content) == {"value"} else json.dumps(content, sort_keys=True)

    def remove(self, path: str) -> None:
        self.cluster.store.delete("default", object_name(path), {})

    def label(self, path: str, key: str, text: str) -> None:
        patch = {"metadata": {"labels": {key: text}}}
        self.cluster.store.merge("default", object_name(path), patch, "kubectl")

    def labels(self, path: str) -> dict[str, str]:
        return dict(self.cluster.store.read("default", object_name(path))["metadata"].get("labels") or {})


class VaultWorld(World):
    """A real OpenBao."""

    kind = "vault_kv2"

    def __init__(self, url: str, token: str) -> None:
        super().__init__()
        self.url, self.token = url, token
        self.destination = {"address": url, "prefix": self.prefix}
        self.credentials = {"token": token}
        self.client = hvac.Client(url=url, token=token)
        self.kv = self.client.secrets.kv.v2

    def backend(self, **changes: str) -> Backend:
        given = self.destination | self.credentials | changes
        secret = {field.name for field in VaultKv2.credential_fields}
        return VaultKv2(
            destination={key: text for key, text in given.items() if key not in secret},
            credentials={key: text for key, text in given.items() if key in secret},
        )

    def write(self, path: str, value: str) -> None:
        self.kv.create_or_update_secret(path, {"value": value}, mount_point="secret")

    def value(self, path: str) -> str:
        content = self.content(path)
        text = content.get("value")
        return text if isinstance(text, str) and len(content) == 1 else json.dumps(content, sort_keys=True)

    def put(self, path: str, content: dict[str, Any]) -> None:
        """Write keys as another client does."""
        self.kv.create_or_update_secret(path, content, mount_point="secret")

    def content(self, path: str) -> dict[str, Any]:
        """Read all keys."""
        reply = self.kv.read_secret_version(path, mount_point="secret", raise_on_deleted_version=True)
        content: dict[str, Any] = reply["data"]["data"]
        return content

    def remove(self, path: str) -> None:
        self.kv.delete_latest_version_of_secret(path, mount_point="secret")

    def label(self, path: str, key: str, text: str) -> None:
        self.kv.update_metadata(path, custom_metadata={key: text}, mount_point="secret")

    def labels(self, path: str) -> dict[str, str]:
        reply = self.kv.read_secret_metadata(path, mount_point="secret")
        return dict(reply["data"]["custom_metadata"] or {})
