# One command an act. Needs Python 3.11 or newer, make and git; the first target run makes .venv.
#   make setup PYTHON=/path/to/python3.12   chooses the interpreter
#   make test ARGS="-k batcher -x"          hands arguments to pytest

VENV := .venv
ARGS ?=
# Two processes run the tests; a test that takes longer than its --timeout fails, and shows where
# each thread stands.
PYTEST := $(VENV)/bin/python -m pytest --numprocesses 2 --dist worksteal --durations 20
NONE_SELECTED := 5
export PYTHON

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all torture check docs reference bench constraints clean

help: ## list what make can do
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.dev-stamp ## make .venv with all that the other targets need

demo: $(VENV)/.runtime-stamp ## start Redis and a worker, tag 2,000 images, show the result
	@$(VENV)/bin/clip-worker demo $(ARGS)

test: $(VENV)/.dev-stamp ## run the tests that are not slow, with a real Redis: 13 minutes on two cores
	@scripts/ensure_redis.sh
	@scripts/ensure_deploy_tools.sh
	@$(PYTEST) -m "not slow" --timeout 300 $(ARGS)

test-all: test ## run all tests: those of `make test`, then the slow ones: 45 minutes more
	@$(PYTEST) -m slow --timeout 900 $(ARGS) || [ $$? -eq $(NONE_SELECTED) ]

torture: $(VENV)/.dev-stamp ## kill, stop and cut off workers for minutes, account for every task; CELERY=newest
	@scripts/ensure_redis.sh
	@PYTHONPATH=tests:scripts $(VENV)/bin/python -m torture$(if $(filter newest,$(CELERY)),.newest_celery) $(ARGS)

check: $(VENV)/.dev-stamp ## lint, formatting, types, and the documentation's site
	@echo "ruff check" && $(VENV)/bin/ruff check --quiet .
	@echo "ruff format --check" && $(VENV)/bin/ruff format --quiet --check .
	@echo "mypy" && $(VENV)/bin/mypy
	@$(MAKE) --no-print-directory docs

docs: $(VENV)/.dev-stamp ## build the documentation's site into site/, with warnings as errors
	@echo "mkdocs build --strict" && NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --quiet

reference: $(VENV)/.dev-stamp ## write the parts of docs/ anew that are generated from the code
	@$(VENV)/bin/python scripts/build_reference.py

bench: $(VENV)/.bench-stamp ## measure, 25 minutes; ARGS=--quick shows that it works in minutes
	@scripts/ensure_redis.sh
	@$(VENV)/bin/python -W ignore -m benchmarks.bench $(ARGS)

constraints: $(VENV)/.dev-stamp ## write constraints.txt anew, with the newest versions
	@$(VENV)/bin/python scripts/build_constraints.py

clean: ## remove .venv, caches and build products
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.runtime-stamp: pyproject.toml constraints.txt
	@scripts/setup.sh runtime

$(VENV)/.dev-stamp: $(VENV)/.runtime-stamp
	@scripts/setup.sh dev

$(VENV)/.bench-stamp: $(VENV)/.runtime-stamp
	@scripts/setup.sh bench
