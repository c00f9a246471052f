# Set up a virtual environment. Source this file in the root of the project.
#   use_environment [extra of pyproject.toml]         use the active virtual environment, or .venv
#   use_lowest_environment [extra of pyproject.toml]  use .venv-lowest, with the versions of constraints-lowest.txt
# Each creates a missing environment and installs missing packages.

find_python() {
    for name in "${PYTHON:-}" "$@"; do
        if [ -n "$name" ] && command -v "$name" >/dev/null 2>&1 &&
            "$name" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    echo 'Python 3.10 or newer is required; set PYTHON=/path/to/python' >&2
    return 1
}

make_environment() {
    local folder="$1" python
    shift
    [ -x "$folder/bin/python" ] && return
    python=$(find_python "$@") || return 1
    echo "creating $folder with $("$python" --version)"
    if ! "$python" -m venv "$folder"; then
        rm -rf "$folder" # an incomplete environment would look complete
        echo "$python cannot create $folder in $PWD; is the folder writable, and is Python's venv module installed?" >&2
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

# Install once for each state of the requirement files.
install_project() {
    local extra="$1" prefix wanted stamp installed
    shift
    prefix=$(python -c 'import sys; print(sys.prefix)')
    wanted=$(cat "$@" | cksum)
    stamp="$prefix/.basicsr-requirements"
    for installed in "$stamp${extra:+-$extra}" "$stamp-dev"; do # dev includes the packages of users
        if [ "$(cat "$installed" 2>/dev/null)" = "$wanted" ]; then
            return
        fi
    done
    echo "installing this project and its dependencies into $prefix (torch is large; this takes some minutes)"
    python -m pip install --quiet --upgrade pip || return 1
    python -m pip install --quiet -e ".${extra:+[$extra]}" || return 1
    echo "$wanted" >"$stamp${extra:+-$extra}"
}
