# make serve   install, and serve on 127.0.0.1:8000 (PORT=8080 changes it)
# make check   format, lint, types and the fast tests, in about a minute
# make test    format, lint, types and all tests
# make coverage   the same, with the lines that no test reaches
# make docs    write the generated parts of the documentation
# make bench   load a running server (PORT=8000) from several processes
# make stress the tests that provoke failures, for longer: generated requests, crashes, bursts
# make bundle  build the bundle `everyday` again from photographs: DATA=folder (SMOKE=1 only tries it, in a minute)
#
# TORCH=cpu installs PyTorch's own CPU wheels; on Linux, the default ones bring gigabytes of CUDA.

PYTHON ?= python3
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
ifeq ($(TORCH),cpu)
PIP += --extra-index-url https://download.pytorch.org/whl/cpu
endif

.PHONY: serve check test coverage docs bench stress bundle

serve: $(VENV)/serve.done
	$(BIN)/chromaroute serve --port $(PORT)

# a process per core with one thread each; tests that measure time run alone, after the others
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest
PARALLEL := --numprocesses logical --dist loadfile

check: $(VENV)/dev.done
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --cache-dir .mypy_cache/linux --platform linux
	$(PYTEST) --quiet $(PARALLEL) -m "not slow and not server and not browser and not timing"

test: $(VENV)/dev.done
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	for platform in linux darwin win32; do $(BIN)/mypy --platform $$platform --cache-dir .mypy_cache/$$platform || exit 1; done
	$(PYTEST) $(PARALLEL) -m "not timing" $(COVERAGE)
	$(PYTEST) -m timing $(COVERAGE) $(and $(COVERAGE),--cov-append)

coverage: COVERAGE = --cov
coverage: test

docs: $(VENV)/dev.done
	PYTHONPATH=. $(BIN)/python docs/build.py

bench: $(VENV)/dev.done
	$(BIN)/python bench/load.py --url http://127.0.0.1:$(PORT) $(LOAD)

stress: $(VENV)/dev.done
	STRESS=500 $(BIN)/pytest tests/app/test_any_upload.py tests/app/test_openapi.py tests/app/test_pressure.py tests/app/test_memory.py tests/app/test_slow_clients.py tests/app/test_jobs.py tests/app/test_job_failures.py tests/app/test_recovery.py

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Chromaroute needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "no venv: on Debian and Ubuntu, apt install python3-venv"; exit 1; }

$(VENV)/serve.done: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) --editable .
	touch $@

$(VENV)/dev.done: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) --editable ".[dev]"
	touch $@

# --- the bundle ---------------------------------------------------------------------------------------------------------------

WORK ?= data
RUNS ?= runs
BUNDLE ?= $(if $(SMOKE),$(WORK)/smoke,models/bundles/everyday)
TRAIN := $(BIN)/chromaroute-train
FLAGS := --data $(WORK)/manifest.csv --runs $(RUNS)$(if $(SMOKE),/smoke --smoke)

# glibc gives large blocks back to the system after every step otherwise; keeping them makes a step a third faster
bundle: export MALLOC_MMAP_THRESHOLD_ = 4294967296
bundle: export MALLOC_TRIM_THRESHOLD_ = 8589934592
bundle: $(VENV)/dev.done
	test -d "$(DATA)" || { echo "make bundle DATA=folder, where the folder has the photographs: see docs/training.md"; exit 1; }
	$(TRAIN) prepare $(DATA) --out $(WORK)/manifest.csv $(if $(SMOKE),--limit 20)
	$(TRAIN) train everyday-trunk $(FLAGS)
	$(TRAIN) train everyday-wide $(FLAGS)
	$(TRAIN) train everyday-close $(FLAGS)
	$(TRAIN) train everyday-general $(FLAGS)
	$(TRAIN) train everyday-experts $(FLAGS)
	$(TRAIN) publish bundle-everyday $(FLAGS) --out $(BUNDLE)
	$(TRAIN) evaluate $(BUNDLE) --data $(WORK)/manifest.csv --set-name photos --split test $(if $(SMOKE),--limit 42 --out $(WORK)/report,--out docs/report)
