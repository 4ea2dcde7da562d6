# The habits: make demo, make rehearse, make test, make check, make format, make bench. Each sets up what it needs first.
PYTHON ?= python3
VENV ?= .venv
WORK ?= work
TEST_VENV ?= .venv-test
INSTALLED = $(VENV)/.installed
TEST_INSTALLED = $(TEST_VENV)/.installed

.PHONY: demo rehearse test check format bench clean

demo: $(INSTALLED)
	$(VENV)/bin/hornbook run recipes/mini.yaml --work $(WORK)

# The papers' recipes, each with all its steps at toy size: what goes wrong in one should go wrong here, and cheaply.
PAPERS = phi-1 phi-1-small phi-1.5 phi-1.5-web phi-1.5-web-only
rehearse: $(INSTALLED)
	@set -e; for recipe in $(PAPERS); do \
		echo "$$recipe:"; $(VENV)/bin/hornbook run recipes/$$recipe.yaml --arm rehearsal --work $(WORK); \
	done; echo; echo "reports:"; \
	for recipe in $(PAPERS); do echo "$(WORK)/runs/$$recipe.rehearsal/report.html"; done

test: $(TEST_INSTALLED)
	$(TEST_VENV)/bin/pytest --numprocesses auto --dist worksteal

check: $(TEST_INSTALLED)
	$(TEST_VENV)/bin/ruff format --check .
	$(TEST_VENV)/bin/ruff check .
	$(TEST_VENV)/bin/mypy

format: $(TEST_INSTALLED)
	$(TEST_VENV)/bin/ruff format .
	$(TEST_VENV)/bin/ruff check --fix .

# Beside our peers, which have no place in the environment that is the demo's corpus.
bench: $(VENV)-bench/.installed
	$(VENV)-bench/bin/python bench/grade.py
	$(VENV)-bench/bin/python bench/load.py
	$(VENV)-bench/bin/python bench/ask.py --memory
	$(VENV)-bench/bin/python bench/train.py
	$(VENV)-bench/bin/python bench/generate.py

$(VENV)-bench/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)-bench
	$(VENV)-bench/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[all,bench]'
	@touch $@

# The demo's corpus is what is installed in its environment, so this one holds what hornbook needs and nothing else: a
# tool added for tests must not change the demo's scores.
$(INSTALLED): pyproject.toml constraints.txt
	$(call install,$(VENV),train)

$(TEST_INSTALLED): pyproject.toml constraints.txt
	$(call install,$(TEST_VENV),all$(comma)test$(comma)check)

comma = ,
define install
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "hornbook needs Python 3.11 or newer; give one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(1)
	$(1)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[$(2)]'
	@touch $(1)/.installed
endef

clean:
	rm -rf $(VENV) $(TEST_VENV) $(VENV)-bench $(WORK)
