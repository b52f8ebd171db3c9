# Everything a contributor runs. The first `make test` makes .venv and, if this machine has no recent R, a system that
# has one (scripts/r-root); later runs reuse both.

TEST_PYTHON ?= tests/python
BENCH ?=
TEST_R ?=
CHECK_R ?=
WORKERS ?= 2
N ?= 1000
SEED ?= 1
DATA ?=
STUDIES ?= ../shared/data

venv := .venv/bin
# Several test processes share the machine: each takes its share of the cores instead of all of them.
threads := $(shell cores=$$(getconf _NPROCESSORS_ONLN); share=$$((cores / $(WORKERS))); echo $$((share > 1 ? share : 1)))

# Tests that touch every dependency and take a minute or two; those that start processes or fill a disk are left out.
fast := $(addprefix tests/python/,data evaluate genes models tasks cli plots)
quick = not process and not killed and not full_disk
test-in = environment=$$(scripts/floors $(1)) && PYTHONPATH=python OMP_NUM_THREADS=1 \
	$$environment/bin/python -m pytest -n $(WORKERS) -q $(fast) -k '$(quick)'

# On one thread: several that wait for each other slow the small models of examples and vignettes down.
in-build := scripts/r env -C build/r OMP_NUM_THREADS=1 _R_CHECK_FORCE_SUGGESTS_=false TORCHINDUCTOR_CACHE_DIR=$(CURDIR)/build/r/torch
# As CRAN checks, but for what asks its servers, the time of examples, which do nothing where there is no Python, and
# the size: with the models in the box the package is larger than CRAN takes.
as-cran = _R_CHECK_CRAN_INCOMING_REMOTE_=false _R_CHECK_SYSTEM_CLOCK_=false _R_CHECK_EXAMPLE_TIMING_THRESHOLD_=60 \
	_R_CHECK_CRAN_INCOMING_TARBALL_THRESHOLD_=2e7
check = $(in-build) $(1) sh -c 'R CMD check --no-manual $(2) celloquy_*.tar.gz'
# What runs vignettes is building them, which leaves out code that can't run; their code alone knows no such thing.
# Building them needs rmarkdown, a suggested package.
once = _R_CHECK_VIGNETTES_SKIP_RUN_MAYBE_=true

.PHONY: help demo models bench bench-convert fuzz fuzz-r fuzz-kills test test-python test-r test-floors test-newest dist lint format document check-r check-r-bare site clean venv

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | \
		awk -F'|' '{ printf "  make %-13s %s\n", $$1, $$2 }'

demo: venv ## Embed real blood cells, cluster, compare with PCA; DATA=file.h5ad for your own
	$(venv)/python scripts/demo.py $(DATA)

models: venv ## Make the models in the box from a folder of studies (STUDIES=folder)
	$(venv)/python scripts/make_models.py $(STUDIES)

bench: venv ## Measure beside the released CellPLM; BENCH=--resume goes on with an interrupted run
	$(venv)/python benchmarks/peer.py $(BENCH)

bench-convert: venv ## Measure conversion beside the ways of zellkonverter, sceasy and anndataR; takes BENCH, too
	CELLOQUY_R_PACKAGES=r-bioc-rhdf5 $(venv)/python benchmarks/convert.py $(BENCH)

test: test-python test-r ## Run every test: Python, then R

test-python: venv ## Run the Python tests (TEST_PYTHON=path for some of them)
	OMP_NUM_THREADS=$(threads) $(venv)/python -m pytest -n $(WORKERS) $(TEST_PYTHON)

test-r: venv ## Run the R tests (TEST_R=name for one file), and the Python tests that need R
	scripts/r Rscript --vanilla scripts/test.R $(TEST_R)
	$(if $(TEST_R),,scripts/r env CELLOQUY_TEST_R=1 $(venv)/python -m pytest $(addprefix tests/python/,test_anndata2ri.py test_seurat.py) \
		'tests/python/test_examples.py::test_example_runs[read_seurat]' \
		'tests/python/test_examples.py::test_example_runs[write_seurat]')

fuzz: venv ## Fuzz with N random inputs from SEED on, a tenth as many in R, a hundredth as many kills; N=1: one again
	OMP_NUM_THREADS=1 $(venv)/python tests/fuzz/fuzz.py -n $(N) --seed $(SEED)
	$(if $(filter-out 1,$(N)),$(MAKE) fuzz-r N=$$(($(N) / 10)) && $(MAKE) fuzz-kills N=$$(($(N) / 100)))

fuzz-r: venv ## Fuzz the R package alone
	mkdir -p build/fuzz
	scripts/r R CMD INSTALL --no-docs --library=build/fuzz .
	scripts/r env OMP_NUM_THREADS=1 R_LIBS=build/fuzz Rscript --vanilla tests/fuzz/fuzz.R $(N) $(SEED)

fuzz-kills: venv ## Kill what writes files N times at random moments
	OMP_NUM_THREADS=1 $(venv)/python tests/fuzz/kills.py -n $(N) --seed $(SEED)

# Old packages warn of what newer ones beside them have deprecated; that is not celloquy's to mend.
test-floors: ## Run fast Python tests on the lowest versions that pyproject.toml allows
	$(call test-in,lowest) -W default --disable-warnings

test-newest: ## Run them on the newest versions that the lowest Python gets
	$(call test-in,newest)

lint: venv ## Check style and types: ruff, mypy, lintr
	$(venv)/ruff check .
	$(venv)/ruff format --check .
	$(venv)/mypy
	scripts/r Rscript --vanilla scripts/lint.R

format: venv ## Format the Python code
	$(venv)/ruff check --fix-only --quiet .
	$(venv)/ruff format .

document: venv ## Write man/ and NAMESPACE from the comments in R/
	scripts/r Rscript --vanilla -e 'roxygen2::roxygenise()'

# Building has run the vignettes.
check-r: venv ## Build the R package and run R CMD check on it (CHECK_R=--no-tests leaves its tests out)
	rm -rf build/r && mkdir -p build/r
	$(in-build) R CMD build ../..
	$(call check,$(as-cran),--as-cran --no-vignettes $(CHECK_R))
	@! grep -E '^\* checking .* (ERROR|WARNING|NOTE)$$' build/r/celloquy.Rcheck/00check.log

check-r-bare: check-r ## Check it again, without tests: with no suggested package, then with no Python
	mkdir -p build/r/no-suggests build/r/no-python
	$(call check,_R_CHECK_DEPENDS_ONLY_=true $(once),--no-tests --ignore-vignettes -o no-suggests)
	$(call check,RETICULATE_PYTHON=/none/python $(once),--no-tests -o no-python)
	@! grep -E '^\* checking .* (ERROR|WARNING|NOTE)$$' build/r/no-*/celloquy.Rcheck/00check.log

dist: check-r ## Build wheel, source distribution and R package in dist/, install each in an empty place, and use it
	scripts/dist

site: venv ## Build the documentation of Python and R in build/site, without the network
	scripts/site

clean: ## Remove what can be made again, except .venv and the R system
	rm -rf build dist demo .pytest_cache .mypy_cache .ruff_cache .hypothesis celloquy.Rcheck celloquy_*.tar.gz
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

venv:
	@scripts/venv
