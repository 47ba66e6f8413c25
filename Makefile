# PYTHON names another interpreter, VENV another folder for the environment (relative), JOBS the tests run at a time,
# TESTS those of `make pytest`.
VENV ?= .venv
PYTHON ?=
# The system tests wait more than they compute, so there are more jobs than cores.
JOBS ?= 4
TESTS ?= tests

BIN := $(VENV)/bin
# The set-up script puts a redis-server into this folder when the machine has none.
RUN := PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/
# A test of processes may fall to a machine that stops for seconds: it gets a second try, and is named in the summary.
PYTEST := $(RUN)pytest --numprocesses=$(JOBS) --dist=loadgroup --reruns=1 -rR --durations=15
export PYTHON

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo shop test lint types layers cover pytest unit broker system model fuzz bench clean audit chaos parent screenshots

help: ## list these targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1	\2/p' Makefile | expand -t 16

demo: $(VENV)/.ready-cli ## set up what is missing, then show the worker at work
	@$(RUN)multiworker demo

shop: $(VENV)/.ready-tasks ## the example Django project, from nothing to tasks that run and the admin; Ctrl-C ends it
	@VENV=$(VENV) examples/shop/run

test: lint types layers cover ## set up what is missing, then run all checks and tests

lint: $(VENV)/.ready-dev ## style, formatting and what is known to be unsafe
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive worker supervisor multiworker

audit: $(VENV)/.ready-dev ## known vulnerabilities of what is installed with multiworker, if the network allows it
	$(BIN)/python etc/audit.py

types: $(VENV)/.ready-dev ## static types
	$(BIN)/mypy

layers: $(VENV)/.ready-dev ## which module may import which
	$(BIN)/lint-imports

cover: $(VENV)/.ready-dev ## every test, with branch coverage
	$(PYTEST) --cov --cov-report=term-missing

pytest: $(VENV)/.ready-dev ## every test, without coverage
	$(PYTEST) $(TESTS)

unit: $(VENV)/.ready-dev ## tests without I/O
	$(PYTEST) tests/unit

broker: $(VENV)/.ready-dev ## tests against a real Redis
	$(PYTEST) tests/broker

system: $(VENV)/.ready-dev ## tests with real processes and signals
	$(PYTEST) tests/system

model: $(VENV)/.ready-dev ## the claim protocol in wide bounds, and its scripts in long random histories; an hour
	$(RUN)python tests/model/table.py
	MODEL_EXAMPLES=5000 $(PYTEST) tests/broker/test_machine.py

chaos: $(VENV)/.ready-dev ## every chaos scenario in full, three quarters of an hour; the results go to chaos.md
	$(RUN)python tests/chaos/run.py all --report chaos.md
	$(RUN)python tests/chaos/failover.py

fuzz: $(VENV)/.ready-dev ## a million damaged payloads against a strict reader of JSON
	$(BIN)/python -m tests.fuzz

parent: $(VENV)/.ready-dev ## the parent's acceptance list, measured, half an hour; the results go to parent.md
	$(RUN)python tests/chaos/parent.py --report parent.md

bench: $(VENV)/.ready-bench ## everything measured beside nine other task queues, 25 minutes; see bench/README.md
	$(RUN)python -m bench.run

screenshots: $(VENV)/.ready-dev ## the pictures of docs/django.md, from real workers under load, three quarters of an hour
	$(RUN)python -m tests.django.screenshots

clean: ## remove what the other targets made
	rm -rf .venv .venv-* bench/.venv-* examples/shop/var dist htmlcov chaos.md parent.md .coverage .coverage.* .hypothesis .import_linter_cache
	rm -rf .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Installed anew only when the dependencies or the way of installing them change.
$(VENV)/.ready-%: pyproject.toml etc/setup.sh
	@etc/setup.sh $(VENV) $*
