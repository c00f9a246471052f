#!/usr/bin/env bash
# Sets everything up and runs lint, types and all tests: bash scripts/run_tests.sh [arguments for pytest]
# Needs Python 3.10 or newer and git; works in the active virtual environment, else in its own .venv.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

find_python() {
    for name in "${PYTHON:-}" python3 python3.13 python3.12 python3.11 python3.10 python; do
        if [ -n "$name" ] && command -v "$name" >/dev/null 2>&1 &&
            "$name" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    echo 'Python 3.10 or newer is needed; name one with PYTHON=/path/to/python' >&2
    return 1
}

if [ -z "${VIRTUAL_ENV:-}" ]; then
    if [ ! -x .venv/bin/python ]; then
        python=$(find_python)
        echo "making .venv with $($python --version)"
        "$python" -m venv .venv
    fi
    PATH="$PWD/.venv/bin:$PATH"
fi

# Installed once for each state of the files that say what is needed.
wanted=$(cat requirements.txt pyproject.toml | cksum)
stamp="$(python -c 'import sys; print(sys.prefix)')/.basicsr-requirements"
if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    echo "installing this project and what it needs into $(python -c 'import sys; print(sys.prefix)') (torch is large: some minutes)"
    python -m pip install --quiet --upgrade pip
    python -m pip install --quiet -e '.[dev]'
    echo "$wanted" >"$stamp"
fi

echo '== lint'
python -m ruff check .
python -m ruff format --check .
echo '== types'
python -m mypy
echo '== tests'
python -m pytest -n "${TEST_WORKERS:-auto}" "$@"
