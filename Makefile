# The front door. `make` alone lists what can be asked for.
# ARGS goes to the command behind a target: make run ARGS="--http-port 9090", make test ARGS="-k mqtt".

PYTHON ?=
ARGS ?=
export PYTHON

VENV := .venv
RUN_READY := $(VENV)/.ready-to-run
TEST_READY := $(VENV)/.ready-to-test

.DEFAULT_GOAL := help
.PHONY: help setup run demo test test-tools lint format types bench lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' Makefile

setup: $(RUN_READY) ## make .venv with .venv/bin/thingpass in it

# A stamp per lock file: while neither it nor pyproject.toml changed, pip is not even started.
$(RUN_READY): requirements/run.txt pyproject.toml
	@scripts/make-environment requirements/run.txt
	@touch $@

# test.txt holds everything that run.txt holds, in the same versions.
$(TEST_READY): requirements/test.txt requirements/tb-client.txt $(RUN_READY)
	@scripts/make-environment requirements/test.txt
	@touch $@

run: setup ## start Thingpass (needs nothing before it)
	@exec $(VENV)/bin/thingpass up $(ARGS)

demo: setup ## the whole walk-through by itself, in a temporary directory
	@exec $(VENV)/bin/thingpass demo $(ARGS)

test: $(TEST_READY) test-tools ## run all tests; installs what they need
	@exec $(VENV)/bin/python -m pytest $(ARGS)

test-tools:
	@scripts/install-test-tools

lint: $(TEST_READY) ## check style and layout
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

format: $(TEST_READY) ## lay the code out, mend what can be mended by itself
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

types: $(TEST_READY) ## check the types (mypy --strict)
	$(VENV)/bin/mypy --strict

bench: $(TEST_READY) ## measure, beside Mosquitto where it is installed
	@scripts/install-test-tools
	@exec $(VENV)/bin/python -m benchmarks $(ARGS)

lock: $(TEST_READY) ## make requirements/*.txt anew from pyproject.toml
	@scripts/lock-requirements $(ARGS)

clean: ## remove .venv and what the tools left
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
