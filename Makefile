# Two commands do everything, set-up included: make run, make test.

SHELL := /bin/bash
VENV := .venv
STAMP := $(VENV)/.set-up
PYTHON ?= python3

.PHONY: run test survival check setup packages clean

run: setup
	$(VENV)/bin/harness run anon_fork_migrate --as-declared \
		--kernel stock --kernel v5.10-debug --kernel v5.10-anon-race

test: setup check
	$(VENV)/bin/pytest

survival: setup
	HUGETLB_HARNESS_SURVIVAL=1 $(VENV)/bin/pytest -v -rA -m guest \
		tests/test_survival.py tests/test_survival_host.py tests/test_resume.py \
		tests/test_on_splat.py tests/test_isolation.py

check: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

setup: packages $(STAMP)

# Only this step ever needs root, and only when something is missing.
packages:
	@lacking=$$($(PYTHON) harness/doctor.py --packages) || exit 3; \
	if [ -n "$$lacking" ]; then scripts/install-packages $$lacking; fi

$(STAMP): pyproject.toml | packages
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
