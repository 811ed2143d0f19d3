# What can be done here; each target is described by the text after its ##. The work itself is in scripts/.

.PHONY: help run tunix train test test-tunix test-docker check bench bench-full bench-peers chaos fuzz lock sbom clean

help: ## list these targets
	@grep -E '^[a-z-]+:.* ## ' Makefile | awk -F ':.* ## ' '{ printf "make %-11s %s\n", $$1, $$2 }'

run: .venv/requirements.txt ## serve on http://127.0.0.1:8000 until Ctrl-C, and install Tunix beside it (PORT, TUNIX_RT_HOME, TUNIX=0)
	@scripts/serve

tunix: .venv-tunix/requirements-tunix.txt ## install Google's Tunix into .venv-tunix (1.3 GB, half a minute)

train: .venv/requirements.txt tunix ## train the built-in model for a minute, as a run of this registry (TUNIX_RT_HOME)
	@scripts/train

test: .venv/requirements-dev.txt ## run every test on SQLite and on PostgreSQL (ARGS="-k name" for some)
	@scripts/test $(ARGS)

test-tunix: .venv/requirements-dev.txt tunix ## train for real with Tunix, many times (ARGS="-k name")
	@scripts/test_tunix $(ARGS)

test-docker: ## try `docker compose up` whole: restarts, stops, an upgrade (UPGRADE_FROM=commit); 10 minutes
	@scripts/with_docker scripts/test_docker

check: .venv/requirements-dev.txt ## check style, types, templates, imports and migrations
	@scripts/check

bench: .venv/requirements-dev.txt ## measure at 100,000 runs on PostgreSQL and SQLite; table, and bench.json (bench-full: 1,000,000)
	@.venv/bin/python scripts/bench
	@.venv/bin/python scripts/bench_writes

bench-full: .venv/requirements-dev.txt
	@.venv/bin/python scripts/bench --full
	@.venv/bin/python scripts/bench_writes

bench-peers: .venv/requirements-dev.txt ## measure a page of 10,000 runs beside MLflow's, installed into .venv-peers; table, and bench-peers.json
	@.venv/bin/python scripts/bench_peers

chaos: .venv/requirements-dev.txt ## inject faults into real runs, with a trainer that does harm, and say what became of them (FAULTS=600)
	@scripts/chaos

fuzz: .venv/requirements-dev.txt ## attack a server of its own for long, and say what was tried (EXAMPLES=10000)
	@scripts/fuzz

lock: .venv/requirements-dev.txt ## pin what is installed, with hashes, from requirements*.in (ARGS=--upgrade)
	@scripts/lock $(ARGS)

sbom: .venv/requirements-dev.txt ## write the bills of materials of server and trainer to sbom/
	@scripts/sbom

clean: ## remove .venv, .venv-tunix and what tools left; runs and datasets in var/ stay
	@rm -rf .venv .venv-* .venv.lock .coverage* htmlcov sbom screenshots test-results .hypothesis .schemathesis
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	@find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

# A copy of each file in an environment says what is installed there.
.venv/requirements.txt: requirements.txt
	@scripts/install requirements.txt

.venv/requirements-dev.txt: requirements-dev.txt .venv/requirements.txt
	@scripts/install requirements-dev.txt

.venv-tunix/requirements-tunix.txt: requirements-tunix.txt | .venv/requirements.txt
	@.venv/bin/python scripts/install_tunix.py
