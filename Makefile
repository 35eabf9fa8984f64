# Type `make` for what it can do. Needs Python 3.11 or newer; uses uv when it is on the PATH, else venv and pip.

SHELL := /bin/bash
.DEFAULT_GOAL := help
CONFIG ?= configs/local.toml
ARGS ?=
SEEDS ?= 3
HOURS ?= 6.5
DAYS ?= 30
SEED ?= 1
KILLS ?= 200
SPEED ?= 30

VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready

.PHONY: help
help:  ## this list
	@echo "gateway-proxy: one process owns the IB Gateway connection, every other program talks to it over ZeroMQ"
	@echo
	@sed -nE 's/^([a-z][a-z -]*):.*## (.*)$$/\1|\2/p' Makefile | while IFS='|' read -r name text; do \
		printf '  make %-12s %s\n' "$$name" "$$text"; done

# ---------------------------------------------------------------- set-up

.PHONY: setup
setup: $(READY)  ## .venv from requirements.lock (run and test do it by themselves)

$(READY): pyproject.toml requirements.lock
	@set -e; \
	python=; \
	for name in $${PYTHON:-python3.13 python3.12 python3.11 python3}; do \
		if "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$name; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo "make: needs Python 3.11 or newer; found $$(python3 --version 2>&1 || echo none)." >&2; \
		echo "      Debian, Ubuntu: apt install python3 python3-venv   macOS: brew install python   or: make PYTHON=/path/to/python3.12" >&2; \
		exit 2; \
	fi; \
	if command -v uv >/dev/null; then \
		echo "make: setting up $(VENV) with uv and $$("$$python" --version)"; \
		[ -x $(PY) ] || uv venv --quiet --clear --python "$$("$$python" -c 'import sys; print(sys.executable)')" $(VENV); \
		uv pip install --quiet --python $(PY) --compile-bytecode --require-hashes -r requirements.lock; \
		uv pip install --quiet --python $(PY) --no-deps --no-build-isolation -e .; \
	else \
		if ! "$$python" -c 'import venv, ensurepip' 2>/dev/null; then \
			echo "make: $$("$$python" --version) has no venv module. Debian, Ubuntu: apt install python3-venv" >&2; exit 2; \
		fi; \
		echo "make: setting up $(VENV) with $$("$$python" --version); about 100 MB the first time"; \
		[ -x $(PY) ] || "$$python" -m venv --clear $(VENV); \
		$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock; \
		$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .; \
	fi; \
	touch $(READY)

# ---------------------------------------------------------------- running

.PHONY: run
run: $(READY)  ## simulator, proxy, engines and monitor from configs/local.toml (CONFIG=… for another); Ctrl-C stops all
	@exec $(PY) -m gateway_proxy.launcher --config $(CONFIG) $(ARGS)

.PHONY: monitor
monitor: $(READY)  ## what the running proxy, its Gateway, engines and orders are doing, in this terminal
	@$(PY) -m monitor --config $(CONFIG) $(ARGS)

.PHONY: dash
dash: $(READY)  ## the address of the web dashboard
	@$(PY) -m monitor dash --config $(CONFIG)

.PHONY: demo-stall
demo-stall: $(READY)  ## the old bot's pattern stalls, the same work over the proxy goes on, side by side
	@$(PY) examples/demo_stall.py $(ARGS)

# ---------------------------------------------------------------- checks

.PHONY: test
test: $(READY)  ## the whole fast test suite (ARGS="-k pacing" for a part, ARGS="-m slow" for the slow ones)
	@$(PY) -m pytest -m "not slow and not long" $(ARGS)

.PHONY: lint
lint: $(READY)  ## ruff: mistakes and layout
	@$(PY) -m ruff check . && $(PY) -m ruff format --check .

.PHONY: types
types: $(READY)  ## mypy --strict
	@$(PY) -m mypy

.PHONY: check
check: lint types test  ## lint, types, test

.PHONY: fmt
fmt: $(READY)  ## rewrite the layout with ruff
	@$(PY) -m ruff check --fix . ; $(PY) -m ruff format .

.PHONY: bench
bench: $(READY)  ## one JSON line per figure (ARGS="bus pacing" for some of them)
	@$(PY) -m bench $(ARGS)

.PHONY: conformance
conformance: $(READY)  ## ib_async, ib_insync and ibapi, each in an environment of its own, talk to the simulator (ARGS="ibapi" for one)
	@$(PY) -m tests.conformance $(ARGS)

.PHONY: simulate
simulate: $(READY)  ## seeded trading days in virtual time, each run twice and compared: SEEDS=n HOURS=h
	@$(PY) -m gateway_sim.simulate --seeds $(SEEDS) --hours $(HOURS) $(ARGS)

.PHONY: judge
judge: $(READY)  ## ten greedy engines for whole trading days in virtual time, the simulator judging: no violation, budget used
	@$(PY) -m pytest -m "slow or long" -s tests/gateway_proxy/test_judged.py $(ARGS)

.PHONY: days
days: $(READY)  ## trading days in virtual time with resets, weekends and a fault every half hour: DAYS=n SEED=n
	@$(PY) -m tests.scenarios.days --days $(DAYS) --seed $(SEED) $(ARGS)

.PHONY: soak
soak: $(READY)  ## the old bot's dry run on real processes, with a fault every hour; nothing may fail or grow: HOURS=h SPEED=x
	@$(PY) -m tests.soak --hours $(HOURS) --speed $(SPEED) $(ARGS)

.PHONY: chaos
chaos: $(READY)  ## order flow while proxy and client are killed, paused and cut off, judged on the ledger: KILLS=n
	@$(PY) -m tests.chaos --kills $(KILLS) $(ARGS)

.PHONY: chaos-engines
chaos-engines: $(READY)  ## real engines under make run's market, killed with the proxy, their brackets judged: KILLS=n
	@$(PY) -m tests.chaos.engines --kills $(KILLS) $(ARGS)

# ---------------------------------------------------------------- house-keeping

.PHONY: lock
lock: $(READY)  ## make requirements.lock again from pyproject.toml (needs uv)
	@uv pip compile --quiet --universal --generate-hashes --no-header --no-emit-index-url --python-version 3.11 \
		--extra dev --upgrade -o requirements.lock pyproject.toml
	@! grep -n '://' requirements.lock

.PHONY: clean
clean:  ## remove .venv and all caches
	@rm -rf $(VENV) .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
