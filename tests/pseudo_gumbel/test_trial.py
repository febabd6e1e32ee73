"""Positions, words and targets of trials, by hand and by enumeration."""

from __future__ import annotations

import torch

from pseudo_gumbel.trial import (
    Trial,
    WholeWords,
    draw_positions,
    expectation,
    kept,
    likeliest,
    posterior,
    with_own_words,
    word_ends,
)


def test_positions_are_drawn_without_replacement_in_proportion_to_entropy() -> None:
    """Shares of ordered pairs as by hand: first e_i / sum, second e_j / the rest. Red when one is drawn twice."""
    log_p = torch.zeros(1, 4, 8).log_softmax(-1)
    log_p[0, 1] = torch.tensor([0.5, 0.5] + [0.0] * 6).log().clamp(min=-1e4)  # log 2 nats, a third of log 8
    log_p[0, 2] = torch.tensor([0.25] * 4 + [0.0] * 4).log().clamp(min=-1e4)  # log 4
    entropy, allowed = [3, 1, 2], torch.tensor([[True, True, True, False]])
    generators = [torch.Generator().manual_seed(i) for i in range(4000)]
    drawn = torch.cat([draw_positions(log_p, allowed, [one], 2)[0] for one in generators])
    for first in range(3):
        for second in range(3):
            share = float(((drawn[:, 0] == first) & (drawn[:, 1] == second)).float().mean())
            rest = sum(entropy) - entropy[first]
            expected = 0 if first == second else entropy[first] / 6 * entropy[second] / rest
            assert abs(share - expected) < 0.03, (first, second)


def test_one_position_is_drawn_as_the_first_of_several() -> None:
    """Red when more positions change the first draw, or a short caption is given a word twice that counts."""
    log_p = torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
    allowed = torch.tensor([[True] * 5, [True, False, True, False, False], [False] * 5])

    def generators() -> list[torch.Generator]:
        return [torch.Generator().manual_seed(i) for i in range(3)]

    one, found = draw_positions(log_p, allowed, generators())
    several, counts = draw_positions(log_p, allowed, generators(), 4)
    assert torch.equal(one, several[:, :1])
    assert found[:, 0].tolist() == [True, True, False]
    assert counts.tolist() == [[True] * 4, [True, True, False, False], [False] * 4]
    assert sorted(several[1, :2].tolist()) == [0, 2]
    assert len(set(several[0].tolist())) == 4


def test_texts_by_hand() -> None:
    """Red when the old word's other tokens stay, a word is cut, or texts of a position or sample are mixed."""
    captions = [torch.tensor([10, 21, 22, 30]), torch.tensor([]).long()]
    continues = torch.zeros(100, dtype=torch.bool)
    continues[[22, 42, 43]] = True
    positions = torch.tensor([[1, 3], [0, 0]])
    ends = word_ends(captions, positions, continues)
    assert ends.tolist() == [[3, 4], [0, 0]]
    ids = torch.tensor([[[41, 42, 43], [50, 0, 0]], [[60, 0, 0], [30, 0, 0]]])
    lengths = torch.tensor([[3, 1], [1, 1]])
    words = WholeWords(ids.repeat(2, 1, 1, 1), lengths.repeat(2, 1, 1), torch.ones(2, 2, 2, dtype=torch.bool))
    trial = Trial(positions, torch.tensor([[True, True], [False, False]]), ends, words)
    assert [text.tolist() for text in trial.rows(captions)] == [
        [10, 41, 42, 43, 30], [10, 50, 30], [10, 21, 22, 60], [10, 21, 22, 30], [], [], [], [],
    ]  # fmt: skip


def test_the_captions_own_word_is_whole_however_long() -> None:
    """Red when a long word of the caption is out, so that the target would always leave it."""
    captions, positions = [torch.tensor([10, 21, 22, 23, 24])], torch.tensor([[1]])
    words = WholeWords(
        torch.tensor([[[[21, 22], [31, 32]]]]), torch.tensor([[[2, 2]]]), torch.zeros(1, 1, 2, dtype=torch.bool)
    )
    own = with_own_words(words, captions, positions, torch.tensor([[5]]))
    assert own.ids.tolist() == [[[[21, 22, 23, 24], [31, 32, 0, 0]]]]
    assert own.lengths.tolist() == [[[4, 2]]]
    assert own.complete.tolist() == [[[True, False]]]


def test_likeliest_words_are_those_that_are_allowed() -> None:
    """Red when a special token is tried, or one that is only there to make up the number counts."""
    log_p = torch.tensor([[0.4, 0.3, 0.2, 0.1]]).log()
    ids, usable = likeliest(log_p, torch.tensor([[False, True, False, True]]), 3)
    assert ids[0, :2].tolist() == [1, 3]
    assert usable.tolist() == [[True, True, False]]


def test_the_expectation_and_its_gradient_by_enumeration() -> None:
    """d/dlogit_k = q_k (c_k - mean) over the tried words, 0 for all others. Red when untried words are led to."""
    logits = torch.randn(6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    words, costs = torch.tensor([4, 1, 3]), torch.tensor([0.3, 0.9, 1.7], dtype=torch.float64)
    tried = torch.tensor([True, True, False])
    value = expectation(logits.log_softmax(-1)[words], costs, tried)
    q = logits.detach()[words[:2]].exp()
    q = q / q.sum()
    mean = float(q @ costs[:2])
    assert abs(float(value.detach()) - mean) < 1e-12
    (gradient,) = torch.autograd.grad(value, logits)
    expected = torch.zeros(6, dtype=torch.float64)
    expected[words[:2]] = q * (costs[:2] - mean)
    torch.testing.assert_close(gradient, expected)


def test_the_posterior_minimises_expectation_and_divergence_together() -> None:
    """What joins the two estimators: gradient zero at p exp(-c / beta), of E_q[c] + beta KL(q || p)."""
    p, costs, beta = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64), torch.tensor([1.0, 0.2, 0.6]).double(), 0.3
    best = posterior(p.log(), costs, beta, 0.0).log().requires_grad_()
    q = best.log_softmax(-1)
    total = expectation(best, costs, kept(p.log(), 0.0)) + beta * (q.exp() * (q - p.log())).sum()
    (gradient,) = torch.autograd.grad(total, best)
    assert float(gradient.abs().max()) < 1e-12
