"""The visual prompt's cells, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sa2va_native.datasets.region_grid import region_grid
from sa2va_native.errors import ConfigError


def box(side: int, top: int, left: int, height: int, width: int) -> np.ndarray:
    mask = np.zeros((side, side), bool)
    mask[top : top + height, left : left + width] = True
    return mask


def test_a_5_px_object_has_no_cell_with_nearest_and_is_kept_by_any():
    """Red when the default loses small objects, or nearest quietly keeps them: 5 x 5 px of a 28 px cell."""
    mask = box(448, 100, 200, 5, 5)
    assert region_grid(mask, 16, "nearest").sum() == 0
    assert region_grid(mask, 16, "average").sum() == 0
    grid = region_grid(mask, 16, "any", min_share=0.03)  # 25 / 784 px = 3.2 %
    assert grid.nonzero().tolist() == [[3, 7]]
    assert region_grid(mask, 16, "any", min_share=0.033).sum() == 0


def test_the_reported_400_px_object_has_36_cells():
    """Red when the pooling is off by a cell: 400 px of a 1024 px picture are 6.25 cells of 16."""
    assert region_grid(box(1024, 312, 312, 400, 400), 16, "nearest").sum() == 36
    assert region_grid(box(1024, 312, 312, 400, 400), 16, "average").sum() == 36


def test_cells_are_rows_then_columns():
    """Red when x and y are swapped."""
    for pooling in ("nearest", "average", "any"):
        grid = region_grid(box(64, 0, 32, 16, 32), 4, pooling)
        assert grid.int().tolist() == [[0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_average_wants_more_than_half():
    """Red when the threshold is >= : exactly half of a cell is not selected."""
    assert region_grid(box(16, 0, 0, 8, 16), 1, "average").sum() == 0
    assert region_grid(box(16, 0, 0, 9, 16), 1, "average").sum() == 1


def test_any_without_a_share_keeps_one_pixel_and_never_selects_empty_cells():
    """Red when min_share=0 selects the whole picture."""
    assert region_grid(box(448, 447, 0, 1, 1), 16, "any", min_share=0).nonzero().tolist() == [[15, 0]]


def test_a_read_only_mask_is_read_without_a_warning(recwarn: pytest.WarningsRecorder):
    """As Pillow gives it. Red when torch is handed the mask itself, and warns that it must not be written to."""
    mask = box(16, 0, 0, 16, 16)
    mask.setflags(write=False)
    torch.set_warn_always(True)
    try:
        assert region_grid(mask, 2, "any").all()
    finally:
        torch.set_warn_always(False)
    assert not recwarn.list


def test_unknown_pooling_names_the_known_one():
    with pytest.raises(ConfigError, match="Did you mean 'average'"):
        region_grid(box(8, 0, 0, 8, 8), 2, "avrage")
