# PYTHON=python3.12 chooses the interpreter, VENV=DIR where its environment lies, RUN=DIR the work directory of `quickstart`,
# CONSTRAINTS=launch/constraints-3.12.txt the very versions that were tested, WORKERS=4 how many processes test side by side
# (about 4 GB each).
PYTHON ?= python3
VENV ?= .venv
RUN ?= runs/tiny
CONSTRAINTS ?=
WORKERS ?= 2
PIP = $(VENV)/bin/pip install --quiet --disable-pip-version-check $(addprefix --constraint ,$(CONSTRAINTS))
.DELETE_ON_ERROR:
.PHONY: help quickstart smoke test lint format clean

help:
	@echo "make quickstart   train and evaluate the whole system on the embedded task, in $(RUN)"
	@echo "make smoke        every stage once, very small, in runs/smoke"
	@echo "make test         all tests; PYTEST_ARGS='tests/tasks -k chains' for some"
	@echo "make lint         ruff and mypy, check only; make format: let ruff rewrite"
	@echo "make clean        remove the environment and what tools left behind; runs/ stays"

quickstart: $(VENV)/.installed
	@$(VENV)/bin/glore --config=configs/tiny.py --workdir=$(RUN)

smoke: $(VENV)/.installed
	@$(VENV)/bin/glore --config=configs/tiny.py:smoke --workdir=runs/smoke

test: $(VENV)/.installed-test
	$(VENV)/bin/python -m pytest --numprocesses=$(WORKERS) --dist=loadfile --no-loadscope-reorder $(PYTEST_ARGS)

lint: $(VENV)/.installed-test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check --quiet .
	$(VENV)/bin/python -m mypy

format: $(VENV)/.installed-test
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

# Stamps: nothing is installed again until setup.py changes.
$(VENV)/.installed: setup.py
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; sys.exit(sys.version_info < (3, 11) and f"Python 3.11 or newer is needed, $(PYTHON) is {v}: make PYTHON=python3.12")'
	@echo "installing into $(VENV) (a few minutes, once)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) --editable .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	@$(PIP) --editable '.[test]'
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
