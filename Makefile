# make serve   install, and serve on 127.0.0.1:8000 (PORT=8080 changes it)
# make check   format, lint, types and the fast tests, in about a minute
# make test    format, lint, types and all tests
# make coverage   the same, with the lines that no test reaches
# make docs    write the generated parts of the documentation
# make bench   measure the service, with targets, on a machine without other work; writes bench.json
# make load    load a running server (PORT=8000) from several processes
# make stress the tests that provoke failures, for longer: generated requests, crashes, bursts
# make torture  fuzzing (MINUTES=60 for each target), traffic (twice as long), kills, files, faults of the database: see docs/reliability.md
# make lock    pin the newest dependencies that pyproject.toml allows, with their hashes: see SECURITY.md
# make sbom    list what is installed in .venv: CycloneDX, in dist/sbom.json
# make wheel   build the wheel, the same bytes each time, in dist
# make checksums   write SHA256SUMS after a new bundle
# make secrets     accept the findings of the search for secrets, after you have looked at each: tests/test_supply.py wants a reason
# make container-check   build the image by buildah, without a container engine, and use the service as its user: as root
# make bundle  build the bundle `everyday` again from photographs: DATA="folder ..." (SMOKE=1 only tries it)
#
# TORCH=cuda installs, into a new .venv, the build of PyTorch that brings gigabytes of CUDA on Linux; the default is the CPU build.

PYTHON ?= python3
PORT ?= 8000
MINUTES ?= 60
VENV := .venv
BIN := $(VENV)/bin
TORCH ?= cpu
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
PIP := $(BIN)/python -m pip --disable-pip-version-check
# every file is compared with the hash in requirements/; --no-deps, because what is not listed there must not be installed
HASHED := $(PIP) install --quiet --no-deps --require-hashes --only-binary :all:

.PHONY: serve check test coverage docs bench load stress bundle torture lock sbom wheel checksums secrets container-check

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
	$(BIN)/python bench/service.py --json bench.json

load: $(VENV)/dev.done
	$(BIN)/python bench/load.py --url http://127.0.0.1:$(PORT) $(LOAD)

stress: $(VENV)/dev.done
	STRESS=500 $(BIN)/pytest tests/app/test_any_upload.py tests/app/test_openapi.py tests/app/test_pressure.py tests/app/test_memory.py tests/app/test_slow_clients.py tests/app/test_jobs.py tests/app/test_job_failures.py tests/app/test_recovery.py

MINUTES ?= 60
torture: $(VENV)/dev.done
	$(HASHED) --requirement requirements/torture.txt
	for target in decode metadata archive bundle; do \
		$(BIN)/python tests/torture/fuzz.py $$target -max_total_time=$$(($(MINUTES) * 60)) || exit 1; done
	$(BIN)/python tests/torture/traffic.py --minutes $$(($(MINUTES) * 2))
	$(BIN)/python tests/torture/kills.py --kills $$(($(MINUTES) * 200 / 60))
	$(BIN)/python tests/torture/files.py --files $$(($(MINUTES) * 10000 / 60))
	$(BIN)/python tests/torture/database.py --rounds $$(($(MINUTES) / 3))

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Chromaroute needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "no venv: on Debian and Ubuntu, apt install python3-venv"; exit 1; }

# pyvips has no wheel: the pinned setuptools builds it
define install
	$(HASHED) $(if $(filter cpu,$(TORCH)),--extra-index-url $(TORCH_INDEX)) --requirement requirements/torch-$(TORCH).txt
	$(HASHED) --requirement requirements/$(1).txt
	$(HASHED) --no-binary pyvips --no-build-isolation --requirement requirements/source.txt
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	$(PIP) check
endef

$(VENV)/serve.done: $(BIN)/python pyproject.toml $(wildcard requirements/*.txt)
	$(call install,base)
	touch $@

$(VENV)/dev.done: $(BIN)/python pyproject.toml $(wildcard requirements/*.txt)
	$(call install,dev)
	touch $@

# --- the supply chain ---------------------------------------------------------------------------------------------------------

# the builds of torch have files of their own, and that of the CPU builds is kept by hand: see there
COMPILE = $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-annotate --custom-compile-command 'make lock' $(UPGRADE)
LISTED_ELSEWHERE := --no-emit-package torch --no-emit-package torchvision --no-emit-package pyvips

lock: UPGRADE ?= --upgrade
lock: $(VENV)/dev.done
	$(COMPILE) pyproject.toml --extra dev $(LISTED_ELSEWHERE) --output-file requirements/dev.txt
	$(COMPILE) pyproject.toml --constraint requirements/dev.txt $(LISTED_ELSEWHERE) --output-file requirements/base.txt
	$(COMPILE) pyproject.toml --extra scale --constraint requirements/dev.txt $(LISTED_ELSEWHERE) --output-file requirements/scale.txt
	echo pyvips | $(COMPILE) --no-deps --python-version 3.11 - --output-file requirements/source.txt
	sed -En 's/^(torch|torchvision)==([0-9.]+).*/\1==\2/p' requirements/torch-cpu.txt | \
		$(COMPILE) --no-config --python-version 3.11 --constraint requirements/dev.txt - --output-file requirements/torch-cuda.txt

sbom: $(VENV)/dev.done
	mkdir -p dist
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --output-file dist/sbom.json $(BIN)/python

# from the last commit alone, with its time and without the modes of this checkout, so that everyone builds the same file from it
wheel: export SOURCE_DATE_EPOCH = $(shell git log -1 --format=%ct)
wheel: $(VENV)/dev.done
	rm -rf build && mkdir -p build/source
	umask 022 && git archive HEAD | tar --extract --no-same-permissions --directory build/source && \
		$(PIP) wheel --quiet --no-deps --no-build-isolation --wheel-dir dist build/source
	cd dist && sha256sum *.whl

checksums:
	sha256sum models/bundles/everyday/manifest.json models/bundles/everyday/*.safetensors > SHA256SUMS

# digests are no secrets, and these files are full of them; the last are pictures and weights
NO_SECRETS := \.secrets\.baseline$$|SHA256SUMS$$|requirements/|docs/(report|measured)/|app/openapi_examples\.json$$
NO_SECRETS := ^($(NO_SECRETS)|models/bundles/.*/manifest\.json$$|.*\.(safetensors|jpg|png)$$)

secrets: $(VENV)/dev.done
	git ls-files -z | xargs -0 $(BIN)/detect-secrets scan --exclude-files '$(NO_SECRETS)' > .secrets.new
	mv .secrets.new .secrets.baseline

container-check:
	deploy/container-check.sh

# --- the bundle ---------------------------------------------------------------------------------------------------------------

WORK ?= data
RUNS ?= runs
BUNDLE ?= $(if $(SMOKE),$(WORK)/smoke,models/bundles/everyday)
TRAIN := $(BIN)/chromaroute-train
FLAGS := --data $(WORK)/manifest.csv --runs $(RUNS)$(if $(SMOKE),/smoke --smoke)

SOME := --set 'categories=["cat", "face"]'

# glibc gives large blocks back to the system after every step otherwise; keeping them makes a step a third faster
bundle: export MALLOC_MMAP_THRESHOLD_ = 4294967296
bundle: export MALLOC_TRIM_THRESHOLD_ = 8589934592
bundle: $(VENV)/dev.done
	test -n "$(DATA)" || { echo "make bundle DATA=\"folder ...\", where the folders have the photographs: see docs/training.md"; exit 1; }
	$(TRAIN) prepare $(DATA) --out $(WORK)/manifest.csv $(if $(SMOKE),--limit 4)
	$(TRAIN) train everyday-joint $(FLAGS) $(if $(DEVICE),--device $(DEVICE))
	$(TRAIN) train everyday-base $(FLAGS) $(if $(DEVICE),--device $(DEVICE))
	$(TRAIN) train everyday-readouts $(FLAGS) $(if $(DEVICE),--device $(DEVICE)) $(if $(SMOKE),$(SOME))
	$(TRAIN) publish bundle-everyday $(FLAGS) --out $(BUNDLE)
	$(TRAIN) evaluate $(BUNDLE) --data $(WORK)/manifest.csv --set-name photos --split test $(if $(SMOKE),--limit 24 --out $(WORK)/report,--out docs/report)
