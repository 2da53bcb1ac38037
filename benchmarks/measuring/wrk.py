"""The load generator wrk as a second opinion: random paths, chosen by a script in Lua that is made here."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measuring.client import Endpoint

_PROGRAM = "wrk"
# The headers come by a variable: the token of a service is written to no file.
_HEADERS = "BENCHMARK_HEADERS"
_SCRIPT = """
local paths = {}
for path in io.lines("%(paths)s") do paths[#paths + 1] = path end
local headers = {}
for name, value in string.gmatch(os.getenv("%(variable)s"), "([^:\\n]+): ([^\\n]+)") do
  headers[name] = value
end
math.randomseed(os.time())

function request()
  return wrk.format("GET", paths[math.random(#paths)], headers)
end

function done(summary, latency)
  local failed = summary.errors
  io.write(string.format(
    '\\n{"count": %%d, "microseconds": %%d, "median": %%f, "failed": %%d}\\n',
    summary.requests, summary.duration, latency:percentile(50),
    failed.connect + failed.read + failed.write + failed.status + failed.timeout))
end
"""


class WrkFailed(RuntimeError):
    """Wrk is not installed, or some of its requests had no success."""


@dataclass(frozen=True)
class WrkLoad:
    """What wrk reports."""

    count: int
    per_second: float
    median_ms: float


def send(endpoint: Endpoint, paths: Sequence[str], clients: int, seconds: float) -> WrkLoad:
    """Read random ones of these paths by one thread of wrk. Raises WrkFailed.

    Wrk counts whole seconds, so that it sends for one at least.
    """
    if shutil.which(_PROGRAM) is None:
        raise WrkFailed("wrk is not installed. Run: apt-get install wrk")
    with tempfile.TemporaryDirectory(prefix="keeper-wrk-") as directory:
        listed, script = Path(directory, "paths"), Path(directory, "reads.lua")
        listed.write_text("".join(f"{path}\n" for path in paths))
        script.write_text(_SCRIPT % {"paths": listed, "variable": _HEADERS})
        duration = f"{max(1, round(seconds))}s"
        command = [_PROGRAM, "-t1", f"-c{clients}", f"-d{duration}", "-s", str(script)]
        headers = "\n".join(f"{name}: {value}" for name, value in endpoint.headers.items())
        done = subprocess.run(
            [*command, f"http://127.0.0.1:{endpoint.port}/"],
            env={**os.environ, _HEADERS: headers}, capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode:
        raise WrkFailed(f"wrk exited with {done.returncode}: {done.stdout[-500:]}{done.stderr[-500:]}")
    return parsed(done.stdout)


def parsed(output: str) -> WrkLoad:
    """Return what the script printed last. Raises WrkFailed if a request had no success."""
    found = json.loads(output.strip().splitlines()[-1])
    if found["failed"]:
        raise WrkFailed(f"{found['failed']} of {found['count']} requests failed")
    seconds = found["microseconds"] / 1e6
    return WrkLoad(found["count"], found["count"] / seconds, found["median"] / 1000)
