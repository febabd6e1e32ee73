#!/usr/bin/env bash
# Train a config on N GPUs of a Slurm partition.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_python.sh"
run slurm_train tools/slurm_train.sh "$@"
