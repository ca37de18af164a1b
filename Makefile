# A fresh machine needs Python 3.11 or newer and make. Every target makes the rest for itself in
# .venv, from the lock files, with uv where it is installed and with pip where it is not.

VENV := .venv
BIN := $(VENV)/bin
# The benchmark of `make bench`.
NAME := records
# What decides who may do what: every branch of it is to be reached by a test.
COVERED := */auth/*,*/records/filters.py,*/records/node_filters.py,*/records/sql/conditions.py
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --custom-compile-command "make lock" $(ARGS)
# What building the project takes is locked too, so that nothing unlocked is ever fetched; and by
# itself, so that nothing of it gets to where the project only runs.
BUILD := 'hatchling>=1.27' 'editables>=0.5'

# The tests start hundreds of processes, each of which would compile every module anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help install setup serve test lint docs coverage mutate conformance bench lock clean

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/.installed ## Make .venv with what `make serve` needs

setup: $(VENV)/.browsing ## Make .venv with what `make test` needs, and its browser

serve: $(VENV)/.installed ## Run the server in development mode (ARGS="--port 4001" adds options)
	$(BIN)/kailash-mcp-prod serve --mode development $(ARGS)

test: lint $(VENV)/.browsing ## Lint, then run every test (ARGS="tests/unit -x" chooses)
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(VENV)/.developing ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.developing ## Build the documentation as a site, into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

coverage: $(VENV)/.browsing ## Run every test and hold what it reaches against the bars (ARGS chooses)
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder \
		--timeout=240 $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --fail-under=95
	$(BIN)/coverage report --fail-under=100 --include='$(COVERED)'

mutate: $(VENV)/.developing ## Break guard, policy and filters, and count what tests notice (ARGS chooses)
	rm -rf mutants
	$(BIN)/mutmut run --max-children 2 $(ARGS)
	$(BIN)/mutmut results --all true | $(BIN)/python -m scripts.mutation_report

conformance: $(VENV)/.developing ## Let the official MCP suite and clients judge the server (ARGS=2026-07-28)
	$(BIN)/python -m tests.conformance $(ARGS)

bench: $(VENV)/.developing ## Measure NAME=records against its bars (ARGS=--strict fails on an unmet one)
	$(BIN)/python -m tests.benchmarks.$(NAME) $(ARGS)

lock: $(VENV)/.developing ## Resolve the lock files anew (ARGS=--upgrade takes newer releases)
	$(LOCK) pyproject.toml --extra otel --extra postgres --extra redis -o requirements.lock
	printf '%s\n' $(BUILD) | $(LOCK) pyproject.toml - --extra dev -c requirements.lock \
		-o requirements-dev.lock
	printf '%s\n' $(BUILD) | $(LOCK) - -c requirements-dev.lock -o requirements-build.lock
	$(LOCK) pyproject.toml --extra agent -o tests/interop/agent.txt
	$(LOCK) tests/interop/sdk1.in -o tests/interop/sdk1.txt
	$(LOCK) tests/interop/sdk2.in -o tests/interop/sdk2.txt
	$(LOCK) tests/interop/fastmcp.in -o tests/interop/fastmcp.txt

clean: ## Remove .venv and everything built or cached
	rm -rf $(VENV) build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -rf .coverage .coverage.* mutants
	rm -rf tests/conformance/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.installed: requirements.lock requirements-build.lock pyproject.toml scripts/install
	scripts/install requirements.lock
	@touch $@

$(VENV)/.developing: requirements-dev.lock requirements-build.lock pyproject.toml scripts/install
	scripts/install requirements-dev.lock
	@touch $@

# Without a browser the tests of the dashboard fail; the others can be run all the same.
$(VENV)/.browsing: $(VENV)/.developing scripts/install-chromium
	-@scripts/install-chromium && touch $@
