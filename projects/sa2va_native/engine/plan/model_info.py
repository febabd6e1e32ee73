"""The parts of a model and the memory that its run needs, counted from the built modules."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from torch import nn

from sa2va_native.engine.config.config_check import resolve_type
from sa2va_native.engine.plan.activation_memory import Shapes, activations
from sa2va_native.engine.plan.memory_plan import (
    Counts,
    Item,
    MemoryPlan,
    Sharding,
    buffers,
    model_states,
    shadow_states,
)
from sa2va_native.engine.plan.skeleton import find_sa2va


class Component(NamedTuple):
    """Counts of one part of the model."""

    parameters: int
    tensors: int
    trainable_parameters: int
    trainable_tensors: int


def components(model: nn.Module) -> dict[str, Component]:
    """The parts of the Sa2VA that a model is or holds; each parameter counts in one part, so they add up to the whole.

    ``sam2`` is therefore SAM 2 without its mask decoder, and ``language_model`` is without LoRA and embeddings.
    """
    sa2va = find_sa2va(model)
    members: dict[str, list[nn.Parameter]] = {part: [] for part in sa2va.parts}
    for name, parameter in sa2va.named_parameters():
        members[sa2va.part_of(name)].append(parameter)
    return {part: _count(parameters) for part, parameters in members.items()}


def _count(parameters: list[nn.Parameter]) -> Component:
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    return Component(
        sum(p.numel() for p in parameters), len(parameters), sum(p.numel() for p in trained), len(trained)
    )  # fmt: skip


def counts(model: nn.Module) -> Counts:
    """What a memory plan needs to know about a model's parameters."""
    whole = _count(list(model.parameters()))
    largest = max(sum(p.numel() for p in module.parameters(recurse=False)) for module in model.modules())
    return Counts(whole.parameters - whole.trainable_parameters, whole.trainable_parameters, largest)


def shapes(model: nn.Module, batch: int) -> Shapes:
    """Sizes of a model and of a micro-batch; prompt lengths are those of the real prompts, at their longest.

    Args:
        model: a Sa2VA, or a module that holds one.
        batch: samples.
    """
    sa2va = find_sa2va(model)
    lora: Any = next((module for module in model.modules() if getattr(module, "lora_A", None)), None)
    prompts, caption = sa2va.prompts, sa2va.max_new_tokens
    answer = len(prompts.answer_segment())
    table = next(sa2va.embedding.parameters())
    estimator: Any = getattr(model, "estimator", None)  # of the method, which this package does not know
    mixes = estimator is not None and estimator.reads_with_gradient
    return Shapes(
        batch=batch,
        **sa2va.mllm.sizes._asdict(),
        **sa2va.grounding.sizes._asdict(),
        lora_rank=lora.r["default"] if lora is not None else 0,
        lora_dropout=lora is not None and isinstance(lora.lora_dropout["default"], nn.Dropout),
        caption_prompt=len(prompts.ask_caption(prompts.image_tokens)),
        caption=caption,
        segment_prompt=len(prompts.ask_segment(caption)) + answer,
        answer=answer,
        mixed=estimator.readings * estimator.words_mixed if mixes else 0,
        tables=int(table.requires_grad),
    )


def sharding(cfg: Any, ranks: int) -> Sharding:
    """How a run keeps its states, from its config after ``use_engine``, or without DeepSpeed."""
    settings, fused = (cfg.get("strategy") or {}).get("config"), bool(cfg.optim_wrapper.optimizer.get("fused"))
    if settings is None:
        return Sharding(stage=0, ranks=ranks, bf16=False, fused=fused)
    from deepspeed.runtime.zero.config import DeepSpeedZeroConfig

    given = settings.get("zero_optimization", {})
    zero = DeepSpeedZeroConfig(**(given.to_dict() if hasattr(given, "to_dict") else given))
    return Sharding(
        stage=int(zero.stage),  # type: ignore[arg-type]
        ranks=ranks,
        bf16=bool(settings.get("bf16", {}).get("enabled")),
        offload_optimizer=_on_cpu(zero.offload_optimizer),
        offload_parameters=_on_cpu(zero.offload_param),
        reduce_bucket=zero.reduce_bucket_size,
        overlap_comm=bool(zero.overlap_comm),
        sub_group=zero.sub_group_size,
        max_live=zero.max_live_parameters,
        fused=fused,
    )


def _on_cpu(offload: Any) -> bool:
    return offload is not None and offload.device != "none"


def shadows(cfg: Any) -> int:
    """How many hooks of the config keep a float32 shadow of what is trained (their classes say ``keeps_shadow``)."""
    return sum(getattr(resolve_type(hook["type"]), "keeps_shadow", False) for hook in hook_settings(cfg))


def hook_settings(cfg: Any) -> list[dict[str, Any]]:
    """The hooks of a config."""
    hooks = [*(cfg.get("default_hooks") or {}).values(), *(cfg.get("custom_hooks") or [])]
    return [hook for hook in hooks if hook is not None]


def memory_plan(cfg: Any, model: nn.Module, ranks: int, checkpointing: bool | None = None) -> MemoryPlan:
    """What each rank of a run holds, by phase.

    Args:
        cfg: config of the run, after ``use_engine`` if that is to be used.
        model: built from it, on any device.
        ranks: world size to plan for.
        checkpointing: gradient checkpointing of the language model; None: as the model has it.
    """
    sa2va, how, number = find_sa2va(model), sharding(cfg, ranks), counts(model)
    sizes = shapes(model, cfg.train_dataloader.batch_size)
    checkpointing = sa2va.language_model.is_gradient_checkpointing if checkpointing is None else checkpointing
    width = how.weight_bytes
    kinds = dict.fromkeys(cfg.train_dataloader.get("batch_sampler", {}).get("pattern", ("cycle",)))
    accumulating = how.stage > 0 or cfg.optim_wrapper.get("accumulative_counts", 1) > 1
    by_kind = [activations(sizes, kind, width, checkpointing, accumulating) for kind in kinds]
    items = model_states(number, how)
    items += shadow_states(number, how, shadows(cfg))
    items += buffers(number, how)
    items += max(by_kind, key=_total)
    items.append(Item("model while it is built", number.total * sa2va.dtype.itemsize, on_host=True, exact=False))
    return MemoryPlan(items)


def _total(items: Iterable[Item]) -> int:
    return sum(item.size for item in items)
