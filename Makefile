# Everything that CI calls, a person can call. Needs python3 (3.11 or newer), make and a package registry.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO ?= runs/demo

.PHONY: help demo test check docs dist bench models picture fuzz clean

help:
	@echo "make demo   set up, explore the embedded default, and say where the report is"
	@echo "make test   set up, and run the tests"
	@echo "make check  format, lint and types"
	@echo "make docs   build the site of the documents, build/site/index.html, and run the tutorial"
	@echo "make dist   build the wheel, and try it where the checkout is not"
	@echo "make bench  run the benchmarks, and write docs/benchmarks.md from their results"
	@echo "make models try what people bring, and write docs/models.md from what came of it"
	@echo "make picture draw the picture of the README anew; needs Fashion-MNIST and Chromium"
	@echo "make fuzz   fuzz the loaders, check_model and the command line, ten minutes each"
	@echo "make clean  remove the virtual environment and the caches"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("Worldline needs Python 3.11 or newer; $(PYTHON) is " + sys.version.split()[0] + ". Use make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

# One stamp for each set of extras: an installation is done again only when the requirements change.
$(VENV)/installed-%: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[$(subst +,$(comma),$*)]'
	@touch $@
comma := ,

$(VENV)/installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	@touch $@

demo: $(VENV)/installed
	$(BIN)/worldline explore --out $(DEMO) --resume

# A process a core, each with one thread; tests/conftest.py says which tests stay together.
test: $(VENV)/installed-test
	$(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile --durations 20

check: $(VENV)/installed-check+test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# Strict: a warning, a link that leads nowhere or a tutorial that fails is an error (with --quiet none is counted).
docs: $(VENV)/installed-docs
	OMP_NUM_THREADS=1 NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "build/site/index.html"

dist: $(VENV)/installed-dist
	$(BIN)/python scripts/distribution.py

picture: $(VENV)/installed
	$(BIN)/python scripts/picture.py

bench: $(VENV)/installed-bench+test
	$(BIN)/python benchmarks/pgd.py
	$(BIN)/python benchmarks/apgd.py
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps adv_lib
	$(BIN)/python benchmarks/minimum_norm.py
	$(BIN)/python benchmarks/tracing.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/explore.py
	$(BIN)/python benchmarks/encoder.py
	$(BIN)/python benchmarks/encode.py
	$(BIN)/python benchmarks/transfer.py
	$(BIN)/python benchmarks/dimension.py
	$(BIN)/python benchmarks/fragility_worlds.py
	$(BIN)/python benchmarks/compare.py
	$(BIN)/python benchmarks/distant.py
	$(BIN)/python benchmarks/complexity.py
	$(BIN)/python benchmarks/complexity_speed.py
	$(BIN)/python benchmarks/carriers_speed.py
	$(BIN)/python benchmarks/carriers.py
	$(BIN)/python benchmarks/report.py
	$(BIN)/python benchmarks/tables.py

models: $(VENV)/installed-test
	$(BIN)/python tests/contact/attempts.py

fuzz: $(VENV)/installed-test
	$(BIN)/python fuzz/loaders.py --seconds 600
	$(BIN)/python fuzz/models.py --seconds 600
	$(BIN)/python fuzz/command.py --seconds 600

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
