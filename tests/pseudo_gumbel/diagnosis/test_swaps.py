"""Which words are swapped, against one caption by hand."""

from __future__ import annotations

import torch

from pseudo_gumbel.diagnosis.reading import measure
from pseudo_gumbel.diagnosis.swaps import choose_swap, swapped, whole_words


def test_the_words_of_one_caption_by_hand() -> None:
    """Red when the caption's own word is missing, a rare word is kept, or what is no word is tried."""
    log_p = torch.tensor([[0.5, 0.3, 0.004, 0.196]]).log()[:, None].repeat(1, 2, 1)
    log_p[0, 0] = torch.tensor([1.0, 0.0, 0.0, 0.0]).log()  # sure, so never drawn
    captions = torch.tensor([[0, 3]])
    swap = choose_swap(log_p, captions, torch.ones(1, 2, dtype=torch.bool), 4, 0.02, [torch.Generator().manual_seed(0)])
    assert swap.positions.tolist() == [1]
    assert swap.words.tolist() == [[3, 0, 1, 2]]
    assert swap.kept.tolist() == [[True, True, True, False]]
    expected = torch.tensor([[0.196, 0.5, 0.3]]) / 0.996
    torch.testing.assert_close(swap.log_p[:, :3].exp(), expected)
    tried = swapped(captions[0], 1, swap.words[0])
    assert [ids.tolist() for ids in tried] == [[0, 3], [0, 0], [0, 1], [0, 2]]
    assert captions.tolist() == [[0, 3]]


def test_an_unlikely_word_of_the_caption_is_kept() -> None:
    """Red when a human's word that the captioner finds unlikely is left out: then it could never be the cheapest."""
    log_p = torch.tensor([[[0.6, 0.399, 0.001]]]).log()
    swap = choose_swap(
        log_p, torch.tensor([[2]]), torch.ones(1, 1, dtype=torch.bool), 2, 0.02, [torch.Generator().manual_seed(0)]
    )
    assert swap.words.tolist() == [[2, 0]]
    assert swap.kept.all()


def test_pieces_of_words_are_not_swapped() -> None:
    """Red when a piece is swapped and the rest of its word stays, unless there are only pieces."""
    pieces = [" a", " gir", "affe", " stands", "."]

    def decode(ids: list[int]) -> str:
        return "".join(pieces[i] for i in ids).strip()

    assert whole_words([0, 1, 2, 3], decode) == [True, False, False, True]
    assert whole_words([1, 2], decode) == [True, True]


def test_masks_that_lead_nowhere_or_elsewhere() -> None:
    """Red when an empty mask is not empty, or another object's mask counts where none is known."""
    own, other = torch.zeros(4, 4), torch.zeros(1, 4, 4, dtype=torch.bool)
    own[0], other[0, 3] = 1, True
    logits = torch.stack([20 * own - 10, torch.full((4, 4), -10.0), 20 * other[0].float() - 10])
    found = measure(logits, own.expand(3, 4, 4), [other, other, other])
    assert found.iou.tolist() == [1, 0, 0]
    assert found.empty.tolist() == [False, True, False]
    assert found.astray.tolist() == [False, False, True]
    assert not measure(logits, own.expand(3, 4, 4), [other[:0]] * 3).astray.any()
    assert found.cost[0] < 0.01 < found.cost[1] < found.cost[2]
