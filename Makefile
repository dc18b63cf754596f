# The two commands of the README, `make site` and `make test`, and what stands beside them.
# Everything is set up inside the project (.venv); only `make lme4` touches the system.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check

# A fast part of the tests, over all that other packages do for us: reading, numbers, figures; and that in processes
# of their own, whose warnings are nobody's
FAST := $(patsubst %,tests/test_%.py,read odd_files prepare large fit lrt inference figures check)
COMMANDS := tests/test_cli.py --deselect tests/test_cli.py::test_simulate_writes_the_collection_reproducibly \
	tests/test_run.py --deselect tests/test_run.py::test_mixed_sources
# Python 3.11 where there is one: for later ones the lowest versions have no wheels
LOWEST_PYTHON ?= $(or $(shell for python in $(PYTHON) python3.11; do $$python -c 'import ensurepip, sys; \
	sys.exit(sys.version_info[:2] > (3, 11))' 2>/dev/null && echo $$python && break; done),$(PYTHON))

.PHONY: site test test-lowest test-warnings lab lme4 compute benchmark soak clean

site:
	@began=$$(date +%s); \
	$(MAKE) --no-print-directory .venv/.site-ready && installed=$$(date +%s) && \
	{ $(BIN)/ilhte run || [ $$? -eq 3 ]; } && fitted=$$(date +%s) && \
	$(BIN)/ilhte render && rendered=$$(date +%s) && \
	echo "Set-up $$((installed - began)) s, fitting $$((fitted - installed)) s, rendering $$((rendered - fitted)) s: _site/index.html"

test: .venv/.test-ready
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --nbval-lax --nbval-current-env tests notebooks

# The fast part with the lowest versions that pyproject.toml allows, in an environment of its own
test-lowest: .venv-lowest/.ready
	@.venv-lowest/bin/python -m pytest -q $(FAST) $(COMMANDS)

# The fast part with every warning an error; one of another package would stand, with the reason, in pyproject.toml (filterwarnings)
test-warnings: .venv/.test-ready
	@$(BIN)/python -W error -m pytest -q $(FAST)

lab: .venv/.site-ready
	@$(PIP) -e '.[edit]'
	@$(BIN)/jupyter lab notebooks

lme4: .venv/.base-ready
	@PYTHON=$(BIN)/python scripts/lme4_setup.sh

# Recreates the long computations in data/computed (hours); without names, all of them: make compute NAMES="engines size"
compute: .venv/.test-ready
	@$(BIN)/python -m ilhte_report.studies.compute $(NAMES)

# Timings beside lme4, glmmTMB, glmm and mixedlm, for the methods page (hours); peers that are not here are left out
benchmark: .venv/.test-ready
	@$(PIP) -e '.[benchmark]' 2>/dev/null || echo "A Python peer could not be installed here: it is left out."
	@$(BIN)/python -m benchmarks $(PARTS)

soak: .venv/.test-ready
	@$(BIN)/python -m pytest -m soak tests

.venv/.base-ready: pyproject.toml
	@echo "Setting up .venv ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(PIP) -e '.[report]'
	@touch $@

# Real Quarto comes in a pip call of its own: its installer downloads a binary, which closed networks refuse.
.venv/.site-ready: .venv/.base-ready
	@command -v quarto >/dev/null 2>&1 || timeout 180 $(PIP) -e '.[quarto]' >/dev/null 2>&1 || \
	echo "Quarto could not be installed here (its installer downloads a binary): the site will be a preview render."
	@touch $@

.venv/.test-ready: .venv/.base-ready
	@$(PIP) -e '.[report,test,formats,irw,cluster,large,app,papers]'
	@touch $@

.venv-lowest/.ready: pyproject.toml scripts/lowest_versions.py
	@echo "Setting up .venv-lowest ..."
	@$(LOWEST_PYTHON) -m venv --clear .venv-lowest
	@$(LOWEST_PYTHON) scripts/lowest_versions.py > .venv-lowest/constraints.txt
	@.venv-lowest/bin/python -m pip install -q --disable-pip-version-check -c .venv-lowest/constraints.txt -e '.[report,formats,large,irw,test]'
	@touch $@

clean:
	@rm -rf _site results assets tables .quarto
