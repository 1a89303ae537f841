# Each target does all of its own set-up: a machine needs Python, make and a package index.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
AZURITE := .exports/servers/node_modules/.bin/azurite-blob
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export DO_NOT_TRACK := 1

.PHONY: install install-dev demo test test-servers soak bench lint lock pictures clean

install: $(VENV)/.installed

install-dev: $(VENV)/.installed-dev

demo: install
	$(BIN)/exports demo

# Most tests wait for a server more than they compute, so there are more processes than cores. The tests of one file
# share a process, and its servers; tests/conftest.py says which files begin.
test: lint
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder

# With servers that no Python package has: this installs them, as root on Debian, and one that is missing is a failure.
# Debian lets one FTP server be installed at a time: the other is only unpacked.
test-servers: install-dev $(AZURITE)
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends proftpd-core proftpd-mod-crypto libwrap0
	mkdir -p .exports/servers
	cd .exports/servers && apt-get download -qq vsftpd && dpkg-deb -x vsftpd_*.deb vsftpd && rm vsftpd_*.deb
	CI=true $(BIN)/pytest -m servers

# Long, and each proof says how long; `make soak SEED=7` makes the same choices again.
soak: install-dev
	$(BIN)/python tests/faults/soak_all.py $(if $(SEED),--seed $(SEED))

# `PEERS=1` installs what to compare with, `QUICK=1` is a few minutes' look, `ONLY="tables overhead"` a part of it.
bench: install-dev
	$(if $(PEERS),$(PYTHON) -m venv .exports/bench/peers)
	$(if $(PEERS),.exports/bench/peers/bin/pip install -q -r benchmarks/requirements.txt)
	$(BIN)/python benchmarks/run.py $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY))

lint: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Exact pins for every supported Python in one file, without index addresses.
lock: install-dev
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --extra build -o requirements.txt pyproject.toml
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --extra build --extra sftp --extra s3 --extra azure --extra webdav --extra dev -c requirements.txt -o requirements-dev.txt pyproject.toml

# Needs a Chromium, and the demo run before.
pictures: install-dev
	$(BIN)/python docs/pictures/take_pictures.py

clean:
	rm -rf $(VENV) .exports .mypy_cache .ruff_cache .pytest_cache *.egg-info

$(AZURITE):
	command -v npm >/dev/null || (apt-get update -qq && apt-get install -y -qq --no-install-recommends npm >/dev/null)
	npm install --silent --no-audit --no-fund --prefix .exports/servers azurite@3.35.0

$(VENV)/.installed: requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -r requirements.txt
	$(BIN)/pip install -q --no-deps --no-build-isolation -e .
	$(BIN)/exports schema
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt
	$(BIN)/pip install -q -r requirements-dev.txt
	touch $@
