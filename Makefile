# Everything a newcomer needs. `make` lists it.
PYTHON ?= python3
# An environment for another Python: make test PYTHON=python3.12 VENV=~/venv-3.12
VENV ?= .venv
BIN := $(VENV)/bin
# Whole files, each on one of WORKERS processes: what a file starts, it starts once.
WORKERS ?= 2
PYTEST := $(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder --durations=15
POSTGRES := ls /usr/lib/postgresql/*/bin/postgres $$(command -v postgres) >/dev/null 2>&1
DEMO := demo-$(shell date +%Y%m%d-%H%M%S)

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-docs test-long docs lint types chromium postgres bench package clean

help: ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

setup: $(VENV)/.installed ## make .venv and install Manta into it

$(VENV)/.installed: requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

demo: setup ## pretrain on scikit-learn's digits, evaluate, register, write the page (about two minutes)
	$(BIN)/manta train jobs/recipes/digits.yaml --name $(DEMO)
	@echo
	@echo "Look at       manta-runs/$(DEMO)/report.html"
	@echo "Load it       mlflow.set_tracking_uri('sqlite:///$(CURDIR)/manta-runs/mlflow.db')"
	@echo "              mlflow.pyfunc.load_model('models:/manta-simclr-resnet10t@candidate').predict(uint8_images)"
	@echo "Browse runs   $(BIN)/mlflow ui --backend-store-uri sqlite:///manta-runs/mlflow.db"
	@echo "Your images   $(BIN)/manta train jobs/recipes/photos.yaml data.source=./photos"

test: lint types chromium postgres ## lint, types, import contract, tests (25 minutes on two cores)
	$(PYTEST) -m "not long" tests/conformance tests/unit tests/odd tests/package
	$(PYTEST) -m "not long" tests/integration $$(command -v chromium >/dev/null && echo tests/browser) \
	  $$($(POSTGRES) || echo "--ignore=tests/integration/test_postgres.py --ignore=tests/integration/test_promotion.py")

test-long: setup ## tests that kill, interrupt and wait (20 minutes more)
	$(PYTEST) -m long tests/conformance tests/integration

test-docs: setup ## README and every tutorial, followed to the letter; the site (about ten minutes)
	$(PYTEST) --dist loadgroup tests/docs

docs: setup ## the documentation's site, in build/site: python -m http.server --directory build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --config-file docs/site/mkdocs.yml

chromium: # the report page is tested in a real browser
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	  && apt-get update -qq >/dev/null && apt-get install -y -qq --no-install-recommends chromium >/dev/null; } \
	  || echo "NOTE: no chromium and no right to install it: tests/browser is not run (Debian: apt-get install chromium)"

postgres: # studies are tested in a real database
	@$(POSTGRES) || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	  && apt-get update -qq >/dev/null && apt-get install -y -qq --no-install-recommends postgresql >/dev/null; } \
	  || echo "NOTE: no PostgreSQL and no right to install it: test_postgres.py and test_promotion.py are not run (Debian: apt-get install postgresql)"

lint: setup ## ruff, the import contract and the measures of the house
	$(BIN)/ruff check platform jobs tests benchmarks docs
	$(BIN)/ruff format --check platform jobs tests benchmarks docs
	$(BIN)/lint-imports
	$(BIN)/python tests/house.py

types: setup ## mypy, strict
	$(BIN)/mypy

bench: setup ## every benchmark that fits a laptop; those of all recipes, objectives and modalities take hours and are run by hand, as is before_after
	for script in $(filter-out benchmarks/_% $(addprefix benchmarks/,before_after.py modalities.py objectives.py recipes.py),$(wildcard benchmarks/*.py)); do echo "== $$script"; $(BIN)/python $$script || exit 1; done

package: setup ## sdist and wheel in dist/, tried in an empty environment (a few minutes, needs the package index)
	rm -rf dist
	$(BIN)/python -m hatchling build --target sdist
	$(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist dist/*.tar.gz
	$(BIN)/python tests/package/try_wheel.py dist/*.whl

clean: ## remove what is not in git, but for .venv and runs
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
