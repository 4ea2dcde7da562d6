# The habits: make demo, make test, make check, make format, make bench. Each sets up what it needs first.
PYTHON ?= python3
VENV ?= .venv
WORK ?= work
INSTALLED = $(VENV)/.installed

.PHONY: demo test check format bench clean

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

# Beside our peers, which have no place in the environment that is the demo's corpus.
bench: $(VENV)-bench/.installed
	$(VENV)-bench/bin/python bench/grade.py
	$(VENV)-bench/bin/python bench/load.py

$(VENV)-bench/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)-bench
	$(VENV)-bench/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[all,bench]'
	@touch $@

# One environment for all: the demo's corpus is what is installed in it, so it must not change between two runs.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "hornbook needs Python 3.11 or newer; give one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[all,test,check]'
	@touch $@

clean:
	rm -rf $(VENV) $(VENV)-bench $(WORK)
