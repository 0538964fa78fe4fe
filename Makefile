# Two commands are enough: `make demo` and `make test`. Each target sets up what it needs.
VENV := .venv
BIN := $(VENV)/bin
# What runs need is installed; what work on the code needs is, too.
RUNS := $(VENV)/.runs
STAMP := $(VENV)/.installed

# Python 3.12 or newer: the first of these that there is. .python-version makes pyenv offer 3.13.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.14 python3 python; do \
	if command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; \
	then echo $$p; break; fi; done)

.PHONY: install demo paper test test-slow check docs dist clean

# uv installs in a fraction of pip's time; pip does if uv cannot, as where an index is known to pip alone.
define add
	$(BIN)/uv pip install -q --python $(BIN)/python -c constraints.txt $(1) || \
	    $(BIN)/pip install -qq --no-compile -c constraints.txt $(1)
endef

install: $(STAMP)

$(RUNS): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "migrate-bayes needs Python 3.12 or newer on the PATH" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -qq --no-compile -c constraints.txt uv
	$(call add,-e ".")
	@touch $@

$(STAMP): $(RUNS)
	$(call add,-e ".[dev]")
	@touch $@

demo: $(RUNS)
	$(BIN)/migrate-bayes run runs/demo.toml --overwrite

# The paper in the small: one survey, all recipes on its stars, one report. PAPER_STARS=4000000 is
# the paper's own size. Fits of variants that are there already are not made again.
PAPER_STARS ?= 100000
COMPARED := runs/potentials.toml runs/solar.toml runs/isochrones.toml runs/quality.toml

paper: $(RUNS)
	$(BIN)/migrate-bayes validate ages --overwrite
	$(BIN)/migrate-bayes run runs/paper.toml --stars $(PAPER_STARS) --overwrite
	for r in $(COMPARED); do \
	    $(BIN)/migrate-bayes compare $$r --from runs/paper.toml --overwrite || exit 1; done
	$(BIN)/migrate-bayes compare $(COMPARED) --from runs/paper.toml --name paper-comparison --overwrite
	$(BIN)/migrate-bayes report runs/paper.toml --overwrite

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m pytest -q tests/test_api.py

# The site, docs/_build/html/index.html. Notebooks are executed, and kept until they change; with
# DOCS_NOTEBOOKS=off they are shown without output.
DOCS_NOTEBOOKS ?= cache

docs: $(VENV)/.tools
	$(BIN)/codespell README.md CHANGELOG.md CONTRIBUTING.md docs src
	$(BIN)/python -m sphinx -W --keep-going -q -D nb_execution_mode=$(DOCS_NOTEBOOKS) docs docs/_build/html
	@echo docs/_build/html/index.html

# What makes the site and the wheel, so that both may be made at once.
comma := ,
$(VENV)/.tools: $(STAMP)
	$(call add,-e ".[docs$(comma)dist]")
	@touch $@

# Wheel and sdist in build/dist, checked; the wheel, alone in an environment of its own, runs the
# example in an empty folder. Status 3: that a fit of so few stars is not believed is no fault of it.
# --no-compile: of ten thousand modules it imports a few.
dist: $(VENV)/.tools
	rm -rf build
	mkdir -p build/empty
	$(BIN)/python -m build --outdir build/dist . >build/log 2>&1 || { cat build/log; exit 1; }
	$(BIN)/twine check --strict build/dist/*
	$(PYTHON) -m venv build/venv
	build/venv/bin/pip install -qq --no-compile -c constraints.txt build/dist/*.whl
	cd build/empty && ../venv/bin/migrate-bayes init --example && \
	    { ../venv/bin/migrate-bayes run mine.toml || test $$? -eq 3; }

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache build docs/_build docs/reference/generated src/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
