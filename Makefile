# What a person needs: `make demo` to look at it, `make test` before a commit.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONFIG ?= config.toml
ROUNDS ?= 200
SEED := $(or $(SEED),$(shell date +%s))

.DEFAULT_GOAL := help
.PHONY: help demo serve test test-full chaos check bench format

help:
	@echo "make demo       a shop with the widget, and the desk that answers it; needs no configuration"
	@echo "make serve      the gateway with $(CONFIG) (CONFIG=...)"
	@echo "make test       checks and tests, all that a commit must pass"
	@echo "make test-full  the long suites, and the browser's with the wheel as it is released"
	@echo "make chaos      rounds of faults (ROUNDS=200), from SEED=... on; a seed that failed fails again"
	@echo "make check      lint, format, types, who imports whom, the widget's size"
	@echo "make bench      measure throughput and latency"
	@echo "make format     format the sources"

# --- environments: one stamp for what running needs, one for what developing needs -------------------------------------

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; say which with make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "Python lacks venv; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }

$(VENV)/run.stamp: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/dev.stamp: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/run.stamp

widget/node_modules/.stamp: widget/package-lock.json
	@.ci/need npm
	cd widget && npm ci --silent
	@touch $@

# --- what is run ------------------------------------------------------------------------------------------------------

demo: $(VENV)/run.stamp
	@$(BIN)/threadbridge demo

serve: $(VENV)/run.stamp
	@$(BIN)/threadbridge serve --config $(CONFIG)

check: $(VENV)/dev.stamp widget/node_modules/.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	cd widget && npm run --silent check
	$(BIN)/pytest tests/unit/test_imports.py tests/unit/test_widget_sizes.py

test: check
	@.ci/need chromium
	$(BIN)/pytest -n 4 -m "not full"  # on two cores: most of them wait, for a disk, a platform, a time

test-full: $(VENV)/dev.stamp widget/node_modules/.stamp
	@for program in chromium firefox webkit display php; do .ci/need $$program || exit; done
	$(BIN)/pytest -n 2 -m full
	rm -rf build/wheel && $(BIN)/hatchling build -t wheel -d build/wheel
	$(BIN)/python -m zipfile -e build/wheel/*.whl build/wheel/installed
	$(BIN)/pytest -n 2 -o pythonpath="build/wheel/installed ." tests/browser

chaos: $(VENV)/dev.stamp
	CHAOS_SEED=$(SEED) CHAOS_ROUNDS=$(ROUNDS) $(BIN)/pytest -n 2 -m full tests/chaos

bench: $(VENV)/dev.stamp
	@.ci/need chromium
	$(BIN)/python -m bench

format: $(VENV)/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
