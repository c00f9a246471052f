# Sourced by scripts that set themselves up, in the root of the project.
#   use_environment [extra of pyproject.toml]         the active virtual environment, else .venv
#   use_lowest_environment [extra of pyproject.toml]  .venv-lowest, with the versions of constraints-lowest.txt
# Each makes the environment if there is none, and installs what is missing.

find_python() {
    for name in "${PYTHON:-}" "$@"; do
        if [ -n "$name" ] && command -v "$name" >/dev/null 2>&1 &&
            "$name" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    echo 'Python 3.10 or newer is needed; name one with PYTHON=/path/to/python' >&2
    return 1
}

make_environment() {
    local folder="$1" python
    shift
    [ -x "$folder/bin/python" ] && return
    python=$(find_python "$@") || return 1
    echo "making $folder with $("$python" --version)"
    if ! "$python" -m venv "$folder"; then
        rm -rf "$folder" # half an environment would be taken for a whole one
        echo "$python could not make $folder in $PWD: is the folder writable, and Python's venv module installed?" >&2
        return 1
    fi
}

use_environment() {
    if [ -z "${VIRTUAL_ENV:-}" ]; then
        make_environment .venv python3 python3.13 python3.12 python3.11 python3.10 python || return 1
        PATH="$PWD/.venv/bin:$PATH"
    fi
    install_project "${1:-}" requirements.txt pyproject.toml
}

use_lowest_environment() {
    make_environment .venv-lowest python3.10 python3.11 python3.12 python3.13 python3 || return 1
    export VIRTUAL_ENV="$PWD/.venv-lowest"
    PATH="$VIRTUAL_ENV/bin:$PATH"
    PIP_CONSTRAINT="$PWD/constraints-lowest.txt" install_project "${1:-}" requirements.txt pyproject.toml constraints-lowest.txt
}

# Installs once for each state of the files that say what is needed.
install_project() {
    local extra="$1" prefix wanted stamp installed
    shift
    prefix=$(python -c 'import sys; print(sys.prefix)')
    wanted=$(cat "$@" | cksum)
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
