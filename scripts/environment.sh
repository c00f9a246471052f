# Sourced by scripts that set themselves up, in the root of the project: use_environment [extra of pyproject.toml]
# Works in the active virtual environment, else in .venv, which it makes; installs what is missing.

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

use_environment() {
    local extra="${1:-}" python prefix wanted stamp installed
    if [ -z "${VIRTUAL_ENV:-}" ]; then
        if [ ! -x .venv/bin/python ]; then
            python=$(find_python) || return 1
            echo "making .venv with $("$python" --version)"
            if ! "$python" -m venv .venv; then
                rm -rf .venv # half an environment would be taken for a whole one
                echo "$python could not make .venv in $PWD: is the folder writable, and Python's venv module installed?" >&2
                return 1
            fi
        fi
        PATH="$PWD/.venv/bin:$PATH"
    fi

    # Installed once for each state of the files that say what is needed.
    prefix=$(python -c 'import sys; print(sys.prefix)')
    wanted=$(cat requirements.txt pyproject.toml | cksum)
    stamp="$prefix/.basicsr-requirements"
    for installed in "$stamp${extra:+-$extra}" "$stamp-dev"; do # the developer's has all of the user's
        if [ "$(cat "$installed" 2>/dev/null)" = "$wanted" ]; then
            return
        fi
    done
    echo "installing this project and what it needs into $prefix (torch is large: some minutes)"
    python -m pip install --quiet --upgrade pip || return 1
    python -m pip install --quiet -e ".${extra:+[$extra]}" || return 1
    echo "$wanted" >"$stamp${extra:+-$extra}"
}
