# Everything here sets itself up in virtual environments inside this folder; needed are only Python >= 3.11 and make.

PYTHON ?= python3
VENV := .venv
SERVE_VENV := .venv-serve
BIN := $(VENV)/bin
MINUTES ?= 10
WORKERS ?= 2
PIP_FLAGS := --quiet --disable-pip-version-check

# A stamp says that an environment matches pyproject.toml.
ALL := $(VENV)/.installed
SERVE := $(SERVE_VENV)/.installed

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo serve test test-slow soak bench bench-peers bench-reload bench-training bench-gpu lint format protos clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-14s %s\n", $$1, $$2 }'

demo: $(SERVE)  ## Install the serving side, serve the bundled zoo, show predictions of every kind
	$(SERVE_VENV)/bin/python -m service.client.demo

serve: $(SERVE)  ## Install the serving side and serve the bundled zoo (ARGS="--port 9000 ..." for more)
	$(SERVE_VENV)/bin/python -m service $(ARGS)

test: $(ALL)  ## Install everything and run the tests, WORKERS files at a time (ARGS="-k batcher ..." for more)
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile $(ARGS)

test-slow: $(ALL)  ## Run the tests that take minutes
	$(BIN)/python -m pytest -m slow --timeout 3600 $(ARGS)

soak: $(ALL)  ## Everything that callers and operators do, for MINUTES (default 10): nothing of the server may grow
	$(BIN)/python -m tests.benchmarks.soak --minutes $(MINUTES)

bench: $(ALL)  ## How fast the server is, beside raw ONNX Runtime and a bare gRPC server (ARGS="--quick ...")
	$(BIN)/python -m tests.benchmarks.bench $(ARGS)

bench-peers: $(ALL)  ## The same for servers from the package index, each in an environment of its own (ARGS="--peers ...")
	$(BIN)/python -m tests.benchmarks.bench_peers $(ARGS)

bench-reload: $(ALL)  ## Latency before, during and after reloads under steady load (ARGS="--rate 200 ...")
	$(BIN)/python -m tests.benchmarks.reload $(ARGS)

bench-training: $(ALL)  ## Images a second of a training, beside a loop like timm's own (ARGS="--rounds 5 ...")
	$(BIN)/python -m tests.benchmarks.training_speed $(ARGS)

bench-gpu: $(ALL)  ## Everything that needs a GPU: same answers, speed, memory (ARGS="--quick ...")
	$(BIN)/python -m tests.gpu $(ARGS)

lint: $(ALL)  ## Check style, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(ALL)  ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

protos: $(ALL)  ## Regenerate the gRPC stubs from protos/
	$(BIN)/python protos/generate.py

clean:  ## Remove the virtual environments and caches
	rm -rf $(VENV) $(SERVE_VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(SERVE): pyproject.toml
	$(call create,$(SERVE_VENV))
	@echo "installing the serving side into $(SERVE_VENV), about half a minute ..."
	$(SERVE_VENV)/bin/pip install $(PIP_FLAGS) --editable .
	@touch $@

$(ALL): pyproject.toml
	$(call create,$(VENV))
	@echo "installing everything, PyTorch included, into $(VENV), some minutes ..."
	$(BIN)/pip install $(PIP_FLAGS) --editable '.[training,tracing,dev]'
	@touch $@

define create
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Menagerie needs Python 3.11 or newer, \
	$(PYTHON) is " + sys.version.split()[0] + "; try make PYTHON=python3.12")'
	@$(PYTHON) -m venv $(1)
endef
