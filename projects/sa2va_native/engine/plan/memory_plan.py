"""How much GPU memory a run needs, part by part: pure functions of counts and settings. All sizes are bytes.

Sources: ZeRO (arXiv:1910.02054), section 3 for the size of a model's states and section 5 for what each stage splits
over ranks; DeepSpeed's own estimators (``estimate_zero2_model_states_mem_needs`` and the one for stage 3), which assume
that every parameter is trained and count neither activations nor a teacher; DeepSpeed's code for its buffers.

With P = F + T parameters, F frozen and T trained, N ranks, and w bytes per weight (2 in bfloat16, 4 in float32):

====================  ==============  ==============  ==============  ==============
on each rank          no ZeRO         ZeRO-1          ZeRO-2          ZeRO-3
====================  ==============  ==============  ==============  ==============
weights               w P             w P             w P             w P / N
gradients             w T             w T             w T / N         w T / N
float32 masters       0               4 T / N         4 T / N         4 T / N
two moments of Adam   8 T             8 T / N         8 T / N         8 T / N
EMA shadow            4 T             4 T / N         4 T / N         4 T / N
====================  ==============  ==============  ==============  ==============

Float32 gradients (4 T / N) are there while the optimizer steps on bfloat16 weights. DeepSpeed keeps masters of float32
weights too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

MIB, GIB = 2**20, 2**30
#: Sizes of cards that a plan is compared with, GiB.
CARDS = (24, 40, 80)
#: Estimate: CUDA context, NCCL, workspaces, the frozen towers' passing tensors, and what the allocator cannot use.
RESERVE = 2 * GIB

#: A phase is a moment of a step at which memory peaks; "always" adds to each of them.
Phase = Literal["always", "captioning", "backward", "step"]
WHILE: dict[Phase, str] = {
    "captioning": "while the teacher captions",
    "backward": "while gradients are made",
    "step": "while the optimizer steps",
}
_PHASES: tuple[Phase, ...] = ("captioning", "backward", "step")


class Counts(NamedTuple):
    """Parameters of a model."""

    frozen: int
    trained: int
    largest_layer: int  #: of the module that holds most, without its submodules

    @property
    def total(self) -> int:
        """All parameters."""
        return self.frozen + self.trained


@dataclass(frozen=True)
class Sharding:
    """How a run keeps its states; the defaults are DeepSpeed's."""

    stage: Literal[0, 1, 2, 3] = 2  #: of ZeRO; 0 is a run without DeepSpeed
    ranks: int = 1
    bf16: bool = True  #: weights are bfloat16; False: float32
    offload_optimizer: bool = False  #: masters, moments and the step itself are on the CPU
    offload_parameters: bool = False  #: ZeRO-3: shards of the weights are on the CPU
    reduce_bucket: int = 500_000_000  #: elements
    overlap_comm: bool = False  #: ZeRO-1 and 2 keep two buckets then
    sub_group: int = 1_000_000_000  #: elements that ZeRO-3 steps on at a time
    max_live: int = 1_000_000_000  #: parameters that ZeRO-3 may keep whole
    fused: bool = False  #: the optimizer's step is one kernel, which needs no memory of its own

    @property
    def weight_bytes(self) -> int:
        """Bytes of a weight, of its gradient and of an activation."""
        return 2 if self.bf16 else 4


class Item(NamedTuple):
    """One line of a plan."""

    name: str
    size: int
    phase: Phase = "always"
    exact: bool = True  #: follows from counts alone, up to some kB of padding; otherwise an estimate
    on_host: bool = False


@dataclass(frozen=True)
class MemoryPlan:
    """What one rank holds."""

    items: list[Item] = field(default_factory=list)

    @property
    def peak(self) -> int:
        """The most memory used on the GPU at once."""
        return self.size("always") + max(self.size(phase) for phase in _PHASES)

    @property
    def peak_phase(self) -> Phase:
        """When the peak occurs."""
        return max(_PHASES, key=self.size)

    @property
    def host(self) -> int:
        """What the rank keeps in the machine's memory."""
        return sum(item.size for item in self.items if item.on_host)

    @property
    def exact(self) -> int:
        """The part of the permanent GPU memory that is not an estimate: below this no run is possible."""
        return sum(item.size for item in self.items if item.phase == "always" and item.exact and not item.on_host)

    def size(self, phase: Phase) -> int:
        """What a phase alone puts on the GPU."""
        return sum(item.size for item in self.items if item.phase == phase and not item.on_host)

    def fits(self, memory: int) -> bool:
        """Whether a GPU of ``memory`` bytes is large enough."""
        return self.peak <= memory


def model_states(counts: Counts, sharding: Sharding) -> list[Item]:
    """Weights, gradients and optimizer states; the table above."""
    w, ranks, stage = sharding.weight_bytes, sharding.ranks, sharding.stage
    zero, offload = stage > 0, stage > 0 and sharding.offload_optimizer
    split_weights = ranks if stage == 3 else 1
    own = per_rank(counts.trained, ranks if zero else 1)  # what this rank steps on
    on_host = stage == 3 and sharding.offload_parameters
    items = [
        Item("frozen weights", per_rank(w * counts.frozen, split_weights), on_host=on_host),
        Item("trained weights", per_rank(w * counts.trained, split_weights), on_host=on_host),
        Item("moments of Adam", 8 * own, on_host=offload),
    ]
    if zero:
        items.append(Item("float32 masters", 4 * own, on_host=offload))
    if stage == 3:
        # Whole while it computes, with its gradient; DeepSpeed's estimator has the same.
        items.append(Item("largest layer, gathered", 2 * w * counts.largest_layer))
    if not offload:
        items.append(Item("gradients", w * (own if stage >= 2 else counts.trained)))
    if zero and sharding.bf16:
        stepped = min(own, sharding.sub_group) if stage == 3 else own
        items.append(Item("float32 gradients", 4 * (own if offload else stepped), "step", on_host=offload))
    return items


def shadow_states(counts: Counts, sharding: Sharding, shadows: int = 1) -> list[Item]:
    """The EMA teacher: a float32 shadow of what is trained. While it captions, it is in the weights' type and place.

    Args:
        shadows: copies that are kept; a frozen reader is one more. One at a time is in use.
    """
    if not shadows:
        return []
    shares, slices = (sharding.ranks if sharding.stage >= least else 1 for least in (1, 3))
    name = "EMA shadow" if shadows == 1 else f"{shadows} shadows"
    items = [Item(name, shadows * per_rank(4 * counts.trained, shares))]
    if sharding.bf16 or shares > slices:  # else the shadow itself takes the weights' place
        items.append(Item("teacher's weights", per_rank(sharding.weight_bytes * counts.trained, slices), "captioning"))
    return items


def buffers(counts: Counts, sharding: Sharding) -> list[Item]:
    """What communication and the optimizer need in addition. Estimates: upper bounds from DeepSpeed's settings."""
    w, stage = sharding.weight_bytes, sharding.stage
    items = [Item("CUDA, NCCL, allocator", RESERVE, exact=False)]
    if stage == 0:
        if sharding.ranks > 1:
            items.append(Item("buckets of DistributedDataParallel", 4 * counts.trained, exact=False))
    else:
        doubled = 2 if stage < 3 and sharding.overlap_comm else 1
        items.append(Item("gradient bucket", doubled * w * sharding.reduce_bucket, "backward", exact=False))
    if stage == 3:
        live = w * min(sharding.max_live, counts.total)
        items += [Item("layers kept gathered", live, phase, exact=False) for phase in ("captioning", "backward")]
    if not (sharding.fused or (stage and sharding.offload_optimizer)):
        own = per_rank(counts.trained, sharding.ranks if stage else 1)
        items.append(Item("temporaries of AdamW", 4 * own, "step", exact=False))
    return items


def checkpoint_size(counts: Counts, sharding: Sharding, shadows: int) -> int:
    """The size of one checkpoint on disk, all ranks together.

    With DeepSpeed: trained weights (w T; under ZeRO-3 the masters replace them), masters (4 T) and moments (8 T), but
    no frozen weights. Without: all weights (4 P) and moments. Each shadow (EMA teacher, frozen reader): 4 T more.
    """
    if sharding.stage:
        weights = (0 if sharding.stage == 3 else sharding.weight_bytes * counts.trained) + 4 * counts.trained
    else:
        weights = 4 * counts.total
    return weights + 8 * counts.trained + shadows * 4 * counts.trained


def per_rank(size: int, ranks: int) -> int:
    """A rank's part, rounded up."""
    return -(-size // ranks)


def table(items: Iterable[Item]) -> list[str]:
    """One line per item, aligned; zeros are left out."""
    shown = [item for item in items if item.size]
    width = max((len(item.name) for item in shown), default=0)
    return [f"{item.name:<{width}}  {sized(item.size):>9}  {_note(item)}" for item in shown]


def sized(size: int) -> str:
    """A number of bytes in readable form."""
    return f"{size / GIB:.1f} GiB" if size >= GIB // 10 else f"{size / MIB:.1f} MiB"


def _note(item: Item) -> str:
    notes = ["exact" if item.exact else "estimate"]
    if item.on_host:
        notes.append("in the machine's memory")
    elif item.phase != "always":
        notes.append(WHILE[item.phase])
    return ", ".join(notes)
