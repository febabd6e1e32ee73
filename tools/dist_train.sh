#!/usr/bin/env bash
# Train a config on N ranks of each machine (one per GPU; without GPUs, N CPU processes): NNODES, NODE_RANK, MASTER_ADDR, PORT.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_python.sh"
run dist_train tools/dist_train.sh "$@"
