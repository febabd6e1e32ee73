"""A toy run as a command: ``toy_run.py FOLDER STAGE`` goes on with what is in FOLDER, or begins.

Says where it begins; writes a digest of its last weights to FOLDER/digest.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "projects")]


def main(folder: str, stage: int) -> None:
    from sa2va_native.engine.run import launch
    from sa2va_native.engine.run.use_engine import use_deepspeed
    from tests.toy import toy_config, whole_weights

    Path(folder).mkdir(parents=True, exist_ok=True)
    os.chdir(folder)  # equal paths, and so equal sizes, in the checkpoints of all runs
    cfg = toy_config("run", steps=4, checkpoint_interval=1, model={"dropout": 0.5})
    cfg.launcher = "pytorch" if "RANK" in os.environ else "none"
    launch.use_checkpoint(cfg, "", None)
    begins = Path(cfg.load_from).stem.removeprefix("iter_") if cfg.get("load_from") else 0
    if stage:
        use_deepspeed(cfg, f"zero{stage}", "fp32")
    runner = launch.build_runner(cfg)
    print(f"begins after step {begins}", flush=True)
    runner.train()
    weights = whole_weights(runner)
    if runner.rank == 0:
        content = b"".join(tensor.numpy().tobytes() for _, tensor in sorted(weights.items()))
        Path("digest").write_text(hashlib.sha256(content).hexdigest())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
