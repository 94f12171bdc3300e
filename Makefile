# Every check is defined here once; CI, the README and contributors call these targets.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   ?= .venv
BIN    := $(VENV)/bin
# What pip would call broken are MMPose's names for what is there under another name, as opencv-python-headless.
PIP    := $(BIN)/python -m pip --disable-pip-version-check install --quiet --no-warn-conflicts --constraint requirements/constraints.txt
# Two files of tests at a time, for the two cores that CI has.
PYTEST := --numprocesses 2 --dist loadscope
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup runtime demo cat-pose-small test test-slow test-all lint types imports check audit reference docs constraints clean

help:            ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP)  ## create .venv and install everything at pinned versions

$(STAMP): requirements/constraints.txt requirements/runtime.txt requirements/mm.txt pyproject.toml
	@test -x $(BIN)/python || { echo "creating $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "posestudy needs Python 3.11 or newer: make setup PYTHON=/path/to/python3.11"; exit 1; }
	@echo "installing torch and what MMPose needs (first time: some minutes)"
	@$(PIP) --requirement requirements/runtime.txt
	@$(MAKE) --no-print-directory runtime
	@echo "installing posestudy"
	@$(PIP) --no-build-isolation --editable '.[postgres,gpu,server,ray,slurm,docs,dev]'
	@touch $@

runtime:         ## add MMPose to an installation of posestudy (what `posestudy doctor` asks for)
	@echo "installing MMEngine, MMCV, MMPose"
	@$(PIP) --requirement requirements/runtime.txt
	@$(PIP) --no-deps --no-build-isolation --requirement requirements/mm.txt
# yapf, which MMEngine imports, writes its grammar down at its first import; of two processes at once one reads half of it.
	@$(BIN)/python -c 'import yapf'

demo: setup      ## draw a cat data set, run a study on it, write its report to out/demo
	@$(BIN)/posestudy demo --out out/demo

cat-pose-small: setup  ## run the cat ablation in small and write its report to out/cat_pose_small
	@test -d out/drawn_cats || $(BIN)/posestudy draw out/drawn_cats
	@$(BIN)/posestudy --home out/cat_pose_small_home launch studies/cat_pose_small.yaml --workers 2 --set dataset.root=out/drawn_cats
	@$(BIN)/posestudy --home out/cat_pose_small_home report cat_pose_small --out out/cat_pose_small

test: setup      ## the quick tests
	@$(BIN)/python -m pytest -m "not slow" $(PYTEST)

test-slow: setup ## the others
	@$(BIN)/python -m pytest -m slow $(PYTEST)

test-all: setup  ## every test
	@$(BIN)/python -m pytest $(PYTEST)

lint: setup      ## ruff
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: setup     ## mypy, strict
	@$(BIN)/mypy

imports: setup   ## the import law: reports -> runner -> studies -> platform
	@$(BIN)/lint-imports

check: lint types imports  ## everything that reads the code without running it

audit: setup     ## known advisories of the pinned versions
	@$(BIN)/python requirements/audit.py

reference: setup ## docs/reference from the code
	@$(BIN)/python docs/make_reference.py

docs: setup      ## the documentation site, into out/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

constraints: setup  ## write the installed versions back as the pins
	@$(BIN)/python requirements/freeze.py > requirements/constraints.txt.new
	@mv requirements/constraints.txt.new requirements/constraints.txt

clean:           ## remove the environment and generated output
	rm -rf $(VENV) out
