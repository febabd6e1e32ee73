# shellcheck shell=bash
# Sourced by the launchers: `run MODULE NAME ARGUMENTS...` calls a command of this checkout, installed or not, with the
# active virtual environment's Python, else that of .venv, else the first on the PATH. Conda's base environment is active in
# many shells and has none of our packages: .venv goes before it.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=python
[[ -z "${VIRTUAL_ENV:-}" && -x "$root/.venv/bin/python" ]] && python=$root/.venv/bin/python
export PYTHONPATH="$root/projects${PYTHONPATH:+:$PYTHONPATH}"

run() {
    local module=$1 name=$2
    shift 2
    exec "$python" -P -c "from pseudo_gumbel.cli.$module import main; main(prog='$name')" "$@"
}
