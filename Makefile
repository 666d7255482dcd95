# What a developer, CI and a newcomer type. Needs nothing but GNU make and a Python; everything lands in .venv.

# The first Python on this machine that fits; name another one with `make PYTHON=/path/to/python3.12 setup`.
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11; do \
	"$$name" -c '$(FITS)' 2>/dev/null && echo "$$name" && exit; done; echo python3)
HOST ?= 127.0.0.1
PORT ?= 8000
EXAMPLE_PORT ?= 8080
DOCS_PORT ?= 8002
ARGS ?=
FUZZ_EXAMPLES ?= 200
LOCK_ARGS ?=

# $(call debian,packages,their name,what else helps): installs Debian's packages, or says who could.
debian = if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
		echo "Install $(2) in this system's own way, or run this as root on Debian$(3)." >&2; exit 1; fi; \
	echo "Installing $(2), about a quarter of a minute..."; \
	export DEBIAN_FRONTEND=noninteractive; \
	apt-get -qq update && apt-get -qq install --no-install-recommends $(1) >/dev/null

# As tests/chromium.py looks for them.
BROWSERS := $(TEST_CHROMIUM) chromium chromium-browser google-chrome

VENV := .venv
BIN := $(VENV)/bin
FETCHED := $(VENV)/prometheus
# A stamp says what .venv holds and when it got there, so that a second `make run` only starts.
MADE := $(VENV)/.made
RUNTIME := $(VENV)/.runtime-installed
DEVELOPMENT := $(VENV)/.development-installed
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
# The theme tells on each start until when it is kept up (docs/adr/0028-the-site-and-the-end-of-its-theme.md).
MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs
COMPILE := pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-header --quiet $(LOCK_ARGS)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup browser spamassassin prometheus systemd fonts screenshots docs docs-serve run example test lint check lock image-test docker-test bench-test races fuzz topology chaos clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1	\2/p' Makefile | expand -t 18

setup: $(DEVELOPMENT) ## install everything into .venv, locked, with the tools for tests and checks

browser: ## install the Chromium that the tests of the pages drive, where none is (root on Debian)
	@for name in $(BROWSERS); do \
		if found=$$(command -v "$$name"); then echo "The tests of the pages drive $$found."; exit 0; fi; done; \
	$(call debian,chromium,Chromium,; TEST_CHROMIUM names another one)

spamassassin: ## install the SpamAssassin that judges the mail of each template, where none is (root on Debian)
	@if found=$$(command -v spamassassin); then echo "The tests of the mail ask $$found."; exit 0; fi; \
	$(call debian,spamassassin,SpamAssassin)

systemd: ## install the systemd-analyze that reads the units of deploy/systemd, where none is (root on Debian)
	@if found=$$(command -v systemd-analyze); then echo "The tests of the units ask $$found."; exit 0; fi; \
	$(call debian,systemd,systemd-analyze)

fonts: ## install the fonts that screenshots need for every language, where they are not (root on Debian)
	@if [ -n "$$(fc-list Roboto)" ] && [ -n "$$(fc-list :lang=ja)" ]; then exit 0; fi; \
	$(call debian,fontconfig fonts-roboto-unhinted fonts-droid-fallback,the fonts)

screenshots: setup browser fonts ## show every template in every language, width and theme in docs/templates/ (minutes)
	@$(BIN)/python -m tests.screenshots $(ARGS)

prometheus: setup ## fetch the Prometheus that the tests of the alerts run, where none is (Debian)
	@if command -v prometheus >/dev/null && command -v promtool >/dev/null; then \
		echo "The tests of the alerts run $$(command -v prometheus)."; exit 0; fi; \
	if [ -x $(FETCHED)/usr/bin/prometheus ]; then echo "The tests of the alerts run $(FETCHED)/usr/bin/prometheus."; exit 0; fi; \
	if ! command -v apt-get >/dev/null; then \
		echo "Install Prometheus in this system's own way; TEST_PROMETHEUS names a folder with prometheus and promtool." >&2; exit 1; fi; \
	echo "Fetching Prometheus, some seconds..."; \
	mkdir -p $(FETCHED) && cd $(FETCHED) && rm -f *.deb; \
	if [ "$$(id -u)" = 0 ]; then apt-get -qq update; fi; \
	apt-get -qq -o APT::Sandbox::User= download prometheus >/dev/null && dpkg-deb --extract prometheus_*.deb . && rm *.deb

docs: setup ## build the documentation as a site into site/, and fail at a dead link
	@$(MKDOCS) build --strict --quiet && echo "Open site/index.html."

docs-serve: setup ## show the site on http://HOST:DOCS_PORT (8002) while its pages are written
	@$(MKDOCS) serve --dev-addr $(HOST):$(DOCS_PORT) --watch website --watch email_service/settings --watch email_service/kernel

run: $(RUNTIME) ## set up if need be and start on http://HOST:PORT (127.0.0.1:8000)
	@LOG_FORMAT=$${LOG_FORMAT:-human} exec $(BIN)/email-service run --host $(HOST) --port $(PORT)

example: setup ## start the service and examples/main_app beside it, on PORT and EXAMPLE_PORT (8080)
	@exec $(BIN)/python examples/start.py --port $(PORT) --app-port $(EXAMPLE_PORT)

test: setup ## run all tests (ARGS="-k outbox" for some)
	@$(BIN)/python -m pytest $(ARGS)

lint: setup ## run the checks that need no server: format, lint, types, imports
	@echo "ruff format: the layout of the code"
	@$(BIN)/ruff format --check .
	@echo "ruff check: the rules of the code"
	@$(BIN)/ruff check .
	@echo "mypy: the types"
	@$(BIN)/mypy
	@echo "lint-imports: the direction of the imports"
	@$(BIN)/lint-imports --no-logo

check: lint ## run all that CI runs: lint, then the tests
	@echo "pytest: the tests"
	@$(BIN)/python -m pytest $(ARGS)

lock: ## write the lock files anew (LOCK_ARGS=--upgrade for newer versions)
	@echo "Resolving dependencies, about half a minute..."
	@set -e; folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	$(PYTHON) -m venv "$$folder"; \
	"$$folder/bin/python" -m pip --disable-pip-version-check --quiet install uv; \
	"$$folder/bin/uv" $(COMPILE) --group build --output-file requirements.lock >/dev/null; \
	"$$folder/bin/uv" $(COMPILE) --group dev --output-file requirements-dev.lock >/dev/null; \
	"$$folder/bin/uv" $(COMPILE) --group build --all-extras --constraint requirements-dev.lock \
		--output-file requirements-image.lock >/dev/null

image-test: prometheus ## build the image and run journeys with it (root on Debian, minutes; see docs/operations.md)
	@tests/image/run.sh $(ARGS)

docker-test: setup ## run compose.yaml and the docker commands of the docs with Docker (root on Debian, minutes; see docs/operations.md)
	@tests/engine/run.sh $(ARGS)

bench-test: setup ## run every benchmark small, to see that it still runs (its figures mean nothing; minutes, Node.js for two)
	@TEST_APART=1 $(BIN)/python -m pytest tests/benchmarks $(ARGS)

races: setup ## the races of tokens and sessions, 200 rounds each instead of 10 (a quarter of an hour)
	@RACE_ROUNDS=200 $(BIN)/python -m pytest -rP tests/service/test_token_races.py tests/http/test_redemption_races.py \
		tests/http/test_session_races.py $(ARGS)

fuzz: setup ## requests and lives that nobody thought of, other ones each time (FUZZ_EXAMPLES=200 of each; half an hour)
	@FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) $(BIN)/python -m pytest --timeout 3600 tests/http/test_contract.py \
		tests/service/test_message_machine.py tests/service/test_token_machine.py $(ARGS)

topology: setup ## run compose's topology as plain processes (ARGS="--port 8001 --broker amqp://...")
	@$(BIN)/python bench/topology.py $(ARGS)

chaos: setup ## send 10,000 messages while everything is killed at random (ARGS="--messages 2000")
	@$(BIN)/python bench/chaos.py $(ARGS)

clean: ## remove .venv and the caches; the data in var/ stays
	@rm -rf $(VENV) site .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist .coverage .coverage.*
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(MADE):
	@command -v "$(PYTHON)" >/dev/null 2>&1 || { \
		echo "There is no $(PYTHON) on this machine: install Python 3.11, 3.12 or 3.13, or name one: make PYTHON=/path/to/python3." >&2; \
		exit 1; }
	@"$(PYTHON)" -c '$(FITS)' 2>/dev/null || { \
		echo "Python 3.11, 3.12 or 3.13 is needed and $(PYTHON) is $$("$(PYTHON)" --version 2>&1): install one, or name it: make PYTHON=/path/to/python3.12." >&2; \
		exit 1; }
	@if $(BIN)/python -c 'import pip; $(FITS)' 2>/dev/null; then exit 0; fi; \
	if ! output=$$("$(PYTHON)" -m venv --clear $(VENV) 2>&1); then rm -rf $(VENV); \
		case "$$output" in \
		*ensurepip*|*"No module named venv"*) \
			echo "This Python cannot make virtual environments. Install it with: apt-get install python3-venv" >&2;; \
		*) echo "Making $(VENV) failed: $$(echo "$$output" | tail -n 1)" >&2;; \
		esac; exit 1; fi
	@touch $@

$(RUNTIME): requirements.lock pyproject.toml | $(MADE)
	@echo "Installing dependencies, about a minute..."
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

# The development lock holds everything that the runtime lock holds, hence both stamps.
$(DEVELOPMENT): requirements-dev.lock pyproject.toml clients/python/pyproject.toml | $(MADE)
	@echo "Installing dependencies for tests and checks, about a minute..."
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@$(PIP) install --no-deps --no-build-isolation --editable . --editable ./clients/python
	@touch $(RUNTIME) $@
