"""What each figure says, in plain words."""

from __future__ import annotations

#: Figures of a report, in its order; those of other names come last, those by size have a table of their own.
SAYS = {
    "refer_ciou": "From a true expression to its mask: all pixels found over all pixels that are in either mask. Large "
    "objects weigh more.",
    "refer_giou": "The same, as a mean over expressions: every object weighs the same.",
    "refer_p50": "Share of expressions whose mask overlaps by half or more.",
    "refer_p60": "... by 0.6 or more.",
    "refer_p70": "... by 0.7 or more.",
    "refer_p80": "... by 0.8 or more.",
    "refer_p90": "... by 0.9 or more.",
    "refer_n_acc": "Share of expressions without a target for which nothing is marked.",
    "refer_t_acc": "Share of expressions with a target for which something is marked.",
    "refer_boundary_f": "How well the edge of the mask follows the true edge.",
    "clip_jf": "Through a clip: the mean of the next two.",
    "clip_j": "How well the object's masks overlap, as a mean over frames and then over objects.",
    "clip_f": "How well their edges follow the true edges.",
    "cycle_iou": "From a mask to the model's own caption and back to a mask: how well the object is found again. Two "
    "things that agree on wrong words find it too, so compare it with the next rows.",
    "cycle_giou": "The same, as a mean over objects.",
    "cycle_floor": "Floor: the same masks with another object's caption. What is found without knowing what is "
    "described. A cycle that is no better says nothing.",
    "cycle_ceiling": "Ceiling: the same masks with the true caption. The most that this reader makes of words.",
    "cycle_stranger": "Stranger: the model's own captions, read by a reader that never trained with this captioner. "
    "What it finds is said in words that others understand.",
    "cycle_code": "Private code: own reader minus stranger. What only captioner and reader agreed on; near 0 is well.",
    "caption_colour": "Share of captions with the true colour.",
    "caption_shape": "Share of captions with the true shape.",
    "caption_size": "Share of captions with the true size.",
    "caption_texture": "Share of captions with the true texture.",
    "caption_attribute_accuracy": "Mean of colour, shape and size.",
    "caption_absent_colour": "Share of captions with a colour that nothing in the picture has. Less is better.",
    "caption_grammar": "Share of captions that are sentences of the scenes' language.",
    "caption_agreement": "Share of captions that are a human text of the region, word for word.",
    "caption_length": "Words of a caption.",
    "caption_stop_rate": "Share of captions that ended before the length limit.",
}
#: Those that stand for their kind where there is room for one.
MAIN = ("refer_ciou", "clip_jf", "cycle_iou", "caption_agreement")
OBJECT_SIZES = ("small", "medium", "large")


def place(figure: str) -> tuple[int, str]:
    """Sorts figures as a report lists them."""
    listed = list(SAYS)
    return (listed.index(figure) if figure in SAYS else len(listed), figure)


def is_by_size(figure: str) -> bool:
    """Whether a figure is of small, medium or large objects only."""
    return figure.endswith(tuple(f"iou_{size}" for size in OBJECT_SIZES))
