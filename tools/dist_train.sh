#!/usr/bin/env bash
# Train a config on N ranks of this machine (one per GPU; without GPUs, N CPU processes).
set -euo pipefail

usage() {
    cat <<'EOF'
usage: tools/dist_train.sh CONFIG N [options of tools/train.py]

  Ranks use DeepSpeed ZeRO-2 unless --deepspeed names another json.

examples:
  tools/dist_train.sh configs/pseudo_gumbel_tiny.py 2
  tools/dist_train.sh configs/pseudo_gumbel_tiny.py 2 --resume
  tools/dist_train.sh configs/sa2va_tiny.py 4 --deepspeed zero3 --precision fp32
  tools/dist_train.sh configs/pseudo_gumbel_4b.py 4 --dry-run       could it start? one process, no GPU
  MASTER_PORT=29511 tools/dist_train.sh CONFIG N      fixed port (default: a free one)
EOF
}

fail() { echo "dist_train.sh: $*" >&2; exit 1; }

[[ "${1:-}" == "-h" || "${1:-}" == "--help" ]] && { usage; exit 0; }
[[ $# -ge 2 ]] || { usage >&2; exit 2; }
config=$1 ranks=$2
shift 2

[[ -f "$config" ]] || fail "config $config does not exist"
[[ "$ranks" =~ ^[1-9][0-9]*$ ]] || fail "number of ranks '$ranks' is not a positive integer"

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=python
[[ -z "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" && -x "$root/.venv/bin/python" ]] && python=$root/.venv/bin/python

[[ " $* " == *" --deepspeed"* ]] || set -- "$@" --deepspeed zero2
[[ " $* " == *" --dry-run "* ]] && exec "$python" "$root/tools/train.py" "$config" --ranks "$ranks" "$@"

if command -v nvidia-smi >/dev/null && gpus=$(nvidia-smi --list-gpus 2>/dev/null | wc -l) && ((gpus > 0)); then
    [[ -n "${CUDA_VISIBLE_DEVICES:-}" ]] && gpus=$(tr ',' '\n' <<<"$CUDA_VISIBLE_DEVICES" | grep -c .)
    ((gpus >= ranks)) || fail "$ranks ranks were asked for and only $gpus GPU(s) are visible"
fi

cores=$(nproc)
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((cores / ranks > 1 ? cores / ranks : 1))}
port=${MASTER_PORT:-$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')}

# torchrun, without the traceback of its own that it adds to what the failed rank has said
launcher='
import sys
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main
try:
    main()
except ChildFailedError:
    sys.exit(1)
'
exec "$python" -c "$launcher" --nproc_per_node "$ranks" --master_addr 127.0.0.1 --master_port "$port" \
    "$root/tools/train.py" "$config" --launcher pytorch --ranks "$ranks" "$@"
