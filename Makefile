# `make demo` and `make test` need only Python >= 3.10 and make: they build .venv themselves.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
DEMO   ?= demo

# Two tests at a time, each on one thread, fill two cores without fighting over them.
PYTEST := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

.PHONY: help venv demo demo-train test test-all check clean

help:
	@echo "make demo        two rendered films turned into 3-D, and the shipped networks, in $(DEMO)/ (or DEMO=DIR)"
	@echo "make demo-train  train depth and motion from nothing, about 1.5 minutes, in $(DEMO)/ too"
	@echo "make test        the fast tests"
	@echo "make test-all    also the slow ones, and those that need a GPU where there is one"
	@echo "make check       format, lint, types and the import table, as CI runs them"
	@echo "make venv        only build .venv (PYTHON=python3.12 for another Python)"
	@echo "make clean       remove .venv and everything built"

venv: $(STAMP)

$(STAMP): setup.py scripts/make_venv
	PYTHON="$(PYTHON)" scripts/make_venv $(VENV)
	@touch $@

demo: $(STAMP)
	$(BIN)/depthkit demo --out $(DEMO) --force

demo-train: $(STAMP)
	$(BIN)/depthkit demo --train --out $(DEMO) --force

test: $(STAMP)
	$(PYTEST) -m "not slow and not gpu"

test-all: $(STAMP)
	$(PYTEST)

check: $(STAMP)
	BIN=$(BIN) scripts/check

clean:
	rm -rf $(VENV) build dist install log *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find depthkit ros_nodes launch tests scripts -name __pycache__ -prune -exec rm -rf {} +
