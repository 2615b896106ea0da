# make run: a server with a simulated fleet to look at.  make test: install and pass all tests.
# Both install what is missing into .venv; nothing outside of this folder is touched, except that
# `make test` installs Debian's redis-server where it is missing and may.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SIM ?= 8
STAMP := $(VENV)/.installed
NODE_STAMP := tests/js/node_modules/.package-lock.json

.DEFAULT_GOAL := help
.PHONY: help setup run test check bench gen constraints clean

help: ## show this
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP) ## install everything into .venv

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; say which: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) (the first time takes about a minute) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

$(NODE_STAMP): tests/js/package.json tests/js/package-lock.json | $(STAMP)
	@cd tests/js && ../../$(BIN)/npm ci --no-audit --no-fund --silent

run: $(STAMP) ## start the server on port 3200 with a simulated fleet (SIM=0 for none)
ifeq ($(SIM),0)
	@$(BIN)/quest-backend serve
else
	@$(BIN)/quest-backend demo --headsets $(SIM)
endif

test: $(STAMP) $(NODE_STAMP) ## run all tests
	@sh scripts/ensure_redis7.sh
	@$(BIN)/python -m pytest

check: $(STAMP) $(NODE_STAMP) ## lint, types, layers, generated files
	@$(BIN)/ruff format --check --quiet . || { echo "run: .venv/bin/ruff format"; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python scripts/generate.py --check
	@$(BIN)/node tests/js/node_modules/typescript/bin/tsc --noEmit --strict docs/generated/events.ts

gen: $(STAMP) ## write the generated files again
	@$(BIN)/python scripts/generate.py

bench: $(STAMP) ## measure
	@$(BIN)/python benchmarks/reconnect_storm.py
	@$(BIN)/python benchmarks/qa.py

constraints: $(STAMP) ## pin what is installed now
	@$(BIN)/python -m pip freeze --exclude-editable | grep -v '@' > constraints.txt

clean: ## remove what make has installed
	rm -rf $(VENV) tests/js/node_modules .mypy_cache .ruff_cache .pytest_cache
