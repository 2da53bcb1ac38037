"""Makes the images that the Dockerfile and the compositions ask for, from Debian's packages, under their names.

They stand in for those of a registry where none can be reached: the same Debian, the same major versions where
Debian has them, and small entrypoints that do what the compositions rely on.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from tools.images.engine import Engine

PYTHON: Final = "docker.io/library/python:3.13-slim-trixie"
_SERVERS: Final = {
    "docker.io/library/mariadb:11.8": "mariadb-entrypoint",
    "docker.io/library/redis:8": "redis-entrypoint",
    "docker.io/library/nginx:1.29": "nginx-entrypoint",
}
_MIRROR: Final = "http://deb.debian.org/debian"
_PATH: Final = "ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
_SOURCES: Final = f"""\
deb {_MIRROR} trixie main
deb {_MIRROR} trixie-updates main
deb {_MIRROR}-security trixie-security main
"""
# As Docker's images of Debian have it: archives are not kept.
_CLEAN: Final = 'DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };\n'
_PROGRAMS: Final = {
    "mariadb-entrypoint": """\
#!/bin/sh
set -e
mkdir -p /run/mysqld
chown -R mysql /run/mysqld /var/lib/mysql
[ -d /var/lib/mysql/mysql ] || mariadb-install-db --user=mysql --auth-root-authentication-method=socket >/dev/null
cat >/run/mysqld/init.sql <<SQL
CREATE DATABASE IF NOT EXISTS $MARIADB_DATABASE;
CREATE USER IF NOT EXISTS $MARIADB_USER IDENTIFIED BY '$MARIADB_PASSWORD';
GRANT ALL ON $MARIADB_DATABASE.* TO $MARIADB_USER;
SQL
exec mariadbd --user=mysql --bind-address=0.0.0.0 --init-file=/run/mysqld/init.sql "$@"
""",
    "healthcheck.sh": '#!/bin/sh\nexec mariadb --user=root --execute="SELECT 1" >/dev/null\n',
    # As the image of a registry has it: other machines may ask without a password.
    "redis-entrypoint": '#!/bin/sh\nexec "$@" --protected-mode no\n',
    "nginx-entrypoint": """\
#!/bin/sh
set -e
rm -f /etc/nginx/sites-enabled/*
for each in /etc/nginx/templates/*.template; do
    sed "s|\\${KEEPER_HOST}|$KEEPER_HOST|g" "$each" >"/etc/nginx/conf.d/$(basename "$each" .template)"
done
exec nginx -g 'daemon off;'
""",
}


def make_bases(engine: Engine) -> None:
    """Make what is not here yet. Raises Failed, or CalledProcessError for a step inside the new root."""
    if engine.has(PYTHON) and all(map(engine.has, _SERVERS)):
        return
    with tempfile.TemporaryDirectory(prefix="base-") as folder:
        root = Path(folder) / "root"
        engine.run(
            "debootstrap",
            "--variant=minbase",
            "--include=ca-certificates",
            "trixie",
            root,
            _MIRROR,
            seconds=900,
        )
        _prepare(root)
        servers = Path(folder) / "servers"
        engine.run("cp", "-a", root, servers)
        _install(root, "python3", "python3-venv", "python3-dev")
        # Where the image of a registry has its Python.
        _inside(root, "python3", "-m", "venv", "/usr/local")
        _import(engine, root, PYTHON)
        _install(servers, "mariadb-server", "redis-server", "nginx")
        shutil.rmtree(servers / "var/lib/mysql")
        (servers / "var/lib/mysql").mkdir()
        for name, text in _PROGRAMS.items():
            program = servers / "usr/local/bin" / name
            program.write_text(text)
            program.chmod(0o755)
        for image, entrypoint in _SERVERS.items():
            _import(engine, servers, image, entrypoint)


def _prepare(root: Path) -> None:
    (root / "etc/apt/sources.list").write_text(_SOURCES)
    (root / "etc/apt/apt.conf.d/docker-clean").write_text(_CLEAN)
    for name in ("etc/resolv.conf", "etc/hosts", "etc/ssl/certs/ca-certificates.crt"):
        shutil.copy(Path("/") / name, root / name)
    # Packages start no servers while they are installed.
    policy = root / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)


def _install(root: Path, *packages: str) -> None:
    _inside(root, "apt-get", "update", "-q")
    _inside(root, "apt-get", "install", "-q", "--yes", "--no-install-recommends", *packages)
    shutil.rmtree(root / "var/lib/apt/lists")


def _inside(root: Path, *command: str) -> None:
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "DEBIAN_FRONTEND": "noninteractive",
        "LC_ALL": "C",
    }
    subprocess.run(
        ["chroot", root, *command], env=environment, check=True, stdout=subprocess.DEVNULL, timeout=900
    )


def _import(engine: Engine, root: Path, image: str, entrypoint: str = "") -> None:
    archive = root.with_suffix(".tar")
    engine.run("tar", "-C", root, "-c", "-f", archive, ".")
    changes = [_PATH, *([f'ENTRYPOINT ["{entrypoint}"]'] if entrypoint else [])]
    engine.podman("import", *(f"--change={change}" for change in changes), archive, image)
    archive.unlink()
