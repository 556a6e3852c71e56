# Targets explain themselves: run `make`. Each works from a clean clone and sets up what it needs.
#
# PYTHON  the interpreter that the virtual environment is made from (3.9 or newer)
# VENV    where the virtual environment is kept
# ARGS    passed on to what the target runs, for example: make unit ARGS="-k wire -x"

PYTHON ?= python3
VENV ?= .venv
ARGS ?=

PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check
PYTEST := $(PY) -m pytest
SOURCES := microedge modules firmware-tools examples bench tests
# mypy takes each image for a package of its own, and refuses a directory without Python files.
TYPED := microedge $(patsubst %/,%,$(dir $(wildcard modules/*/__init__.py))) $(wildcard firmware-tools/*.py)

CREATED := $(VENV)/.created
INSTALLED := $(VENV)/.installed
DEV := $(VENV)/.installed-dev

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run dev deps-system check format test unit integration fault fault-long powercut footprint docs bench \
	firmware test-all build package all clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(INSTALLED) ## the main job: simulated serial sensor, bridge, metrics; live messages until Ctrl-C
	@$(PY) examples/demo/run.py $(if $(BROKER),--broker $(BROKER))

dev: $(DEV) ## virtual environment with microedge and the development tools

deps-system: ## Mosquitto for the tests (Debian; asks sudo unless root); its service is not started
	@PATH="$$PATH:/usr/sbin:/usr/local/sbin"; command -v mosquitto >/dev/null \
	|| .ci/apt-install --service mosquitto mosquitto mosquitto-clients

check: $(DEV) ## format, lint, types, floors and style
	$(PY) -m ruff format --check --quiet $(wildcard $(SOURCES))
	$(PY) -m ruff check --quiet $(wildcard $(SOURCES))
	$(PY) -m mypy $(TYPED)
	$(PYTEST) -q tests/unit/test_floors.py tests/unit/test_style.py

format: $(DEV) ## let ruff format and fix what it can
	$(PY) -m ruff format --quiet $(wildcard $(SOURCES))
	$(PY) -m ruff check --quiet --fix $(wildcard $(SOURCES))

test: $(DEV) deps-system ## every test in its short form: this is the one to run before a commit
	$(PYTEST) -q $(ARGS)

unit: $(DEV) ## unit, contract and property tests: seconds, no broker
	$(PYTEST) -q tests/unit tests/contract tests/property $(ARGS)

integration: $(DEV) deps-system ## real processes, a real broker, real pseudo-terminals
	$(PYTEST) -q tests/integration $(ARGS)

fault: $(DEV) deps-system ## SIGKILL, power cuts, full disk, lost links, broken peers
	$(PYTEST) -q tests/fault tests/powercut $(ARGS)

fault-long: $(DEV) deps-system ## the long campaigns, among them 100 SIGKILLs at random moments (minutes)
	$(PYTEST) -q -m slow tests $(ARGS)

powercut: $(DEV) ## 20,000 power cuts per fault model, failing disks, 100 real cuts where root may mount (minutes)
	@PYTHONPATH=tests $(PY) -m powercut $(ARGS)

footprint: $(DEV) deps-system ## memory, wake-ups, bytes written, start-up time against their budgets
	$(PYTEST) -q tests/footprint $(ARGS)

docs: $(DEV) ## links, make targets, commands and configuration keys in README and docs/
	$(PYTEST) -q tests/docs $(ARGS)

bench: $(DEV) deps-system ## measure, beside supervisord, a Mosquitto bridge and a paho script (minutes)
	$(PIP) install --quiet -e '.[bench]'
	$(PY) bench/run.py $(ARGS)

firmware: ## a simulated sensor on a pseudo-terminal until Ctrl-C; ARGS="--help" lists what it can do
	@$(PYTHON) firmware-tools/sersim.py $(ARGS)

test-all: deps-system ## every test on each of Python 3.9 to 3.13 that is installed here
	@passed=""; failed=""; for version in 3.9 3.10 3.11 3.12 3.13; do \
		for python in python$$version $$(ls -d ~/.pyenv/versions/$$version.*/bin/python 2>/dev/null); do \
			$$python -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$$version')" 2>/dev/null || continue; \
			echo "== Python $$version: $$python"; \
			if $(MAKE) --no-print-directory test PYTHON=$$python VENV=.venv-$$version; \
			then passed="$$passed $$version"; else failed="$$failed $$version"; fi; \
			break; \
		done; \
	done; \
	echo "passed on Python:$${passed:- none}; failed on:$${failed:- none}"; \
	test -z "$$failed" && test -n "$$passed"

build: $(DEV) ## source distribution and wheel in dist/
	rm -rf dist
	$(PY) -m build --outdir dist .

package: build ## install the wheel into a new environment and look whether everything is in it
	rm -rf $(VENV)-package
	$(PY) -m venv $(VENV)-package
	$(VENV)-package/bin/python -m pip --disable-pip-version-check install --quiet dist/*.whl
	@cd / && $(abspath $(VENV))-package/bin/microedge --help >/dev/null
	@for image in modules/*/module.toml; do \
		[ -e "$$image" ] || continue; \
		$(PY) -m zipfile -l dist/*.whl | grep -q "microedge/bundled_$$image" \
		|| { echo "$$image is not in the wheel" >&2; exit 1; }; \
	done
	rm -rf $(VENV)-package

all: check package test ## what CI runs

clean: ## remove environments, caches and build results
	rm -rf .venv .venv-* dist build .run .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- set-up ----------------------------------------------------------------------------------------------------------

$(CREATED):
	@command -v $(PYTHON) >/dev/null || .ci/apt-install python3 python3-venv
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 9))" \
	|| { echo "$$($(PYTHON) --version) found, 3.9 or newer needed; try: make PYTHON=python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -c "import ensurepip" 2>/dev/null || .ci/apt-install python3-venv
	@echo "creating $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(INSTALLED): $(CREATED) pyproject.toml
	@echo "installing microedge into $(VENV)"
	@$(PIP) install --quiet -e .
	@touch $@

$(DEV): $(INSTALLED) pyproject.toml
	@echo "installing the development tools into $(VENV)"
	@$(PIP) install --quiet -e '.[dev]'
	@touch $@
