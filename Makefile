# Every target builds .venv by itself; nothing else is installed by hand.
#   make demo       the quickstart grid and its report in report/   (about 13 minutes on two cores)
#   make ablation   the larger grid, raw and averaged weights       (about 19 minutes on two cores)
#   make report     write report/ again from what has been run      (GRID=name, quickstart by default)
#   make test | lint | format
#   make chaos      kill 20 trainings at random and at chosen moments; all must end as if nothing had been (12 minutes)
#   make chaos-grid kill the launcher and the workers of grids 20 times; likewise                         (3 minutes)
#   make scale      10,000 cells under 1,000 sleeping workers: none lost, none run twice                  (4 minutes)
#   make mutations  plant faults one at a time; the tests must notice each; renews docs/mutations.md      (3 minutes)
#   make mutmut     a random sample of the mutants of objectives/ against its tests; SIZE=400 SEED=0      (1 hour)
# Another interpreter: make demo PYTHON=python3.12

PYTHON ?= python3
GRID ?= quickstart
WORKERS ?= 2
SIZE ?= 400
SEED ?= 0

BIN := .venv/bin
USE_STAMP := .venv/.installed
DEV_STAMP := .venv/.installed-dev
INSTALL := $(BIN)/python -m pip install --quiet -c constraints.txt
REPORT = $(BIN)/python -P -m experiments.report

.DEFAULT_GOAL := help
.PHONY: help demo ablation report test chaos chaos-grid scale mutations mutmut lint format constraints

help:
	@sed -n '/^#  /s/^#  //p' Makefile

demo: $(USE_STAMP)
	@$(call run_grid,quickstart)

ablation: $(USE_STAMP)
	@$(call run_grid,ablation)

report: $(USE_STAMP)
	$(REPORT) studies/$(GRID) --out report

# One process more than cores, since SLURM's tests, which come first, mostly wait.
test: $(DEV_STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $$(($(WORKERS) + 1)) --dist loadfile --no-loadscope-reorder

chaos: $(DEV_STAMP)
	CHAOS=20 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q tests/experiments/chaos

mutations: $(DEV_STAMP)
	$(BIN)/python tests/mutations/plant.py --jobs $(WORKERS) --write

mutmut: $(DEV_STAMP)
	$(INSTALL) -e '.[dev,mutation]'
	OMP_NUM_THREADS=1 $(BIN)/python tests/mutations/sample.py --size $(SIZE) --seed $(SEED) --jobs $(WORKERS)

chaos-grid: $(DEV_STAMP)
	CHAOS=20 OMP_NUM_THREADS=1 $(BIN)/python -P -m pytest -q -s tests/experiments/grid/test_chaos.py

scale: $(USE_STAMP)
	$(BIN)/fewstep bench scale

lint: $(DEV_STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright

format: $(DEV_STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

constraints: $(DEV_STAMP)
	sed -n '/^#/p' constraints.txt > constraints.new
	$(BIN)/python -m pip freeze --all --exclude-editable | sed -e '/^pip==/d' -e 's/+cpu$$//' >> constraints.new
	mv constraints.new constraints.txt

# A grid with failed cells (exit code 3) is reported too; one that was stopped (75) is not, it goes on when run again.
# The empty trap lets the shell outlive Ctrl-C, so that the grid's own orderly stop is waited for.
define run_grid
trap : INT TERM; \
$(BIN)/fewstep grid run experiments/grids/$(1).yaml; code=$$?; \
case $$code in 0|3) $(REPORT) studies/$(1) --out report --quiet || code=$$? ;; esac; \
exit $$code
endef

# pip is the last thing that venv writes, so an interrupted creation is begun again.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "fewstep needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Name another: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv

$(USE_STAMP): pyproject.toml constraints.txt | $(BIN)/pip
	$(INSTALL) -e .
	@touch $@

$(DEV_STAMP): pyproject.toml constraints.txt | $(BIN)/pip
	$(INSTALL) -e '.[dev]'
	@touch $(USE_STAMP) $@
