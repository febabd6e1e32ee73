"""The command ``pseudo-gumbel``: one module per subcommand, each with a ``main``, which ``tools/`` calls too."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys
from collections.abc import Sequence
from typing import NamedTuple

from sa2va_native.errors import did_you_mean


def _require_own_python() -> None:
    """Ends with one line where another Python was called than the one that the packages are installed for."""
    wrong = "is older than 3.11" if sys.version_info < (3, 11) else ""
    if missing := [name for name in ("torch", "mmengine", "transformers") if importlib.util.find_spec(name) is None]:
        wrong = wrong or f"has no {missing[0]}"
    if wrong:
        sys.exit(f"{sys.executable} {wrong}. Run `make install` once and use .venv/bin/python, or activate .venv.")


_require_own_python()


class Command(NamedTuple):
    """A subcommand."""

    help: str  #: one line
    tool: str  #: the script of a checkout that does the same


COMMANDS = {
    "train": Command("train a config in this process", "tools/train.py"),
    "dist-train": Command("train a config on N ranks of this machine", "tools/dist_train.sh"),
    "slurm-train": Command("train a config on N GPUs of a Slurm partition", "tools/slurm_train.sh"),
    "test": Command("evaluate a checkpoint on the config's test set", "tools/test.py"),
    "compare-runs": Command("evaluations of the same data, and how sure they differ", "tools/compare_runs.py"),
    "report": Command("evaluations as one page: figures, curves, pictures", "tools/report.py"),
    "infer": Command("masks of expressions and captions of masks, in your own picture", "tools/infer.py"),
    "demo": Command("a page in the browser: mark a region, or name an object", "tools/web.py"),
    "check-data": Command("read every sample of a data set: what is wrong, and where", "tools/check_data.py"),
    "browse-data": Command("draw samples of a data set as training sees them", "tools/browse_data.py"),
    "index-data": Command("build the indices of large sets before training", "tools/prepare_data/index.py"),
    "convert-data": Command(
        "convert YOLO, LabelMe, COCO, VOC, DAVIS, SAM and other masks to own data", "tools/prepare_data/own_data.py"
    ),
    "convert-sav": Command("convert raw SA-V videos to pair files", "tools/prepare_data/sav_to_pairs.py"),
    "print-config": Command("every value of a config, and the file that set it", "tools/print_config.py"),
    "model-info": Command("parameters by part, memory on each GPU", "tools/model_info.py"),
    "check-checkpoint": Command("verify checkpoints, and what is inside", "tools/check_checkpoint.py"),
    "convert-checkpoint": Command("published checkpoints and runs into any layout", "tools/convert_checkpoint.py"),
    "experiment": Command("every arm, base and seed of the experiment, then tables", "tools/experiment.py"),
    "diagnose-cycle": Command("what the cycle can teach, before you train", "tools/diagnose_cycle.py"),
}

_EPILOG = """\
pseudo-gumbel COMMAND --help lists the options and examples of a command.

start here:
  train the tiny model, two steps    pseudo-gumbel train pseudo_gumbel_tiny --max-steps 2
  on two ranks, ZeRO-2               pseudo-gumbel dist-train pseudo_gumbel_tiny 2
  your masks                         pseudo-gumbel train pseudo_gumbel_tiny --data-root /data/mine
  evaluate                           pseudo-gumbel test pseudo_gumbel_tiny work_dirs/pseudo_gumbel_tiny

A config is a file, or the name of a shipped one from any folder, such as pseudo_gumbel_tiny or ablations/soft_words.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script.

    Args:
        arguments: command line, starting with the subcommand (default: that of this process).
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    listed = "\n".join(f"  {name:<20} {command.help}" for name, command in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="pseudo-gumbel",
        description="Teach a grounded multimodal model from masks without captions.\n\ncommands:\n" + listed,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", metavar="COMMAND", help="one of the above")
    name = parser.parse_args(arguments[:1]).command
    if name not in COMMANDS:
        parser.error(f"no command '{name}'. {did_you_mean(name, COMMANDS)}")
    module = importlib.import_module(f"pseudo_gumbel.cli.{name.replace('-', '_')}")
    module.main(arguments[1:], f"pseudo-gumbel {name}")
