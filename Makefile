# One line each that also works by hand; `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash

# The first of these that runs and is 3.11 or 3.12 makes the environment.
PYTHON ?= $(shell for p in python3.12 python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
DEV := .venv/.dev
CLIPS ?= data/samples
MANIFEST ?= $(shell test -f "$(CLIPS)/manifest.csv" && echo "$(CLIPS)/manifest.csv")
OUT ?= data/merr
# One test process per core; a file's tests stay together, for they share what they have built.
SPREAD := --numprocesses logical --maxprocesses 8 --dist loadfile
BACKEND ?= faster-whisper

.PHONY: setup build-merr test test-all check fix bench eval-asr samples constraints clean help

help:            ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 16

setup: .venv/.core  ## make .venv with the core and the face tool of the default profile

.venv/.core: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed; say PYTHON=/path/to/it"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.9" -c constraints.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python -e . -c constraints.txt
	$(BIN)/merr tools install facemesh
	@touch $@

$(DEV): .venv/.core
	$(BIN)/uv pip install --quiet --python $(BIN)/python -e '.[dev]' -c constraints.txt
	@touch $@

build-merr: .venv/.core  ## build a MERR dataset from CLIPS (data/samples) into OUT (data/merr)
	@$(BIN)/python -m flows.run_local "$(CLIPS)" --out "$(OUT)" $(if $(MANIFEST),--manifest "$(MANIFEST)") $(ARGS)

test: $(DEV)     ## the tests of core and dev; no network, no GPU, no model
	$(BIN)/pytest $(SPREAD) -m "not extras and not long"

test-all: $(DEV) ## all tests, with every optional extra installed
	UV_FIND_LINKS="$${UV_FIND_LINKS:-$$($(BIN)/python -m pip config get global.find-links 2>/dev/null)}" \
	$(BIN)/uv pip install --quiet --python $(BIN)/python -e '.[dev,asr,whisper,hf,train,egemaps,praat]' -c constraints.txt 'torch==2.13.0'
	$(BIN)/pytest $(SPREAD) --no-skips

check: $(DEV)    ## format, lint and types; changes nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

fix: $(DEV)      ## format and mend what lint can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(DEV)    ## the benchmarks, which print ratios
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

eval-asr: $(DEV) ## word and character error of MODEL (BACKEND, faster-whisper) on DATA: clips with transcripts
	@test -n "$(MODEL)" -a -n "$(DATA)" || { echo "Say MODEL=FOLDER DATA=FOLDER"; exit 2; }
	@PYTHONPATH=benchmarks $(BIN)/python benchmarks/measuring/asr.py "$(MODEL)" "$(DATA)" --backend "$(BACKEND)" $(ARGS)

samples: $(DEV)  ## make the sample clips anew (needs espeak-ng)
	$(BIN)/uv run --script data/samples/make_samples.py

constraints: $(DEV) ## pin what the ranges of pyproject.toml resolve to today
	$(BIN)/uv pip compile pyproject.toml --extra dev --python-version 3.11 --universal --upgrade --no-header --no-annotate -o constraints.txt

clean:           ## remove the environment, the default output and all caches
	rm -rf .venv data/merr dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
