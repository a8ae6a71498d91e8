# The verbs of the project; `make help` lists them.
.DEFAULT_GOAL := help
PYTHON := .venv/bin/python
PYTEST := $(PYTHON) -m pytest
CODE := accounts agent_client bench billing deploy domains lumos notifications servers tests waf manage.py

help:  ## Show this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 14

run: setup  ## Start Lumos with a live demo shield (PROFILE=postgres for PostgreSQL)
	@PROFILE="$(PROFILE)" $(PYTHON) deploy/demo.py run

stop:  ## End what `make run` started
	@if [ -x $(PYTHON) ]; then $(PYTHON) deploy/demo.py stop; fi

status:  ## Show the processes of `make run`
	@$(PYTHON) deploy/demo.py status

logs:  ## Follow the logs of `make run`
	@tail -n 20 -F var/log/*.log

setup:  ## Install what `make run` needs
	@PROFILE="$(PROFILE)" deploy/setup run

dev:  ## Install what the tests need as well
	@deploy/setup test

fmt: dev  ## Format the code
	.venv/bin/ruff format $(CODE)
	.venv/bin/ruff check --fix $(CODE)

lint: dev  ## Check style and architecture
	.venv/bin/ruff format --check $(CODE)
	.venv/bin/ruff check $(CODE)
	.venv/bin/lint-imports

types: dev  ## Check types
	.venv/bin/mypy $(CODE)

test: dev lint types  ## Check everything: style, types, the whole suite on real services
	$(PYTEST) -n 2 --dist loadgroup

test-fast: dev  ## The part of the suite that needs no daemon, no database and no browser (under 90 s)
	$(PYTEST) -n 2 -m "not integration and not e2e"

integration: dev  ## The part that runs real daemons
	$(PYTEST) -n 2 -m integration

test-haproxy3:  ## The agent's tests on Debian 13's HAProxy 3.0, in a root below var/ (needs root and debootstrap)
	tests/haproxy3

e2e: dev  ## The part that runs the whole product
	$(PYTEST) -m e2e

golden: dev  ## Write the golden files anew (look at the diff before you commit it)
	LUMOS_GOLDEN=write $(PYTEST) tests/agent/test_golden.py

wheel: setup  ## Build the agent's wheel into dist/, from where the dashboard serves it
	@ls dist/lumos_agent-*.whl

check: test  ## What CI runs

.PHONY: help run stop status logs setup dev fmt lint types test test-fast integration test-haproxy3 e2e golden wheel check
