"""Starts moto, OpenBao and a Keeper of its own, seeds them, prints what to click, and stops everything on Ctrl-C.

Nothing is left behind and nothing outside this machine is reached: data lie in a temporary
directory, and every setting that could name a real server is given here.
"""

import os
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.servers.__main__ import Stopped, installation, run, running, stops
from tests.servers.server import MissingServer, ServerFailed, free_port

USERNAME = "demo"


def settings(directory: Path, password: str, port: int) -> dict[str, str]:
    """Return the settings of the demonstration's Keeper."""
    return {
        **installation(directory / "var"),
        "ALLOWED_HOSTS": "localhost,127.0.0.1",
        "KEEPER_ADMIN_USERNAME": USERNAME,
        "KEEPER_ADMIN_PASSWORD": password,
        "KEEPER_OUTBOUND_ALLOWED": "127.0.0.0/8",
        "KEEPER_LOG_LEVEL": "WARNING",
        "KEEPER_URL": f"http://localhost:{port}",
        "EMAIL_HOST": "",
    }


def explain(port: int, password: str, second_password: str, paths: dict[str, str]) -> str:
    """Return what to click, one line each."""
    site = f"http://localhost:{port}"
    return f"""
Keeper runs at {site} with AWS Secrets Manager (moto) and Vault (OpenBao) beside it.
Sign in as {USERNAME} with the password {password}
and, to approve what {USERNAME} asks, as lead with the password {second_password}

 1. The plan      {site}{paths["plan"]}
                  It lists every change. No changes made yet.
                  app/config is JSON: "show changed keys" names the keys that change. It is logged.
 2. A conflict    search/index-key changed on both sides: choose "Use Keeper's value" or "Use the target's value".
 3. Apply         "Apply … changes", and watch the lines take their marks.
 4. Drift         payments/stripe-key was changed in Vault directly: it is shown and not changed.
 5. Unmanaged     legacy/report-key belongs to another program: Keeper never changes it.
 6. Import        {site}{paths["adopt"]}
                  mail/smtp exists on both sides: import it with "Only if identical".
 7. Sync targets  {site}{paths["secret"]} shows where one secret is.
 8. Alerts        {site}{paths["notifications"]}

Stop it with Ctrl-C. All data is deleted: it is in a temporary folder, and not in KEEPER_DATA_DIR, which make run keeps.
"""


def seeded(environment: dict[str, str]) -> dict[str, str]:
    """Fill the systems and Keeper; return the paths of the pages to look at."""
    done = subprocess.run(
        [sys.executable, "-m", "tools.demo.seed"],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return dict(line.split(" ", 1) for line in done.stdout.splitlines() if line)


def main() -> int:
    """Run the demonstration until it is stopped."""
    stops.heed()
    port, password = int(os.environ.get("PORT") or free_port()), secrets.token_urlsafe(12)
    second_password = secrets.token_urlsafe(12)
    with tempfile.TemporaryDirectory(prefix="keeper-demo-", ignore_cleanup_errors=True) as directory:
        environment = settings(Path(directory), password, port)
        environment["DEMO_SECOND_PASSWORD"] = second_password
        try:
            with running(["moto", "openbao"], Path(directory)) as addresses:
                environment |= addresses
                paths = seeded(environment)
                sys.stdout.write(explain(port, password, second_password, paths))
                sys.stdout.flush()
                return run([sys.executable, "manage.py", "run", "--port", str(port)], environment)
        except Stopped:
            return 0
        except (MissingServer, ServerFailed, subprocess.CalledProcessError) as error:
            sys.stderr.write(f"make demo: {error}\n")
            return 1


if __name__ == "__main__":
    sys.exit(main())
