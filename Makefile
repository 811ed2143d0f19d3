# What can be done here; each target is described by the text after its ##. The work itself is in scripts/.

.PHONY: help run test check clean

help: ## list these targets
	@grep -E '^[a-z-]+:.* ## ' Makefile | awk -F ':.* ## ' '{ printf "make %-8s %s\n", $$1, $$2 }'

run: .venv/requirements.txt ## serve on http://127.0.0.1:8000 until Ctrl-C (PORT, TUNIX_RT_HOME)
	@scripts/serve

test: .venv/requirements-dev.txt ## run every test on SQLite and on PostgreSQL (ARGS="-k name" for some)
	@scripts/test $(ARGS)

check: .venv/requirements-dev.txt ## check style, types, templates, imports and migrations
	@scripts/check

clean: ## remove .venv and what tools left; runs and datasets in var/ stay
	@rm -rf .venv .coverage* htmlcov test-results .hypothesis .schemathesis
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	@find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

# A copy of each file in .venv says what is installed there.
.venv/requirements.txt: requirements.txt
	@scripts/install requirements.txt

.venv/requirements-dev.txt: requirements-dev.txt .venv/requirements.txt
	@scripts/install requirements-dev.txt
