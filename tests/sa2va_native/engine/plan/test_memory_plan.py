"""The memory plan against the table of the ZeRO paper and DeepSpeed's own estimators."""

from __future__ import annotations

from dataclasses import replace

import pytest
from deepspeed.runtime.zero.stage3 import estimate_zero3_model_states_mem_needs
from deepspeed.runtime.zero.stage_1_and_2 import estimate_zero2_model_states_mem_needs

from sa2va_native.engine.plan.memory_plan import (
    GIB,
    Counts,
    Item,
    MemoryPlan,
    Sharding,
    buffers,
    checkpoint_size,
    model_states,
    shadow_states,
    sized,
    table,
)

ALL_TRAINED = Counts(frozen=0, trained=800_000_000, largest_layer=100_000_000)
PARTLY = Counts(frozen=3000, trained=1000, largest_layer=100)


def on_gpu(items: list[Item]) -> int:
    return sum(item.size for item in items if not item.on_host)


def on_host(items: list[Item]) -> int:
    return sum(item.size for item in items if item.on_host)


@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
def test_zero2_of_a_fully_trained_model_is_deepspeeds_estimate(ranks: int) -> None:
    """Red when a state is forgotten, counted twice, or not split."""
    _, theirs = estimate_zero2_model_states_mem_needs(ALL_TRAINED.total, ranks, cpu_offload=False)
    assert on_gpu(model_states(ALL_TRAINED, Sharding(stage=2, ranks=ranks))) == theirs


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_offloading_the_optimizer_leaves_the_weights_on_the_gpu(ranks: int) -> None:
    """DeepSpeed's estimate for the host, without its safety factor, is for all ranks together."""
    items = model_states(ALL_TRAINED, Sharding(stage=2, ranks=ranks, offload_optimizer=True))
    host, gpu = estimate_zero2_model_states_mem_needs(ALL_TRAINED.total, ranks, additional_buffer_factor=1.0)
    assert on_gpu(items) == gpu
    assert ranks * on_host(items) == host


@pytest.mark.parametrize("ranks", [1, 2, 8])
def test_zero3_of_a_fully_trained_model_is_deepspeeds_estimate_and_the_16_bit_shards(ranks: int) -> None:
    """DeepSpeed counts 18 bytes a parameter there, as for stage 2, where the 2 of the weights come on top of them."""
    _, theirs, _ = estimate_zero3_model_states_mem_needs(
        ALL_TRAINED.total, ALL_TRAINED.largest_layer, ranks, cpu_offload=False, cpu_offload_params=False
    )
    ours = on_gpu(model_states(ALL_TRAINED, Sharding(stage=3, ranks=ranks)))
    assert ours == theirs + 2 * ALL_TRAINED.total // ranks


def test_zero3_with_everything_offloaded_keeps_the_largest_layer() -> None:
    sharding = Sharding(stage=3, ranks=4, offload_optimizer=True, offload_parameters=True)
    _, theirs, _ = estimate_zero3_model_states_mem_needs(ALL_TRAINED.total, ALL_TRAINED.largest_layer, 4)
    assert on_gpu(model_states(ALL_TRAINED, sharding)) == theirs


@pytest.mark.parametrize(
    ("stage", "bf16", "expected"),
    [  # frozen 3000, trained 1000, 4 ranks: weights + gradients + masters + moments, and float32 gradients in a step
        (0, False, 16_000 + 4000 + 0 + 8000 + 0),
        (1, True, 8000 + 2000 + 1000 + 2000 + 1000),
        (2, True, 8000 + 500 + 1000 + 2000 + 1000),
        (2, False, 16_000 + 1000 + 1000 + 2000 + 0),
        (3, True, 2000 + 500 + 1000 + 2000 + 1000 + 400),  # and the largest layer with its gradient
    ],
)
def test_frozen_parameters_have_weights_and_nothing_else(stage: int, bf16: bool, expected: int) -> None:
    """Red for an estimate that takes every parameter for a trained one, or splits what a stage leaves whole."""
    sharding = Sharding(stage=stage, ranks=4, bf16=bf16)  # type: ignore[arg-type]
    assert on_gpu(model_states(PARTLY, sharding)) == expected


@pytest.mark.parametrize(("stage", "shadow", "teacher"), [(0, 4000, 2000), (2, 1000, 2000), (3, 1000, 500)])
def test_zero_shares_the_shadow_out_and_only_zero3_the_weights_in_use(stage: int, shadow: int, teacher: int) -> None:
    items = shadow_states(PARTLY, Sharding(stage=stage, ranks=4))  # type: ignore[arg-type]
    assert [item.size for item in items] == [shadow, teacher]
    assert len(shadow_states(PARTLY, Sharding(bf16=False))) == 1, "a float32 shadow is exchanged, not cast"
    whole = shadow_states(PARTLY, Sharding(bf16=False, ranks=4))
    assert [item.size for item in whole] == [1000, 4000], "but gathered, where it is shared out"


def test_buckets_follow_deepspeeds_settings() -> None:
    sharding = Sharding(stage=2, reduce_bucket=1000)
    one, two = (buffers(PARTLY, replace(sharding, overlap_comm=overlap)) for overlap in (False, True))
    assert on_gpu(two) - on_gpu(one) == 2000


def test_a_fused_optimizer_needs_no_temporaries() -> None:
    """Red when a plan asks for a fifth float32 copy of what is trained that a fused step never makes, or forgets it."""
    each, fused = (buffers(PARTLY, Sharding(stage=2, ranks=4, fused=fused)) for fused in (False, True))
    assert on_gpu(each) - on_gpu(fused) == 4 * 250


def test_phases_do_not_add_up() -> None:
    """Red when what is never on the GPU at once is summed, or the machine's memory counts for the GPU's."""
    items = [
        Item("a", 10),
        Item("b", 5, "captioning"),
        Item("c", 7, "backward"),
        Item("d", 1, "backward", exact=False),
        Item("e", 100, on_host=True),
        Item("f", 3, exact=False),
    ]
    plan = MemoryPlan(items)
    assert (plan.peak, plan.peak_phase, plan.exact, plan.host) == (10 + 3 + 7 + 1, "backward", 10, 100)
    assert plan.fits(21)
    assert not plan.fits(20)


def test_a_checkpoint_holds_what_was_trained() -> None:
    """The slow tests of the dry run compare with checkpoints that were written."""
    assert checkpoint_size(PARTLY, Sharding(stage=2, ranks=4), shadows=0) == 14 * 1000
    assert checkpoint_size(PARTLY, Sharding(stage=2), shadows=1) == 18 * 1000
    assert checkpoint_size(PARTLY, Sharding(stage=2), shadows=2) == 22 * 1000, "teacher and frozen reader"
    assert checkpoint_size(PARTLY, Sharding(stage=3), shadows=1) == 16 * 1000
    assert checkpoint_size(PARTLY, Sharding(stage=1, bf16=False), shadows=1) == 20 * 1000
    assert checkpoint_size(PARTLY, Sharding(stage=0, bf16=False), shadows=1) == 4 * 4000 + 12 * 1000


def test_sizes_are_readable() -> None:
    assert sized(3 * GIB // 2) == "1.5 GiB"
    assert sized(2**21) == "2.0 MiB"
    assert table([Item("a", 2**21), Item("none", 0), Item("bc", GIB, "step", exact=False)]) == [
        "a     2.0 MiB  exact",
        "bc    1.0 GiB  estimate, while the optimizer steps",
    ]
