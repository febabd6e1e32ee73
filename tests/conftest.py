"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)  # tiny tensors: threads cost more than they bring, and ranks share the cores

REPOSITORY = Path(__file__).resolve().parents[1]
os.environ.setdefault("PSEUDO_GUMBEL_CACHE", str(REPOSITORY / "data"))  # tests write nothing outside the checkout


@pytest.fixture(scope="session")
def realdata_root() -> Path:
    """Folder of small real data sets (tiny_coco, refcocos); the test is skipped where there is none."""
    root = Path(os.environ.get("PSEUDO_GUMBEL_REALDATA", REPOSITORY.parent / "shared" / "data"))
    if not (root / "tiny_coco").is_dir():
        pytest.skip(f"no real data at {root}; set PSEUDO_GUMBEL_REALDATA to the folder that holds tiny_coco")
    return root
