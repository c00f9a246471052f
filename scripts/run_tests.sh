#!/usr/bin/env bash
# Install and test the project: bash scripts/run_tests.sh [--all | --lowest] [arguments for pytest]
#             run the linter, the type checker and the fast tests (default)
#   --all     also run the tests marked slow, which start processes or a browser, or train
#   --lowest  run the fast tests with the oldest supported packages (constraints-lowest.txt), in .venv-lowest
# Needs Python 3.10 or newer and git. Uses the active virtual environment, or .venv.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/environment.sh

tier=fast
case "${1:-}" in
    --all | --lowest) tier=${1#--}; shift ;;
    --help) sed -n '2,6s/^# //p' scripts/run_tests.sh; exit 0 ;;
esac

if [ "$tier" = lowest ]; then
    use_lowest_environment dev
    python -m pip freeze --exclude-editable | grep -iE '^(torch|torchvision|numpy|opencv-python-headless|pillow)=='
else
    use_environment dev
    echo '== lint'
    python -m ruff check .
    python -m ruff format --check .
    echo '== types'
    env -u PYTHONPATH python -m mypy # a package found through PYTHONPATH would not be checked
fi
[ "$tier" = all ] || set -- -m 'not slow' "$@"
echo "== tests ($tier) with $(python --version)"
python -m pytest -n "${TEST_WORKERS:-auto}" "$@"
