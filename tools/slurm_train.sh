#!/usr/bin/env bash
# Train a config on N GPUs of a Slurm partition.
set -euo pipefail

usage() {
    cat <<'EOF'
usage: tools/slurm_train.sh PARTITION CONFIG N [options of tools/train.py]

  Ranks use DeepSpeed ZeRO-2 unless --deepspeed names another json.

environment:
  GPUS_PER_NODE   GPUs of a node to use (default: N, at most 8)
  CPUS_PER_TASK   cores of a rank (default: 8)
  SRUN_ARGS       more arguments for srun, e.g. "--time 12:00:00"

example:
  tools/slurm_train.sh gpu configs/pseudo_gumbel_4b.py 8
EOF
}

fail() { echo "slurm_train.sh: $*" >&2; exit 1; }

[[ "${1:-}" == "-h" || "${1:-}" == "--help" ]] && { usage; exit 0; }
[[ $# -ge 3 ]] || { usage >&2; exit 2; }
partition=$1 config=$2 ranks=$3
shift 3

[[ -f "$config" ]] || fail "config $config does not exist"
[[ "$ranks" =~ ^[1-9][0-9]*$ ]] || fail "number of ranks '$ranks' is not a positive integer"

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=python
[[ -z "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" && -x "$root/.venv/bin/python" ]] && python=$root/.venv/bin/python
[[ " $* " == *" --deepspeed"* ]] || set -- "$@" --deepspeed zero2
[[ " $* " == *" --dry-run "* ]] && exec "$python" "$root/tools/train.py" "$config" --ranks "$ranks" "$@"

command -v srun >/dev/null || fail "srun is not installed here; on one machine use tools/dist_train.sh"
per_node=${GPUS_PER_NODE:-$((ranks < 8 ? ranks : 8))}
((ranks % per_node == 0)) || fail "$ranks ranks do not fill nodes of $per_node GPUs; set GPUS_PER_NODE"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-${CPUS_PER_TASK:-8}}
export MASTER_PORT=${MASTER_PORT:-$((20000 + RANDOM % 20000))}

# shellcheck disable=SC2086  # SRUN_ARGS holds several words
exec srun --partition "$partition" --job-name "$(basename "${config%.py}")" --ntasks "$ranks" \
    --ntasks-per-node "$per_node" --gres "gpu:$per_node" --cpus-per-task "${CPUS_PER_TASK:-8}" --kill-on-bad-exit=1 \
    ${SRUN_ARGS:-} "$python" -u "$root/tools/train.py" "$config" --launcher slurm --ranks "$ranks" "$@"
