# Everything starts from a bare machine with Python >= 3.11 and make; .venv is made on first use.
#   make demo      the tutorial: every example beside its claim
#   make test      the tests; ARGS="tests/ops -k dot" runs some
#   make test-all  these and the long ones
#   make test-clients  libraries written for JAX, unmodified, on pullback: their numbers are JAX's
#   make test-suites  these libraries' own tests on pullback, of those that pass on JAX; LIBRARIES="optax chex"
#   make record-clients  the numbers of JAX that these are compared with, computed anew: LIBRARIES="optax flax"
#   make test-array-api  the suite of the array API standard, at a fixed version; ARRAY_API_TESTS=folder has it already
#   make names     which names and keywords of JAX's are missing, and why; USES=jax_api_usage.tsv weights them
#   make jax-examples  how many examples in JAX's docstrings run and print the same; ARGS="numpy/linalg" takes some
#   make check     what CI runs: lint, layout, types, tests
#   make coverage  which lines and branches of the package the tests reach, all but the long ones
#   make format    the layout of the code
#   make fuzz      random programs, each compared with itself, XLA and JAX: SECONDS=60 SEED=... PROGRAMS=...
#   make bench     the benchmarks, side by side with JAX, PyTorch and autograd
#   make bench-first  first results of compiled programs beside JAX's; ARGS="neural" measures some
#   make bench-clients  these libraries' problems (make test-clients) beside JAX: import, first and second runs
#   make accuracy  errors against exact values, into docs/accuracy.md; ARGS="nn.silu special.*" prints some functions
#   make gpu-check what a GPU computes, compared with JAX on it, into docs/gpu.md; CUDA=cuda12 for older drivers, and
#                  CUDA= ARGS="--platform cpu" tries the script without one
#   make pictures  the pictures of docs/pictures.md and of the README
#   make inaccuracy  how often debug.find_inaccuracy is right, on FPBench's expressions: FPBENCH=folder ARGS="--points 20"
#   make docs      the site, into build/docs/html, a folder for each version that was built there, and latest
#   make docs-check  its links and anchors; with Chromium, its pages in a browser, and pictures of them in build/docs/shots
#   make dist      wheel and source distribution, each checked, installed in an environment of its own, and tried
#   make clean     remove the environment and what the tools left behind
# Another interpreter: make PYTHON=/path/to/python3.13 test

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && exit; done; echo python3)
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test test-all test-clients test-suites record-clients test-array-api names jax-examples check lint types coverage format fuzz bench bench-first bench-clients accuracy inaccuracy pictures gpu-check docs docs-check dist clean
.DELETE_ON_ERROR:

help:
	@sed -n 's/^#   //p' Makefile

demo: $(VENV)/with-examples
	@$(BIN)/python examples/run_all.py

test: $(VENV)/with-test
	@$(BIN)/python -m pytest $(ARGS)

test-all: $(VENV)/with-test
	@$(BIN)/python -m pytest -m "" $(ARGS)

test-clients: $(VENV)/with-clients
	@$(BIN)/python -m pytest -n 2 -p no:cacheprovider clients $(ARGS)

# An environment of its own: matfree's tests need pytest 8.
SUITES := $(VENV)/suites
test-suites: $(SUITES)/installed
	@nice $(SUITES)/bin/python clients/suites.py $(SUITES)/work $(LIBRARIES) $(ARGS)

$(SUITES)/installed: pyproject.toml | $(BIN)/python
	@$(BIN)/python -m venv $(SUITES)
	@$(SUITES)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[suites]'
	@touch $@

record-clients: $(VENV)/with-clients
	@cd clients && for library in $(or $(LIBRARIES),$(basename $(notdir $(wildcard clients/problems/*.py)))); do \
		JAX_ENABLE_X64=1 JAX_PLATFORMS=cpu ../$(BIN)/python -W ignore run.py --record $${library%_problems} || exit 1; done

# The suite is in no package index: a version of its repository, which has the standard as a submodule. A path after a space
# would make pytest read this repository's settings.
ARRAY_API_VERSION := 55fcc60179efa2680ddd6cd926ddf17b83530e2b
ARRAY_API_TESTS ?= $(VENV)/array-api-tests
test-array-api: $(VENV)/with-test | $(ARRAY_API_TESTS)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement $(ARRAY_API_TESTS)/requirements.txt
	@cd $(ARRAY_API_TESTS) && PULLBACK_ENABLE_X64=1 ARRAY_API_TESTS_MODULE=pullback.numpy ARRAY_API_TESTS_VERSION=2024.12 \
		$(CURDIR)/$(BIN)/python -m pytest -q --disable-deadline array_api_tests \
		--xfails-file=$(CURDIR)/clients/array_api_failures.txt $(ARGS)

$(VENV)/array-api-tests:
	@git clone --quiet https://github.com/data-apis/array-api-tests.git $@
	@git -C $@ checkout --quiet $(ARRAY_API_VERSION) || { rm -rf $@; exit 1; }
	@git -C $@ submodule --quiet update --init || { rm -rf $@; exit 1; }

names: $(VENV)/with-test
	@$(BIN)/python -m benchmarks.names $(if $(USES),--uses $(USES)) $(ARGS)

jax-examples: $(VENV)/with-test
	@nice $(BIN)/python -m benchmarks.docstrings $(ARGS)

check: lint types test

lint: $(VENV)/with-dev
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet || { echo 'make format lays out the files that differ' >&2; exit 1; }

types: $(VENV)/with-dev
	@$(BIN)/mypy

coverage: $(VENV)/with-test
	@$(BIN)/python -m pytest --cov --cov-report=term $(ARGS)

format: $(VENV)/with-dev
	@$(BIN)/ruff format

SECONDS ?= 60
fuzz: $(VENV)/with-test
	@cd tests && PYTHONPATH=.. ../$(BIN)/python -m fuzz --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) \
		$(if $(PROGRAMS),--programs $(PROGRAMS))

bench: $(VENV)/with-bench
	@$(BIN)/python benchmarks/run.py

bench-clients: $(VENV)/with-clients
	@$(BIN)/python benchmarks/clients.py $(LIBRARIES) $(ARGS)

bench-first: $(VENV)/with-bench
	@$(BIN)/python benchmarks/first_compiled.py $(ARGS)

pictures: $(VENV)/with-test
	@$(BIN)/python docs/pictures/draw.py

accuracy: $(VENV)/with-bench
	@$(BIN)/python -m benchmarks.accuracy $(or $(ARGS),--out docs/accuracy.md)

# The plugin must be of jaxlib's version, whichever the other packages have asked for.
CUDA ?= cuda13
gpu-check: $(VENV)/with-bench $(VENV)/with-test
	@test -z "$(CUDA)" || $(BIN)/python -m pip install --quiet --disable-pip-version-check \
		"jax-$(CUDA)-plugin[with-cuda]==$$($(BIN)/python -c 'from jaxlib.version import __version__ as v; print(v)')"
	@$(BIN)/python benchmarks/gpu_check.py $(or $(ARGS),--out docs/gpu.md)

inaccuracy: $(VENV)/with-bench
	@$(BIN)/python -m benchmarks.inaccuracy $(FPBENCH) $(ARGS)

VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' pullback/_core/version.py)
# Warnings of Sphinx are errors: a link that leads nowhere among them.
GALLERY := build/docs/gallery
RULES := build/docs/rules
SITE := build/docs/html
docs: $(VENV)/with-docs $(GALLERY)/drawn $(RULES)/drawn
	@$(BIN)/python -m website.stage build/docs/source
	@$(BIN)/python -m sphinx -q -W --keep-going -c website build/docs/source $(SITE)/$(VERSION)
	@$(BIN)/python -m website.versions $(SITE) $(VERSION)
	@echo "$(SITE)/index.html"

$(RULES)/drawn: website/rule_pictures.py $(wildcard pullback/rules/*.py) | $(VENV)/with-docs
	@$(BIN)/python -m website.rule_pictures $(RULES)
	@touch $@

$(GALLERY)/drawn: $(wildcard examples/gallery/*.py) | $(VENV)/with-docs
	@$(BIN)/python -m examples.gallery --out $(GALLERY) >/dev/null
	@touch $@

docs-check: docs $(VENV)/with-docs-check
	@$(BIN)/python -m website.check $(SITE)/$(VERSION)

dist: $(VENV)/with-dist
	@rm -rf dist build/clean
	@$(BIN)/python -m build --outdir dist
	@$(BIN)/python -m twine check --strict dist/*
	@for file in dist/*.whl dist/*.tar.gz; do \
		rm -rf build/clean && $(PYTHON) -m venv build/clean && cp release/smoke.py build/clean && \
		build/clean/bin/python -m pip install --quiet --disable-pip-version-check $$file && \
		(cd build/clean && bin/python smoke.py $(VERSION)) || exit 1; done

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage examples/out
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One stamp for each set of extras, made anew when pyproject.toml changes.
$(VENV)/with-%: pyproject.toml | $(BIN)/python
	@echo "installing pullback[$*] into $(VENV)" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]' || \
		{ echo "make: the installation of pullback[$*] failed; pip's message stands above." >&2; exit 1; }
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "make: pullback needs Python >= 3.11, and '$(PYTHON) --version' says:" \
			"$$($(PYTHON) --version 2>&1 | head -n 1). Name another: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "make: '$(PYTHON) -m venv' failed; on Debian and Ubuntu, install python3-venv." >&2; exit 1; }
