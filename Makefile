# make run: a server with a simulated fleet to look at.  make test: install and pass all tests.
# Both install what is missing into .venv; nothing outside of this folder is touched, except that
# `make test` installs Debian's gcc, redis-server, chromium and iproute2 where they are missing and may.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SIM ?= 8
STAMP := $(VENV)/.installed
AWS_PEER_STAMP := benchmarks/peer/node_modules/.package-lock.json
NODE_STAMP := tests/js/node_modules/.package-lock.json
CONSOLE_STAMP := console/node_modules/.package-lock.json
# What is compiled while installing (hatch_build.py).
COMPILED := src/quest_backend/sockets/fast_reader.pyx src/quest_backend/sockets/unmask.h
CONSOLE := src/quest_backend/web/index.html
NPM := PATH="$(CURDIR)/$(BIN):$$PATH" npm --prefix console --silent
PEER_STAMP := benchmarks/peer-node/node_modules/.package-lock.json
RELAY := benchmarks/relay

.DEFAULT_GOAL := help
.PHONY: help compiler setup console run test check screenshots bench bench-relay bench-nodes bench-scaling chaos relay-load \
  relay-tools gen constraints clean

help: ## show this
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP) ## install everything into .venv

$(STAMP): pyproject.toml constraints.txt hatch_build.py $(COMPILED)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; say which: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) (the first time takes about a minute) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

$(NODE_STAMP): tests/js/package.json tests/js/package-lock.json | $(STAMP)
	@cd tests/js && ../../$(BIN)/npm ci --no-audit --no-fund --silent

$(CONSOLE_STAMP): console/package.json console/package-lock.json | $(STAMP)
	@echo "Installing what builds the console …"
	@cd console && PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --no-audit --no-fund --silent

$(CONSOLE): $(CONSOLE_STAMP) docs/generated/events.ts docs/generated/openapi.json console/index.html \
    console/vite.config.ts $(shell find console/src -type f -not -path '*/generated/*')
	@$(NPM) run build

console: $(CONSOLE) ## build the web console

$(AWS_PEER_STAMP): benchmarks/peer/package.json benchmarks/peer/package-lock.json | $(STAMP)
	@cd benchmarks/peer && ../../$(BIN)/npm ci --no-audit --no-fund --silent

run: $(STAMP) $(CONSOLE) ## start the server on port 3200 with a simulated fleet (SIM=0 for none)
ifeq ($(SIM),0)
	@$(BIN)/quest-backend serve
else
	@$(BIN)/quest-backend demo --headsets $(SIM)
endif

compiler:
	@PYTHON=$(PYTHON) sh scripts/ensure_compiler.sh

test: compiler $(STAMP) $(NODE_STAMP) $(CONSOLE) ## run all tests
	@sh scripts/ensure_redis7.sh
	@sh scripts/ensure_chromium.sh
	@sh scripts/ensure_iproute2.sh
	@$(NPM) test
	@$(BIN)/python -m pytest
	@echo "The contract again, on uvicorn's own WebSocket …"
	@WEBSOCKET_PROTOCOL=websockets-sansio $(BIN)/python -m pytest tests/contract --ignore=tests/contract/test_rest.py
	@echo "Frames again, without what is compiled …"
	@WEBSOCKET_PROTOCOL=picows-plain $(BIN)/python -m pytest tests/contract/test_frames.py \
	  tests/contract/test_binary_frames.py tests/contract/test_slow_clients.py

check: $(STAMP) $(NODE_STAMP) $(CONSOLE_STAMP) ## lint, types, layers, generated files
	@$(BIN)/ruff format --check --quiet . || { echo "run: .venv/bin/ruff format"; exit 1; }
	@$(BIN)/ruff check --quiet .
	@PATH="$(BIN):$$PATH" $(BIN)/cython-lint src
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python scripts/generate.py --check
	@$(BIN)/node tests/js/node_modules/typescript/bin/tsc --noEmit --strict docs/generated/events.ts
	@$(NPM) run check

screenshots: $(STAMP) $(CONSOLE) ## write pictures of the console into docs/images
	@sh scripts/ensure_chromium.sh
	@PYTHONPATH=tests $(BIN)/python tests/browser/screenshots.py

gen: $(STAMP) ## write the generated files again
	@$(BIN)/python scripts/generate.py

bench: $(STAMP) $(AWS_PEER_STAMP) ## measure
	@$(BIN)/python benchmarks/reconnect_storm.py
	@$(BIN)/python benchmarks/qa.py
	@$(BIN)/python benchmarks/qa_s3.py
	@$(BIN)/python benchmarks/qa_jobs.py
	@$(BIN)/python benchmarks/qa_lists.py
	@$(BIN)/python benchmarks/storage.py
	@$(MAKE) --no-print-directory bench-nodes

bench-relay: $(STAMP) ## measure the relay beside Node's, python-socketio's and a C program (ARGS=--quick)
	@$(BIN)/python $(RELAY)/run.py $(ARGS)

bench-nodes: $(STAMP) ## measure frames between servers: one beside python-socketio's, 300 headsets over three
	@$(BIN)/python benchmarks/cross_node.py
	@$(BIN)/python benchmarks/three_nodes.py $(ARGS)

bench-scaling: $(STAMP) ## measure what one of each thing costs, and compute what fleets need (ARGS="--quick --write")
	@$(BIN)/python benchmarks/fleet_sizes.py $(ARGS)

relay-load: $(RELAY)/build/load

chaos: $(STAMP) ## break servers, Valkey and connections under a recording fleet (SEED=7 MINUTES=3)
	@PYTHONPATH=tests $(BIN)/python -m chaos $(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES)) $(ARGS)

relay-tools: $(RELAY)/build/load $(RELAY)/build/floor $(PEER_STAMP)

$(RELAY)/build/load: $(RELAY)/load.c $(RELAY)/client.c $(RELAY)/options.c $(wildcard $(RELAY)/*.h)
	@mkdir -p $(@D)
	@$(CC) -std=gnu17 -O2 -Wall -Wextra -o $@ $(filter %.c,$^)

$(RELAY)/build/floor: $(RELAY)/floor.c $(RELAY)/wire.h
	@mkdir -p $(@D)
	@$(CC) -std=gnu17 -O2 -Wall -Wextra -o $@ $(filter %.c,$^)

$(PEER_STAMP): benchmarks/peer-node/package.json benchmarks/peer-node/package-lock.json | $(STAMP)
	@cd benchmarks/peer-node && ../../$(BIN)/npm ci --no-audit --no-fund --silent

constraints: $(STAMP) ## pin what is installed now
	@$(BIN)/python -m pip freeze --all --exclude-editable | grep -Ev '@|^pip==' > constraints.txt

clean: ## remove what make has installed
	rm -rf $(VENV) tests/js/node_modules console/node_modules src/quest_backend/web \
	  src/quest_backend/sockets/fast_reader.*.so benchmarks/peer-node/node_modules $(RELAY)/build .mypy_cache .ruff_cache .pytest_cache
