# Two commands do all the set-up: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
DEMO ?= demo
COUNT ?= 2000
WORKERS ?= 2
PIP = $(VENV)/bin/python -m pip --disable-pip-version-check

.PHONY: demo test lint bench clean

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) install --quiet -c constraints.txt torch==2.13.0
	$(PIP) install --quiet -c constraints.txt -e ".[dev]"
	touch $@ $(VENV)/.base

demo: $(VENV)/.base  ## samples from the shipped X-rays, and a contact sheet
	mkdir -p $(DEMO)
	$(VENV)/bin/voxelmill make examples/cxr_objects.yaml -o $(DEMO)/cxr.zarr --count $(COUNT) --workers $(WORKERS)
	$(VENV)/bin/voxelmill show $(DEMO)/cxr.zarr -o $(DEMO)/sheet.png

test: $(VENV)/.dev  ## all tests
	$(VENV)/bin/python -m pytest

lint: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

bench: $(VENV)/.dev  ## the figures of benchmarks/README.md
	$(VENV)/bin/python -m pytest benchmarks --benchmark-enable --benchmark-only

clean:
	rm -rf $(VENV) $(DEMO) build dist *.egg-info
