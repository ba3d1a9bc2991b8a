# Everything starts here: `make help`.

IMAGE ?= examples/venice.jpg
OUT ?= $(if $(filter examples/venice.jpg,$(IMAGE)),runs/example)
ARGS ?=
PYTHON ?= python3
EXTRAS ?= paper,eval,compare,slurm,wandb,dev
CONSTRAINTS ?= constraints.txt
TESTS ?= tests
WORKERS ?= 2

VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready

.PHONY: help setup world view test test-all test-machines lint format assets doctor clean clean-runs clean-venv

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-13s %s\n", $$1, $$2}'
	@echo
	@echo "  IMAGE=photo.jpg   the photo for make world (now $(IMAGE))"
	@echo "  OUT=folder        where its world goes (now $(or $(OUT),runs/<the photo's name>))"
	@echo "  ARGS='...'        more for python -m worldgen, for example ARGS='panorama=sequential seed=1'"
	@echo "  PYTHON=python3.12 the Python that .venv is made with; 3.11 or 3.12"
	@echo "  CONSTRAINTS=constraints-cuda.txt EXTRAS=$(EXTRAS),cuda   for a machine with a GPU"

setup: $(READY)  ## make .venv and install everything into it; does nothing when that is done

world: $(READY)  ## turn a photo into a world: make world IMAGE=photo.jpg
	$(RUN) -m worldgen image="$(IMAGE)" $(if $(OUT),out="$(OUT)") $(ARGS)

view: $(READY)  ## walk in the finished world: make view OUT=runs/example
	$(RUN) -m worldgen.view "$(or $(OUT),runs/example)"

test: export HF_HUB_OFFLINE := 1
test: export WANDB_MODE := offline
test: export PYTHONDONTWRITEBYTECODE :=  # else each of some hundred processes compiles the project anew
test: $(READY)  ## run the tests, but the slow ones: make test TESTS=tests/test_run_folder.py for one file
	$(RUN) -m pytest -n $(WORKERS) --dist loadfile -m "not slow" $(TESTS)

test-all: export HF_HUB_OFFLINE := 1
test-all: export WANDB_MODE := offline
test-all: export PYTHONDONTWRITEBYTECODE :=
test-all: $(READY)  ## run every test
	$(RUN) -m pytest -n $(WORKERS) --dist loadfile $(TESTS)

test-machines: export HF_HUB_OFFLINE := 1
test-machines: export WANDB_MODE := offline
test-machines: $(READY)  ## the tests as on other processors, with one thread, in a random order (SEED=...): 8 runs
	sh .ci/machines $(RUN) -m pytest -n $(WORKERS) --dist loadfile -m "not slow" $(TESTS)

lint: $(READY)  ## check style, format and types
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

format: $(READY)  ## mend style and format
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

assets: $(READY)  ## fetch every pretrained file into the cache
	$(RUN) -m worldgen.fetch

doctor: $(READY)  ## say what is missing on this machine
	$(RUN) -m worldgen.doctor

clean: clean-venv clean-runs  ## remove all that was made here

clean-runs:  ## remove the finished worlds
	rm -rf runs

clean-venv:  ## remove .venv
	rm -rf $(VENV)

$(READY): pyproject.toml $(CONSTRAINTS)
	PYTHON="$(PYTHON)" VENV="$(VENV)" EXTRAS="$(EXTRAS)" CONSTRAINTS="$(CONSTRAINTS)" sh .ci/install
	@touch $@
