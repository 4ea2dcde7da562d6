# Four habits: make demo, make test, make check, make format. Each sets up what it needs in .venv first.
PYTHON ?= python3
VENV ?= .venv
WORK ?= work
INSTALLED = $(VENV)/.installed

.PHONY: demo test check format clean

demo: $(INSTALLED)
	$(VENV)/bin/hornbook run recipes/mini.yaml --work $(WORK)

test: $(INSTALLED)
	$(VENV)/bin/pytest

check: $(INSTALLED)
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

format: $(INSTALLED)
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

# One environment for all: the demo's corpus is what is installed in it, so it must not change between two runs.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "hornbook needs Python 3.11 or newer; give one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[all,test,check]'
	@touch $@

clean:
	rm -rf $(VENV) $(WORK)
