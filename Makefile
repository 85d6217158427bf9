# make train   trains a character-level language model on real text and leaves a run folder under runs/
# make test    lint, types and all tests
#
# make notebooks  runs docs/notebooks and what belongs to them, for which it installs Jupyter's kernel (extra notebook)
# make dev        .venv with everything that developers use, and checks that run at each commit: see CONTRIBUTING.md
# make lint       style and types alone (make doctest: the examples in docstrings alone)
# make thorough   the property tests with a thousand examples each and more, about an hour
# make mutants    changes the package in small ways and prints the share that the tests notice
# make coverage   the same tests, with a list of the lines and branches that none of them reaches (htmlcov/ shows them)
# make bench      times this package against its peers, as ratios (extra bench; and torch where it is installed)
#
# make dist       a wheel in dist/, tried in an environment of its own
#
# make test-browser  the pages for the browser, in Chromium, which it installs where it can (root, apt)
#
# make pictures      the pictures of docs/seeing.md, taken again in Chromium
# make labpages      the pages and pictures of docs/lab, made again by running the experiments (`tinygrad-rnn lab`)
#
# make site          everything in docs/, the reference, the course and a gallery as pages in site/, which need no network
#
# make gpu        tests and measures everything that needs a GPU, in eight minutes; tables in OUT=DIR.  Installs nothing:
#                 $(PYTHON) must have cupy, numpy, pytest, hypothesis, and torch to compare with
#
# Both make .venv on first use and need nothing but python3 (3.10 or newer, with venv) and make.
# Another interpreter: make PYTHON=python3.12 train.  Options of the program: make train ARGS="--cell gru".

PYTHON ?= python3
ARGS ?=
PYTEST_ARGS ?= -n 2 --dist worksteal

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# Each test process gets one core, so BLAS must not start a thread per core in each of them.
# Tests start some two hundred interpreters: they read bytecode, also where containers say that none is to be written.
TEST_ENV := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=

.PHONY: train test test-browser pictures labpages site notebooks lint doctest dev thorough mutants coverage bench dist gpu clean

train: .venv/.installed-plot
	$(BIN)/tinygrad-rnn train $(ARGS)

# The examples in docstrings compile the kernels that the tests then find, on one core while mypy works on another.
test: .venv/.installed-test
	@$(MAKE) --no-print-directory -j 2 lint doctest
	$(TEST_ENV) $(BIN)/pytest $(PYTEST_ARGS) tests

doctest: .venv/.installed-test
	$(TEST_ENV) $(BIN)/pytest -q --doctest-modules tinygrad_rnn

test-browser: .venv/.installed-test .venv/.installed-site
	$(BIN)/python -m tests.browser.install
	$(TEST_ENV) $(BIN)/pytest -m browser $(ARGS) tests/browser

pictures: .venv/.installed-test
	$(BIN)/python -m tests.browser.install
	$(TEST_ENV) $(BIN)/python -m tools.pictures

labpages: .venv/.installed-test
	$(TEST_ENV) $(BIN)/python -m tools.lab_pages $(ARGS)

site: .venv/.installed-site
	@$(TEST_ENV) $(BIN)/python -m tools.site $(ARGS)

lint: .venv/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

notebooks: .venv/.installed-test .venv/.installed-notebook
	$(TEST_ENV) $(BIN)/pytest $(PYTEST_ARGS) tests/viz/test_notebooks.py

dev: .venv/.installed-test .venv/.installed-dev .venv/.installed-notebook
	$(BIN)/pre-commit install

thorough: .venv/.installed-test
	$(TEST_ENV) HYPOTHESIS_PROFILE=thorough $(BIN)/pytest $(PYTEST_ARGS) $(ARGS)

mutants: .venv/.installed-test
	$(TEST_ENV) $(BIN)/python -m tools.mutation $(or $(ARGS),tape kernels ops)

coverage: .venv/.installed-test .venv/.installed-dev
	$(TEST_ENV) $(BIN)/coverage run -m pytest $(PYTEST_ARGS) $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage html --quiet
	$(BIN)/coverage report

bench: .venv/.installed-bench
	$(BIN)/tinygrad-rnn bench $(ARGS)

dist: .venv/.created
	rm -rf dist build
	$(PIP) wheel --no-deps --wheel-dir dist .
	$(PYTHON) -m venv dist/try
	dist/try/bin/python -m pip --disable-pip-version-check --quiet install dist/*.whl
	cd dist && try/bin/tinygrad-rnn train --updates 20 --out try/run
	rm -rf dist/try build

gpu:
	PYTHONPATH=. $(PYTHON) -m tests.gpu --out $(or $(OUT),gpu-results) $(ARGS)

# A stamp is made last, so that an interrupted installation is taken up again; pyproject.toml makes it stale.
# The package is installed in editable form: the stamps need not follow its sources.
.venv/.installed-%: pyproject.toml .venv/.created
	$(PIP) install --editable '.[$*]'
	@touch $@

.venv/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	  || { echo "tinygrad-rnn needs Python 3.10 or newer; $(PYTHON) is not: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@

.PRECIOUS: .venv/.installed-%

clean:
	rm -rf .venv build dist site *.egg-info htmlcov .coverage*
