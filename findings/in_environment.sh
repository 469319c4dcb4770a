# Sourced by the scripts: `in_environment PACKAGE==VERSION ... <<'PY'` runs the program on standard input with the packages.
in_environment() {
    local folder
    folder=$(mktemp -d)
    # shellcheck disable=SC2064
    trap "rm -rf '$folder'" EXIT
    "${PYTHON:-python3}" -m venv "$folder/env"
    "$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
    "$folder/env/bin/python" -
}
