"""The chart of deploy/helm: linted and rendered by helm, judged by the schemas of Kubernetes, and as safe as promised."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from core.config.variables import GROUPS
from keeper_project.runtime.supervisor import STOP_SECONDS
from keeper_project.runtime.worker.celery_programs import FINISH_SECONDS
from tests.servers.packages.helm import helm, kubernetes_validate

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy" / "helm" / "keeper"
SAMPLES = ROOT / "deploy" / "kubernetes"
# The oldest that the chart takes, and the newest with schemas.
VERSIONS = ("1.29.0", "1.37.0")
OLDEST_PRODUCTION = ["--set", "host=keeper.example.com,existingSecret=keeper,keys.kms.region=eu-central-1"]

# kubernetes-validate has no schemas of extensions: what each may hold here, two levels deep.
EXTENSIONS: dict[str, dict[str, set[str]]] = {
    "gateway.networking.k8s.io/v1 HTTPRoute": {"spec": {"parentRefs", "hostnames", "rules"}},
    "monitoring.coreos.com/v1 ServiceMonitor": {"spec": {"selector", "endpoints"}},
    "monitoring.coreos.com/v1 PrometheusRule": {"spec": {"groups"}},
    "external-secrets.io/v1 SecretStore": {"spec": {"provider"}},
    "external-secrets.io/v1 ExternalSecret": {"spec": {"refreshInterval", "secretStoreRef", "target", "data"}},
    "secrets.hashicorp.com/v1beta1 VaultConnection": {"spec": {"address"}},
    "secrets.hashicorp.com/v1beta1 VaultAuth": {"spec": {"vaultConnectionRef", "method", "mount", "kubernetes"}},
    "secrets.hashicorp.com/v1beta1 VaultStaticSecret": {
        "spec": {"vaultAuthRef", "type", "mount", "path", "refreshAfter", "destination", "rolloutRestartTargets"}
    },
}  # fmt: skip

Manifest = dict[str, Any]


@cache
def matrix() -> dict[str, str]:
    """Return what helm makes of each file of values; the release has a name of its own."""
    found = {}
    for values in sorted((CHART / "ci").glob("*-values.yaml")):
        done = helm("template", "prod", CHART, "--namespace", "security", "--values", values)
        assert done.returncode == 0, f"{values.name}: {done.stderr}"
        found[values.name.removesuffix("-values.yaml")] = done.stdout
    return found


def manifests(name: str) -> list[Manifest]:
    return [each for each in yaml.safe_load_all(matrix()[name]) if each]


def only(name: str, kind: str, ending: str) -> Manifest:
    (found,) = (
        each
        for each in manifests(name)
        if each["kind"] == kind and str(each["metadata"]["name"]).endswith(ending)
    )
    return found


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    for name in matrix():
        for each in manifests(name):
            if template := each.get("spec", {}).get("template"):
                yield f"{name}: {each['kind']} {each['metadata']['name']}", template["spec"]


def test_helm_finds_no_fault_in_the_chart() -> None:
    values = [each for file in (CHART / "ci").glob("*.yaml") for each in ("--values", file)]
    for asked in ([], values):
        done = helm("lint", "--strict", CHART, *OLDEST_PRODUCTION, *asked)
        assert ("required" in done.stdout) or done.returncode == 0, done.stdout
    assert done.returncode == 0, done.stdout


def test_every_manifest_fits_the_schemas_of_kubernetes(tmp_path: Path) -> None:
    files = [tmp_path / f"{name}.yaml" for name in matrix()]
    for file, text in zip(files, matrix().values(), strict=True):
        file.write_text(text)
    done = kubernetes_validate([*files, *sorted(SAMPLES.glob("*.yaml"))], *VERSIONS)
    assert done.returncode == 0, "\n".join(line for line in done.stdout.splitlines() if "passed" not in line)
    # What has no schema there is judged here.
    unknown = {
        line.split("kind ")[1].split(" ")[0]
        for line in (done.stdout + done.stderr).splitlines()
        if "find schema" in line
    }
    assert unknown == {key.split()[1] for key in EXTENSIONS}
    rendered = [each for name in matrix() for each in manifests(name)]
    samples = [each for file in SAMPLES.glob("*.yaml") for each in yaml.safe_load_all(file.read_text())]
    seen = set()
    for each in (*rendered, *samples):
        key = f"{each['apiVersion']} {each['kind']}"
        if key in EXTENSIONS:
            seen.add(key)
            assert each.keys() == {"apiVersion", "kind", "metadata", *EXTENSIONS[key]}, key
            for part, fields in EXTENSIONS[key].items():
                assert each[part].keys() <= fields, key
    assert seen == EXTENSIONS.keys()


def test_values_that_cannot_work_are_refused_with_the_reason() -> None:
    production = ["--values", str(CHART / "ci" / "production-values.yaml")]
    refused = {
        "host is required": ["--set", "host="],
        "existingSecret is required": ["--set", "existingSecret="],
        "auditSinks is required": ["--set", "auditSinks=null"],
        "keys.kms.region is required": ["--set", "keys.kms.region="],
        "keys.local.existingSecret is required": ["--set", "keys.backend=local"],
        "httpRoute.parentRefs is required": ["--set", "httpRoute.enabled=true,networkPolicy.enabled=false"],
        "networkPolicy.webFrom is required": ["--set", "ingress.enabled=true"],
        "serviceAccount.name is required": ["--set", "serviceAccount.create=false"],
        # By the schema: what is misspelled, and too short an end.
        "additional properties 'replicas' not allowed": ["--set", "replicas=3"],
        "/web/terminationGracePeriodSeconds": ["--set", "web.terminationGracePeriodSeconds=10"],
        "/serviceAccount/awsRoleArn": ["--set", "serviceAccount.awsRoleArn=keeper"],
    }
    for reason, values in refused.items():
        done = helm("template", "prod", CHART, *production, *values)
        assert done.returncode != 0, reason
        assert reason in done.stderr


def test_the_schema_knows_each_value_and_no_other() -> None:
    def agree(values: dict[str, Any], schema: dict[str, Any], at: str) -> None:
        known = schema.get("properties", {})
        if schema.get("additionalProperties") is False and "patternProperties" not in schema:
            assert values.keys() == known.keys() - {"global"}, at
        for name, value in values.items():
            if isinstance(value, dict) and name in known:
                agree(value, known[name], f"{at}.{name}")

    agree(
        yaml.safe_load((CHART / "values.yaml").read_text()),
        json.loads((CHART / "values.schema.json").read_text()),
        "",
    )


def test_every_container_has_no_rights_and_nothing_to_write_but_its_volumes() -> None:
    seen = 0
    for at, pod in pods():
        assert pod["securityContext"]["runAsNonRoot"] is True, at
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, at
        assert pod["automountServiceAccountToken"] is False, at
        user = (ROOT / "Dockerfile").read_text().split("USER ")[1].split("\n")[0]
        assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"] == int(user), at
        for container in (*pod["containers"], *pod.get("initContainers", [])):
            seen += 1
            assert container["securityContext"] == {
                "readOnlyRootFilesystem": True,
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            }, at
            assert container["resources"]["requests"]
            assert container["resources"]["limits"]["memory"]
            mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
            assert {"/tmp", "/var/lib/keeper/data"} <= mounted, at
    assert seen > 15


def test_no_credential_is_a_variable_or_a_value_of_the_chart() -> None:
    assert not [each for name in matrix() for each in manifests(name) if each["kind"] == "Secret"]
    declared = {variable.name for group in GROUPS for variable in group.variables}
    for at, pod in pods():
        for container in pod["containers"]:
            names = {variable["name"] for variable in container["env"]}
            assert not names & {"SECRET_KEY", "KEEPER_TOKEN_PEPPERS", "DATABASE_URL", "REDIS_URL"}, at
            assert all("valueFrom" not in variable for variable in container["env"]), at
            assert {
                name.removesuffix("_FILE") if name not in declared else name for name in names
            } <= declared, at
            for variable in container["env"]:
                if variable["name"] not in declared:
                    folder, _, key = variable["value"].rpartition("/")
                    assert folder == "/etc/keeper/secrets"
                    (volume,) = (each for each in pod["volumes"] if each["name"] == "secrets")
                    paths = [i["path"] for s in volume["projected"]["sources"] for i in s["secret"]["items"]]
                    assert key in paths, at


def test_web_pods_are_probed_at_the_routes_of_health_and_end_within_their_grace() -> None:
    from keeper_project.http.middleware import PROBES  # as the server answers them

    web = only("production", "Deployment", "-web")["spec"]["template"]["spec"]
    (container,) = web["containers"]
    probed = {
        container[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert probed <= PROBES.keys()
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    waits = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert web["terminationGracePeriodSeconds"] >= waits + STOP_SECONDS
    worker = only("production", "Deployment", "-worker")["spec"]["template"]["spec"]
    assert worker["terminationGracePeriodSeconds"] >= FINISH_SECONDS
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]
    least = schema["web"]["properties"]["terminationGracePeriodSeconds"]["minimum"]
    assert least >= waits + STOP_SECONDS


def test_commands_are_those_of_the_composition() -> None:
    composition = yaml.safe_load((ROOT / "docker-compose.prod.yml").read_text())["services"]
    for kind in ("worker", "beat"):
        (container,) = only("production", "Deployment", f"-{kind}")["spec"]["template"]["spec"]["containers"]
        service = composition[kind]
        assert container["command"] == service["entrypoint"]
        assert container["args"] == service["command"]
    (container,) = only("production", "Deployment", "-web")["spec"]["template"]["spec"]["containers"]
    assert container["args"] == composition["keeper"]["command"]


def test_migrations_come_first_and_pods_wait_for_them() -> None:
    job = only("production", "Job", "-migration")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert job["spec"]["template"]["spec"]["containers"][0]["args"] == ["init-db"]
    # What the job needs is there before it: hooks run before the release's other objects.
    account = only("production", "ServiceAccount", "-migration")
    policy = only("production", "NetworkPolicy", "-migration")
    for each in (account, policy):
        assert each["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
        assert int(each["metadata"]["annotations"]["helm.sh/hook-weight"]) < 0
    assert job["spec"]["template"]["spec"]["serviceAccountName"] == account["metadata"]["name"]
    for kind in ("web", "worker", "beat"):
        (gate,) = only("production", "Deployment", f"-{kind}")["spec"]["template"]["spec"]["initContainers"]
        assert "keeper migrate --check" in gate["command"][2]
    assert not [each for each in manifests("local-keys") if each["kind"] == "Job"]


def test_roles_of_clouds_reach_the_pods_and_the_job() -> None:
    accounts = [each for each in manifests("everything") if each["kind"] == "ServiceAccount"]
    assert len(accounts) == 2
    for each in accounts:
        annotations = each["metadata"]["annotations"]
        assert annotations["eks.amazonaws.com/role-arn"] == "arn:aws:iam::111122223333:role/keeper"
        assert annotations["iam.gke.io/gcp-service-account"]
    web = only("everything", "Deployment", "-web")["spec"]["template"]["metadata"]
    assert web["labels"]["azure.workload.identity/use"] == "true"
    assert {each["spec"]["template"]["spec"]["serviceAccountName"]
            for each in manifests("local-keys") if each["kind"] == "Deployment"} == {"existing"}  # fmt: skip


def test_services_choose_their_pods_and_monitoring_finds_their_ports() -> None:
    for name in matrix():
        ports = {}
        for service in (each for each in manifests(name) if each["kind"] == "Service"):
            (template,) = (
                each["spec"]["template"]
                for each in manifests(name)
                if each["kind"] in {"Deployment", "StatefulSet"}
                and service["spec"]["selector"].items()
                <= each["spec"]["template"]["metadata"]["labels"].items()
            )
            (port,) = service["spec"]["ports"]
            (container,) = template["spec"]["containers"]
            assert port["targetPort"] in {each["name"] for each in container["ports"]}
            ports[port["name"]] = service["metadata"]["labels"]
        for monitor in (each for each in manifests(name) if each["kind"] == "ServiceMonitor"):
            assert [each["port"] for each in monitor["spec"]["endpoints"]] == list(ports)
            for labels in ports.values():
                assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_the_rules_and_the_dashboard_are_those_of_the_files() -> None:
    rule = only("everything", "PrometheusRule", "")
    assert rule["spec"] == yaml.safe_load((CHART / "files" / "prometheus-alerts.yml").read_text())
    dashboard = only("everything", "ConfigMap", "-dashboard")["data"]["keeper.json"]
    assert json.loads(dashboard) == json.loads((CHART / "files" / "dashboard.json").read_text())


def test_the_port_of_pages_opens_for_those_that_are_named_alone() -> None:
    web = only("everything", "NetworkPolicy", "-web")["spec"]
    (rule,) = web["ingress"]
    assert len(rule["from"]) == 2
    assert web["policyTypes"] == ["Ingress", "Egress"]
    # A rule without peers, or with an empty list of them, lets in every pod.
    for component in ("-web", "-worker"):
        (rule,) = only("production", "NetworkPolicy", component)["spec"]["ingress"]
        assert rule["from"] == [{"podSelector": {}}]
    beat = only("everything", "NetworkPolicy", "-beat")["spec"]
    assert beat["ingress"] == []
    egress = [port["port"] for rule in beat["egress"] for port in rule["ports"]]
    assert egress == [53, 53, 443, 3307, 6380, 8200]
