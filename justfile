# Every recipe sets up what it needs; `just` alone lists them.
set positional-arguments

python := ".venv/bin/python"
tool := ".venv/bin"

[private]
default:
    @just --list --unsorted

# make the virtual environment from the hashed lock file, and put Integ into it
setup:
    #!/bin/sh
    set -eu
    test -x {{ python }} || ${PYTHON:-python3} -m venv .venv
    stamp=.venv/.integ-$(cat pyproject.toml requirements.lock | sha256sum | cut -c1-16)
    test -e "$stamp" && exit 0
    echo "Setting up Integ in .venv; the first time this takes a minute or two" >&2
    {{ python }} -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
    {{ python }} -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
    rm -f .venv/.integ-*
    touch "$stamp"

# the whole main job in a sandbox: the browser on a terminal, the steps as text otherwise
demo *arguments: setup
    {{ tool }}/integ demo "$@"

# the tests, in parallel
test *arguments: setup
    {{ tool }}/pytest -q -n auto --dist worksteal "$@"

# the unit tests on every other Python that this machine has
test-pythons: setup
    {{ python }} tests/pythons.py

# long kill and load runs
torture *arguments: setup
    {{ tool }}/pytest -q -m torture "$@"

# one benchmark beside its yardstick: api, cli, jobs, launch, proton, servers, sync
bench name *arguments: setup
    shift; {{ python }} -m tests.bench.bench_{{ name }} "$@"

# style, types and boundaries
lint: setup
    {{ tool }}/ruff check .
    {{ tool }}/ruff format --check .
    {{ tool }}/mypy --python-version 3.11
    {{ tool }}/mypy --python-version 3.14
    {{ tool }}/lint-imports

# write the code as the style wants it
fmt: setup
    {{ tool }}/ruff check --fix .
    {{ tool }}/ruff format .

# resolve the dependencies anew into requirements.lock, and those of a backend alone into requirements-backend.lock
lock:
    test -x {{ tool }}/uv || {{ python }} -m pip install --quiet uv
    {{ tool }}/uv pip compile pyproject.toml --extra dev --extra otel --universal --python-version 3.11 --generate-hashes --no-header --quiet --upgrade -o requirements.lock
    echo 'hatchling>=1.27' | {{ tool }}/uv pip compile pyproject.toml - --extra otel --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet -c requirements.lock -o requirements-backend.lock
