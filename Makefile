# Everything a person or CI does here. `make` alone lists the targets. Needs Python 3.11+ and make;
# `make test` fetches the rest, or says how to.

PYTHON ?= python3
PYTHON2 ?= python2.7
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := config gateway actors development demo benchmarks
ARGS ?=
PARALLEL := --numprocesses 5 --dist loadfile --no-loadscope-reorder
MAVEN_OPTIONS := --batch-mode --no-transfer-progress

# Tests start hundreds of Pythons: none of them should compile the libraries again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup setup-dev setup-tests demo lint format contract test coverage test-fast test-frontend client test-containers test-deploy test-autoscale cells soak fuzz simulate autobahn lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/.runtime ## install Doorstep into .venv (pip only, from the hash-locked requirements)

demo: $(VENV)/.demo ## run the demo: broker, Valkey, Ray, services and page (make demo ARGS=--check to test it)
	$(BIN)/doorstep demo $(ARGS)

setup-dev: $(VENV)/.dev build/types/.linked ## install what lint and tests need into .venv

setup-tests: setup-dev build/kafka/classes.jsa ## also get the real parts the tests run on: Kafka, Java, Chromium, Firefox
	@tests/support/need.sh chromium chromium
	@tests/support/need.sh firefox-esr firefox-esr
	@tests/support/need.sh promtool prometheus

lint: setup-dev ## ruff and mypy --strict over everything, tests included
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(PACKAGES:%=-p doorstep.%) -p tests

format: setup-dev ## let ruff format everything and fix what it can
	$(BIN)/ruff format --quiet .
	$(BIN)/ruff check --fix --exit-zero --quiet .
	$(BIN)/ruff format .

contract: setup ## write what pages are compiled against, from the Python source: TypeScript, AsyncAPI, docs/events.md
	$(BIN)/doorstep contract typescript > frontend/packages/client/src/contract.generated.ts
	$(BIN)/doorstep contract asyncapi > docs/asyncapi.json
	$(BIN)/doorstep contract markdown > docs/events.md

test: ## set up everything, then lint and all tests (make test ARGS="-k cursor")
	$(MAKE) --jobs 4 setup-tests lint test-frontend
	$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

coverage: setup-tests frontend/node_modules/.installed ## all tests again, with a table of what they cover
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest $(PARALLEL) $(ARGS)

test-fast: setup-dev ## what needs neither Java nor a browser, in a minute and a half: while you work
	$(BIN)/python -m pytest $(PARALLEL) --numprocesses 6 -m "not (kafka or ray or browser or containers or slow or fuzz)" $(ARGS)

test-frontend: frontend/node_modules/.installed ## check, build and test frontend/ (needs Node 20 or later)
	@tests/support/node.sh npm --prefix frontend run --silent check

client: frontend/node_modules/.installed ## pack @doorstep/client into build/, for the `npm install` of a project of yours
	mkdir -p build
	npm --prefix frontend run --silent build --workspace @doorstep/client
	cd frontend && npm pack --silent --workspace @doorstep/client --pack-destination ../build

test-containers: setup-dev ## on Docker: the deployment of deploy/, and every test that needs Kafka or Valkey
	tests/containers/docker.sh env DOORSTEP_TEST_CONTAINERS=1 $(BIN)/python -m pytest $(ARGS)

fuzz: setup-dev ## a million rounds of each kind of random input (FUZZ_SEED=… repeats a run)
	FUZZ_ROUNDS=$${FUZZ_ROUNDS:-1000000} $(BIN)/python -m pytest -s --timeout 3600 -m fuzz $(ARGS)

simulate: setup-dev ## consumers, Redis and holders in a simulated world, 10,000 seeds (ARGS="--seed 4711" repeats one)
	$(BIN)/python -m tests.simulation $(if $(ARGS),$(ARGS),--count 10000)

autobahn: setup-dev build/autobahn/.installed ## Autobahn's WebSocket cases, all but compression (PYTHON2=… names a Python 2.7)
	$(BIN)/python -m tests.gateway.autobahn $(PYTHON2) -c \
		"import site; site.addsitedir('build/autobahn/site'); from autobahntestsuite.wstest import run; run()"

cells: setup-tests ## three machines under load: nodes, holders and the head die, are cut off and come back (as root; half an hour)
	DOORSTEP_TEST_CELLS=1 $(BIN)/python -m pytest tests/cells tests/e2e/test_scale.py $(ARGS)

soak: setup-tests ## an hour of random kills, a million events: nothing lost, nothing grows (SOAK_S=600 for ten minutes)
	DOORSTEP_SOAK_S=$${SOAK_S:-3600} $(BIN)/python -m pytest -s tests/e2e/test_soak.py \
		tests/actors/consuming/test_consumer_faults.py::test_rebalances_under_load_lose_and_double_nothing $(ARGS)

test-deploy: setup-dev build/tools/helm ## the Helm chart, rendered and validated (needs Go, once, for helm)
	@tests/support/need.sh promtool prometheus
	DOORSTEP_TEST_DEPLOY=1 $(BIN)/python -m pytest tests/deploy $(ARGS)

test-autoscale: setup-tests ## Ray's autoscaler brings the cells that are asked for: two minutes (Linux, root)
	DOORSTEP_TEST_AUTOSCALE=1 $(BIN)/python -m pytest tests/autoscale $(ARGS)

lock: ## write requirements/*.txt from pyproject.toml (needs uv; make lock ARGS=--upgrade)
	@command -v uv >/dev/null || { echo "uv is missing: $(PYTHON) -m pip install uv"; exit 1; }
	$(call compile,dev,--extra dev $(ARGS))
	$(call compile,demo,--extra demo --constraint requirements/dev.txt $(ARGS))
	$(call compile,traces,--extra traces --constraint requirements/dev.txt $(ARGS))
	$(call compile,runtime,--constraint requirements/dev.txt $(ARGS))
	@! grep -n '://' requirements/*.txt || { echo "a lock names a host"; exit 1; }

build/tools/helm:
	@tests/support/need.sh go golang
	@echo "Building helm (two minutes, once) …"
	-GOBIN=$(CURDIR)/build/tools go install helm.sh/helm/v3/cmd/helm@v3.22.0

include benchmarks/bench.mk

clean: ## remove what was built and cached (not .venv)
	rm -rf build frontend/packages/*/dist frontend/packages/client/components frontend/examples/dist *.egg-info .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

# setuptools comes in on stdin: it builds Doorstep itself (--no-build-isolation), so it must be locked too.
define compile
echo 'setuptools>=80' | uv pip compile pyproject.toml - $(2) --output-file requirements/$(1).txt \
	--universal --python-version 3.11 --generate-hashes --no-annotate --no-emit-index-url \
	--custom-compile-command 'make lock' --quiet
endef

define install
@echo "Installing requirements/$(1).txt into $(VENV) …"
$(BIN)/python -m pip install --disable-pip-version-check --require-hashes -r requirements/$(1).txt
$(BIN)/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation --editable .
@touch $@
endef

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Doorstep needs Python 3.11 or later; name one: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' || { echo "python3-venv is missing: apt-get install -y python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: $(BIN)/pip requirements/runtime.txt pyproject.toml
	$(call install,runtime)

$(VENV)/.demo: $(VENV)/.runtime requirements/demo.txt
	$(call install,demo)

# What runs is part of it.
$(VENV)/.dev: $(BIN)/pip requirements/dev.txt pyproject.toml
	$(call install,dev)
	@touch $(VENV)/.runtime

frontend/node_modules/.installed: frontend/package-lock.json
	@tests/support/need.sh npm npm
	@tests/support/node.sh npm --prefix frontend ci --no-audit --no-fund
	@tests/support/node.sh touch $@

# mypy finds namespace packages by their folders, so it gets folders that are named like the packages.
build/types/.linked: Makefile
	mkdir -p build/types/doorstep
	for package in $(PACKAGES); do ln -sfn ../../../$$package build/types/doorstep/$$package; done
	@touch $@

# Autobahn's own client is of Python 2.7, and of that time; it gets a folder of its own.
build/autobahn/.installed:
	@$(PYTHON2) -c 'import pip' || { echo "Autobahn needs Python 2.7 with pip; name one: make autobahn PYTHON2=…"; exit 1; }
	$(PYTHON2) -m pip install --disable-pip-version-check --target build/autobahn/site autobahntestsuite==0.8.2
	@touch $@

build/kafka/classes.jsa: build/kafka/.fetched $(VENV)/.dev
	@tests/support/need.sh java default-jre-headless
	-$(BIN)/python -m tests.support.kafka

build/kafka/.fetched: tests/kafka/pom.xml
	@tests/support/need.sh mvn maven
	@echo "Fetching Apache Kafka (54 MB, once) …"
	rm -rf build/kafka
	-mvn $(MAVEN_OPTIONS) -f $< dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/build/kafka && touch $@
