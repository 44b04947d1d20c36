# Every target sets itself up from nothing but python3 and make: the first call makes .venv,
# a later one finds its stamp and starts at once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help demo test lint bench clean
help:            ## this list
	@grep -hE '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

$(STAMP): pyproject.toml constraints.txt dev-requirements.txt
	@echo "setting up $(VENV) (once)"
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, this is " + sys.version.split()[0])'
	@rm -f $@
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  -c constraints.txt -r dev-requirements.txt -e '.[signing]'
	@touch $@

demo: $(STAMP)   ## one whole secure update on this machine, and three refusals
	@$(BIN)/ota-service demo

test: lint       ## lint, types, import contracts, all tests
	@$(BIN)/python -m pytest -n auto --dist worksteal

lint: $(STAMP)   ## ruff, mypy, stubtest, import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@MYPYPATH=src $(BIN)/python -m mypy.stubtest --concise --allowlist tests/stubtest_allowlist.txt \
	  ota_crypto dice esp_image esp_partition ota_service esp32_akri virtual_esp32
	@$(BIN)/lint-imports --no-cache

bench: $(STAMP)  ## all of benchmarks/, side by side with their peers
	@$(BIN)/python -m benchmarks

clean:           ## removes what the other targets made
	rm -rf $(VENV) dist build site .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
