# The README's commands. Each makes .venv on a fresh machine.
PYTHON ?= python3
VENV := .venv
RUN := runs/demo

.PHONY: demo test test-rest test-all lint clean

demo: $(VENV)/installed
	$(VENV)/bin/ganimation train --config=configs/synthetic.py --workdir=$(RUN) \
	  --config.wandb.mode=disabled
	$(VENV)/bin/ganimation edit ganimation_jax/pretrained/portrait.jpg --aligned --grid \
	  -o $(RUN)/portrait.png
	@echo "Edits of the model that was just trained: $$(ls $(RUN)/samples/*.png | tail -1)"
	@echo "Edits of the model that comes with the library: $(RUN)/portrait.png"

test: $(VENV)/installed-test lint
	$(VENV)/bin/python -m pytest -n 2 --dist loadfile -m "not slow"

test-all: test test-rest

# What `make test` leaves out: slow tests, and those that compare with PyTorch.
test-rest: $(VENV)/installed-test-all
	$(VENV)/bin/python -m pytest -n 2 --dist loadfile -m "slow or torch" --ignore=tests/test_distributed.py
	@# Alone, because its processes wait for one another.
	$(VENV)/bin/python -m pytest tests/test_distributed.py

lint: $(VENV)/installed-test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' \
	  || { echo "The venv module is missing: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/installed-test: pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --editable '.[test]'
	@touch $@ $(VENV)/installed

$(VENV)/installed-test-all: pyproject.toml | $(VENV)/installed-test
	$(VENV)/bin/python -m pip install --quiet --editable '.[test-all]'
	@touch $@

clean:
	rm -rf $(VENV) runs build *.egg-info
