# The two commands of the README, `make site` and `make test`, and what stands beside them.
# Everything is set up inside the project (.venv); only `make lme4` touches the system.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check

.PHONY: site test lab lme4 compute benchmark soak clean

site:
	@began=$$(date +%s); \
	$(MAKE) --no-print-directory .venv/.site-ready && installed=$$(date +%s) && \
	{ $(BIN)/ilhte run || [ $$? -eq 3 ]; } && fitted=$$(date +%s) && \
	$(BIN)/ilhte render && rendered=$$(date +%s) && \
	echo "Set-up $$((installed - began)) s, fitting $$((fitted - installed)) s, rendering $$((rendered - fitted)) s: _site/index.html"

test: .venv/.test-ready
	@$(BIN)/python -m pytest --nbval-lax --nbval-current-env tests notebooks

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
	@$(PIP) -e '.[report,test,formats,irw,cluster,large]'
	@touch $@

clean:
	@rm -rf _site results assets tables .quarto
