# Keeper for production: everything in requirements.txt, run by a user without rights.
# docker build --tag keeper .
# The bases are named by tag: a build that must be repeatable names them by the digest that its registry gives.

FROM python:3.13-slim-trixie AS build
WORKDIR /build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc pkg-config libmariadb-dev \
    && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/keeper/venv
ENV PATH=/opt/keeper/venv/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
# With traces: --build-arg REQUIREMENTS=requirements-otel.txt
ARG REQUIREMENTS=requirements.txt
COPY requirements.txt requirements-otel.txt deploy/image/slim ./
# What installs packages stays out of the image that runs.
RUN pip install --require-hashes -r "$REQUIREMENTS" \
    && pip uninstall --yes setuptools pip \
    && ./slim /opt/keeper/venv/lib/python3*/site-packages

FROM python:3.13-slim-trixie
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libmariadb3 xmlsec1 \
    && rm -rf /var/lib/apt/lists/* \
    && pip uninstall --yes --root-user-action ignore wheel setuptools pip \
    && useradd --system --uid 10001 --home-dir /var/lib/keeper --create-home keeper
WORKDIR /opt/keeper/app
COPY --from=build /opt/keeper/venv /opt/keeper/venv
COPY manage.py pyproject.toml README.md LICENSE ./
COPY core core
COPY audit_app audit_app
COPY environments_app environments_app
COPY secrets_app secrets_app
COPY sync_app sync_app
COPY gateway_app gateway_app
COPY operations_app operations_app
COPY keeper_project keeper_project
COPY client/kpr client/kpr
COPY static static
COPY templates templates
COPY deploy/image/bill_of_materials.py /tmp/
# Compiled once, because nothing can be written later: a start takes seconds less.
# What the image holds: /usr/share/doc/keeper/sbom.cdx.json (CycloneDX) and LICENCES.txt.
RUN /opt/keeper/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/keeper/app \
    && /opt/keeper/venv/bin/python /tmp/bill_of_materials.py /usr/share/doc/keeper \
    && rm /tmp/bill_of_materials.py
# The command `keeper`, without building a wheel: the code is here already.
RUN printf '#!/bin/sh\nexec /opt/keeper/venv/bin/python -m keeper_project.runtime.cli "$@"\n' >/usr/local/bin/keeper \
    && chmod 755 /usr/local/bin/keeper

ENV PATH=/opt/keeper/venv/bin:$PATH \
    PYTHONPATH=/opt/keeper/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    KEEPER_DATA_DIR=/var/lib/keeper/data
# By number, so that Kubernetes' runAsNonRoot can see that it is not root.
USER 10001
# A volume takes its owner from the folder that it covers.
RUN mkdir -m 700 /var/lib/keeper/data /var/lib/keeper/kept
VOLUME /var/lib/keeper/data
EXPOSE 8989
# Liveness only: a database that is away for a minute is no reason to restart Keeper.
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://localhost:8989/healthz', timeout=4)"]
ENTRYPOINT ["keeper"]
CMD ["run", "--host", "0.0.0.0"]
