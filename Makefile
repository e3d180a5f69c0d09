# `make` alone lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

#: Of benchmarks, whether what they ask of selfsup exists: they are run by hand, seldom.
LOOSELY := --implicit-reexport --disable-error-code arg-type --disable-error-code assignment \
  --disable-error-code operator --disable-error-code union-attr --disable-error-code misc --disable-error-code dict-item \
  --disable-error-code import-untyped

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow test-track test-ray test-slurm lint format bench build clean

help: ## List the targets.
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "selfsup needs Python 3.11 or newer; name one: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

install: $(INSTALLED) ## Make .venv and install selfsup into it, with what development needs.

demo: $(INSTALLED) ## Compare methods on real images (scikit-learn's digits): about 5 minutes on two cores.
	$(BIN)/selfsup run digits --preset quick --protocol label-efficiency --methods simclr,byol,supervised,random \
	  --augmentations simclr --per-class 1,5,20,all --epochs 30 --out demo-study

test: $(INSTALLED) ## Run the tests (under 10 minutes on 2 cores).
	$(BIN)/python -m pytest -n 2 -m 'not slow'

test-slow: $(INSTALLED) ## Run the tests that take long: many kills at random moments, whole studies.
	$(BIN)/python -m pytest -m 'slow and not ray and not slurm'

test-ray: $(INSTALLED) ## Run studies on a Ray cluster of several nodes on this machine, and kill nodes.
	$(BIN)/python -m pip install --quiet --editable '.[ray]'
	$(BIN)/python -m pytest -m ray

test-slurm: $(INSTALLED) ## Run studies on a Slurm of one node (needs root, and Debian's slurm-wlm and munge).
	$(BIN)/python -m pip install --quiet --editable '.[slurm]'
	$(BIN)/python -m pytest -m slurm

test-track: $(INSTALLED) ## Install MLflow and W&B, which are large, and run the trackers' tests.
	$(BIN)/python -m pip install --quiet --editable '.[dev,track]'
	$(BIN)/python -m pytest tests/report/trackers

lint: $(INSTALLED) ## Check format, style, types and the direction of imports.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	cd benchmarks && MYPYPATH=.:../src $(abspath $(BIN))/mypy --config-file ../pyproject.toml --cache-dir ../.mypy_cache \
	  $(LOOSELY) *.py
	$(BIN)/lint-imports --no-cache --no-logo

format: $(INSTALLED) ## Bring the code into its format.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(INSTALLED) ## Measure selfsup against its peers, side by side; prints ratios.
	$(BIN)/python benchmarks/augmentation.py
	$(BIN)/python benchmarks/cell.py
	$(BIN)/python benchmarks/embedding.py
	$(BIN)/python benchmarks/accuracy.py --min-steps 0
	$(BIN)/python benchmarks/study.py
	$(BIN)/python benchmarks/store.py
	$(BIN)/python benchmarks/measures.py
	$(BIN)/python benchmarks/startup.py

build: $(INSTALLED) ## Build the package for PyPI into dist/.
	$(BIN)/python -m build

clean: ## Remove .venv and everything that was built.
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache demo-study
