# Everything starts from a bare checkout with Python 3.11 or later and its package index; see `make help`.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= $(or $(ASSENT_PORT),8000)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
PYTEST_ARGS ?=
# Tests start Python many times and rewrite their own modules: compiled ones are kept, whatever the environment says.
unexport PYTHONDONTWRITEBYTECODE
# Each worker has its own PostgreSQL and its own sandbox; a file's tests stay together, since they share servers.
WORKERS ?= 2

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: $(VENV)/.run ## Install, start everything with synthetic patients, serve on http://127.0.0.1:8000 (PORT=, ASSENT_DATA_DIR=)
	@exec $(BIN)/assent sandbox --port $(PORT)

.PHONY: install
install: $(VENV)/.run ## Install what running needs, and start nothing

.PHONY: test
test: $(VENV)/.dev ## Run the tests that need nothing but packages (WORKERS= PYTEST_ARGS=)
	@$(BIN)/python -m pytest -ra -m "not interop and not slow" --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

.PHONY: slow
slow: $(VENV)/.dev ## Run the tests that take long: servers that are started for one test, every page under axe, clients from npm
	@$(BIN)/python -m pytest -ra -m slow --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

.PHONY: fuzz
fuzz: $(VENV)/.dev ## Look for leaks with 100,000 random sequences of requests (ASSENT_FUZZ_EXAMPLES=)
	@ASSENT_FUZZ_EXAMPLES=$${ASSENT_FUZZ_EXAMPLES:-100000} $(BIN)/python -m pytest -ra --numprocesses $(WORKERS) --dist load tests/leaks/test_differential*.py tests/policies/test_consent_properties.py $(PYTEST_ARGS)

.PHONY: interop
interop: $(VENV)/.dev ## Put Assent in front of FHIR servers that are not its own
	@$(BIN)/python -m pytest -ra -m interop $(PYTEST_ARGS) || { code=$$?; [ $$code -eq 5 ] && echo "no interop tests were found"; exit $$code; }

.PHONY: check
check: $(VENV)/.dev ## Style, types, import floors
	@echo "ruff check" && $(BIN)/ruff check .
	@echo "ruff format" && $(BIN)/ruff format --check .
	@echo "mypy" && $(BIN)/mypy
	@echo "import floors" && $(BIN)/lint-imports

.PHONY: bench
bench: $(VENV)/.dev ## Run the benchmarks; the method is in bench/README.md
	@$(BIN)/python -m bench

.PHONY: bench-tokens
bench-tokens: $(VENV)/.dev ## Compare tokens a second with two other servers (needs npm); the method is in bench/README.md
	@$(BIN)/python -m bench.tokens

.PHONY: lock
lock: $(VENV)/.dev ## Resolve the dependencies again and lock them by hash, without index addresses
	@$(BIN)/python -m venv $(VENV)/lock
	$(VENV)/lock/bin/python -m pip --disable-pip-version-check --quiet install pip-tools
	compile="$(VENV)/lock/bin/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-header --no-annotate --no-emit-index-url --no-emit-trusted-host --no-emit-options"
	$$compile --extra build --output-file requirements.lock pyproject.toml
	$$compile --extra build --extra dev --output-file requirements-dev.lock pyproject.toml

.PHONY: clean
clean: ## Remove what was installed and built; the data in .assent/ stays
	@rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './node_modules/*' -prune -exec rm -rf {} +

# A stamp holds the hash of the lock file that was installed; it is rewritten, and the packages are installed again,
# only when that hash changes. Tests install more than running needs, and running is content with what tests installed.
$(VENV)/.run: requirements.lock pyproject.toml $(VENV)/pyvenv.cfg
	@$(call install,requirements.lock)

$(VENV)/.dev: requirements-dev.lock pyproject.toml $(VENV)/pyvenv.cfg
	@$(call install,requirements-dev.lock)

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Assent needs Python 3.11 or later; name one with PYTHON=" >&2; exit 1; }
	echo "creating $(VENV)"
	$(PYTHON) -m venv $(VENV)

define install
wanted=$$($(BIN)/python -c 'import hashlib, sys; print(hashlib.sha256(b"".join(open(f, "rb").read() for f in sys.argv[1:])).hexdigest())' $(1) pyproject.toml)
if [ "$$(cat $@ 2>/dev/null)" != "$$wanted" ]; then
	echo "installing $$(grep -c '==' $(1)) locked packages from $(1) (a minute or so the first time)"
	$(PIP) install --require-hashes --no-deps -r $(1)
	$(PIP) install --no-deps --no-build-isolation -e .
	echo "$$wanted" > $@
else
	touch $@
fi
endef
