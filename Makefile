# Everything runs from .venv in this checkout. It is made once and brought up to date when the requirements change.

VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# The interpreter that .venv is made with: `make install PYTHON=/path/to/python3.11`.
PYTHON ?= python3.11
# Test processes side by side.
JOBS   ?= 2
# One thread each: on few cores, threads that wait for one another cost more than they gain.
PYTEST_OPTIONS := -m pytest -n $(JOBS) --dist loadfile
PYTEST := OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python $(PYTEST_OPTIONS)
# The newest of everything, without XTuner.
NEXT   := .venv-next
# The builder of the documentation, which needs nothing of the project.
DOCS   := .venv-docs

.DEFAULT_GOAL := help
.PHONY: help install demo web test test-slow test-next gpu-check docs check lint format types clean
.DELETE_ON_ERROR:

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP)  ## make .venv with everything in it (2 to 8 minutes, 6 GB)

$(STAMP): setup.py requirements.txt $(wildcard requirements/*.txt)
	@$(PYTHON) --version >/dev/null || { echo "Needs Python 3.11: install it, or name one with PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements/xtuner.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(STAMP)  ## run the whole method on two cores and write work_dirs/demo/report.html
	$(BIN)/python tools/demo.py

web: $(VENV)/.installed_web  ## ask the tiny model in the browser (a click, a caption, a mask)
	$(BIN)/python tools/web.py

$(VENV)/.installed_web: $(STAMP) requirements/web.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements/web.txt
	@touch $@

test: $(STAMP)  ## the tests, without the slow ones and those that need a GPU
	$(PYTEST)

test-slow: $(STAMP)  ## the slow tests: several processes, ZeRO, whole runs
	$(PYTEST) -m "slow and not gpu"

gpu-check: $(STAMP)  ## can this GPU train the 4B model, how fast, in how much memory? (8 minutes, random weights)
	$(BIN)/python benchmarks/gpu_check.py

test-next:  ## the tests with the newest of everything, without XTuner, in .venv-next
	test -x $(NEXT)/bin/python || $(PYTHON) -m venv $(NEXT)
	$(NEXT)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade --upgrade-strategy eager -r requirements/next.txt
	$(NEXT)/bin/python -m pip list --disable-pip-version-check
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(NEXT)/bin/python $(PYTEST_OPTIONS)

docs: $(DOCS)/.installed  ## the documentation as a site, in site/; a link that leads nowhere is an error
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/python -m mkdocs build --strict

$(DOCS)/.installed: requirements/docs.txt
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/docs.txt
	@touch $@

check: lint types test  ## format, lint, types and tests

lint: $(STAMP)  ## check format and lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(STAMP)  ## check types
	$(BIN)/mypy

format: $(STAMP)  ## format the code and apply the safe lint fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove .venv, .venv-next, .venv-docs, site and the caches; work_dirs and data stay
	rm -rf $(VENV) $(NEXT) $(DOCS) site .mypy_cache .pytest_cache .ruff_cache build *.egg-info
	find projects tools tests benchmarks configs -name __pycache__ -type d -prune -exec rm -rf {} +
