# Two commands on a fresh machine: `make search` and `make test`. Each sets up what it needs once.
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTHON := $(shell command -v python3.11 || command -v python3)

.PHONY: help search test test-all lint format lock wheel clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*##/ {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

search: $(READY) ## search on the embedded digits, retrain the best, report (a minute)
	@$(BIN)/nas search

test: $(READY) ## the tests; on real data too if TFDS_DATA_DIR, PTB_DIR, NASBENCH201_NPZ are set
	@$(BIN)/python -m pytest -n auto --dist worksteal

test-all: $(READY) ## the slow tests as well
	@$(BIN)/python -m pytest -n auto --dist worksteal -m ""

lint: $(READY) ## ruff, ruff format, mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(READY) ## apply the fixes and the formatting of ruff
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

lock: $(READY) ## resolve pyproject.toml into requirements.lock, with hashes
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-annotate --no-header \
	    --python-version 3.11 --extra dev pyproject.toml -o requirements.lock

wheel: $(READY) ## dist/nas-*.whl
	@rm -rf build # setuptools would pack what an earlier build has left there
	@$(BIN)/python -m build --wheel --no-isolation

clean: ## delete the environment and what was built; runs/ stays
	rm -rf $(VENV) build dist *.egg-info

# Runs again only if the lock file or pyproject.toml has changed.
$(READY): requirements.lock pyproject.toml
	@echo "Setting up $(VENV) (once) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "nas needs Python 3.11 or newer")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
