#!/usr/bin/env bash
# Sets everything up and tests the project: bash scripts/run_tests.sh [--all | --lowest] [arguments for pytest]
#             lint, types and the fast tests
#   --all     the slow tests as well: those that start processes or a browser, or train
#   --lowest  the fast tests alone, with the oldest versions that constraints-lowest.txt allows, in .venv-lowest
# Needs Python 3.10 or newer and git; works in the active virtual environment, else in its own .venv.
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
    python -m mypy
fi
[ "$tier" = all ] || set -- -m 'not slow' "$@"
echo "== tests ($tier) with $(python --version)"
python -m pytest -n "${TEST_WORKERS:-auto}" "$@"
