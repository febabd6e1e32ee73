#!/usr/bin/env bash
# Train a config on N ranks of this machine (one per GPU; without GPUs, N CPU processes).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_python.sh"
run dist_train tools/dist_train.sh "$@"
