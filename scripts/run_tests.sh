#!/usr/bin/env bash
# Sets everything up and runs lint, types and all tests: bash scripts/run_tests.sh [arguments for pytest]
# Needs Python 3.10 or newer and git; works in the active virtual environment, else in its own .venv.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

source scripts/environment.sh
use_environment dev

echo '== lint'
python -m ruff check .
python -m ruff format --check .
echo '== types'
python -m mypy
echo '== tests'
python -m pytest -n "${TEST_WORKERS:-auto}" "$@"
