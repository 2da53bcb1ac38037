"""One value by the protocols of other systems: its CPU against that of the REST API, and against OpenBao."""

import random
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import orjson
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from benchmarks.measuring.client import Endpoint, random_for_seconds
from benchmarks.measuring.scale import BY_NAME, CLIENTS, Scale
from benchmarks.measuring.stage import Stage
from benchmarks.measuring.table import Comparison, Row, Target
from benchmarks.measuring.turns import Competitor, Turn, compared, in_turns
from benchmarks.measuring.values import secret_name
from benchmarks.servers import Keeper, openbao_path

REST, VAULT, AWS, OPENBAO = "REST, by name", "/vault", "/aws", "OpenBao"
CPU_TARGET = Target(1.15, 1.05, at_most=True)
OPENBAO_TARGET = Target(1.0, 1.3)
_SEED = 20_261_128
_MEDIA_TYPE = "application/x-amz-json-1.1"


def run(stage: Stage, scale: Scale) -> list[Row]:
    """Measure the protocols in turns, on each database, over the smallest number of secrets."""
    rows: list[Row] = []
    for database in stage.databases:
        turns = in_turns(_competitors(stage, database, min(scale.sizes)), scale, clients=CLIENTS)
        rows += [_beside_rest(database, way, turns) for way in (VAULT, AWS)]
        work = f"one value by /vault, {CLIENTS} clients"
        rows.append(
            compared(
                work, database, turns[VAULT], OPENBAO, turns[OPENBAO], alone=False, target=OPENBAO_TARGET
            )
        )
    return rows


def _beside_rest(database: str, way: str, turns: Mapping[str, Sequence[Turn]]) -> Comparison:
    return Comparison(
        work=f"one value by {way}, {CLIENTS} clients, µs of CPU",
        database=database,
        unit="µs",
        keeper=[turn.cpu_us for turn in turns[way]],
        other=REST,
        other_figures=[turn.cpu_us for turn in turns[REST]],
        target=CPU_TARGET,
    )


def _competitors(stage: Stage, database: str, size: int) -> dict[str, Competitor]:
    keeper, openbao = stage.keeper(database, size), stage.openbao(size)
    client = keeper.client("development")
    token = client.headers["Authorization"].partition(" ")[2]
    vault = Endpoint(keeper.port, {"X-Vault-Token": token})
    vault_paths = [f"/vault/v1/secret/data/{secret_name(number)}" for number in range(size)]
    processes = partial(stage.processes_of, keeper, database)
    return {
        REST: _reader(client, client.random_reads(keeper.read_paths(BY_NAME), seed=_SEED), processes),
        VAULT: _reader(vault, vault.random_reads(vault_paths, seed=_SEED), processes),
        AWS: _reader(client, _signed_reads(keeper, token), processes),
        OPENBAO: _reader(
            openbao.client(),
            openbao.client().random_reads([openbao_path(number) for number in range(size)], seed=_SEED),
            partial(stage.processes_of, openbao),
        ),
    }


def _reader(endpoint: Endpoint, requests: Iterator[bytes], processes: "partial[set[int]]") -> Competitor:
    return Competitor(partial(random_for_seconds, endpoint.port, requests), processes)


def _signed_reads(keeper: Keeper, token: str) -> Iterator[bytes]:
    """Yield reads of random ones of a thousand secrets for ever; they were signed before."""
    found = Endpoint(keeper.port, {"Authorization": token}).call("GET", "/aws/credentials")
    credentials = Credentials(found["AccessKeyId"], found["SecretAccessKey"], found["Token"])
    draw = random.Random(_SEED)
    numbers = draw.sample(range(keeper.secrets), min(keeper.secrets, 1_000))
    requests = [_signed_read(keeper.port, credentials, secret_name(number)) for number in numbers]
    while True:
        yield draw.choice(requests)


def _signed_read(port: int, credentials: Credentials, name: str) -> bytes:
    body = orjson.dumps({"SecretId": name})
    request = AWSRequest("POST", f"http://127.0.0.1:{port}/aws", data=body)
    request.headers["Content-Type"] = _MEDIA_TYPE
    request.headers["X-Amz-Target"] = "secretsmanager.GetSecretValue"
    SigV4Auth(credentials, "secretsmanager", "eu-central-1").add_auth(request)
    headers = {"Host": f"127.0.0.1:{port}", "Content-Length": len(body), **dict(request.headers.items())}
    lines = ["POST /aws HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
