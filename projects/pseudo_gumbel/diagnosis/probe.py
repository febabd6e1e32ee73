"""Does the learning rate move captions at all? A few optimizer steps on captions that are known to be better."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS
from torch import Tensor, nn

from sa2va_native.datasets.collate import collate_batch
from sa2va_native.datasets.mixture import Item
from sa2va_native.models.evaluating import evaluating
from sa2va_native.models.losses import language_loss
from sa2va_native.models.prompts import END
from sa2va_native.parallel.parameters import trainable_parameters


class Better(NamedTuple):
    """A caption that leads back better than the captioner's own."""

    item: Item
    ids: Tensor  #: [T]
    position: int  #: of the word that makes it better; of its first token


class Probe(NamedTuple):
    """What language loss on better captions did to the words that make them better."""

    lr: float  #: peak learning rate
    steps: int  #: that the probe took
    before: float  #: mean log-probability of those words
    after: float

    @property
    def per_step(self) -> float:
        """Change of the log-probability by one optimizer step, in nats."""
        return (self.after - self.before) / self.steps

    def at_the_end(self, run_steps: int) -> float:
        """The words' (geometric mean) probability after a run of so many steps, if it went on like this; 0..1."""
        return float(torch.tensor(min(0.0, self.before + self.per_step * run_steps)).exp())


#: Captions move if the better words would become more likely than not by the end of the run.
MOVED = 0.5


def moves(one: Probe, run_steps: int) -> bool:
    """Whether a learning rate moves captions within a run of so many steps."""
    return one.at_the_end(run_steps) >= MOVED


def rate_curve(schedulers: Sequence[Mapping[str, Any]], steps: int) -> list[float]:
    """The learning rate of each of ``steps`` optimizer steps as a share of the config's ``lr``.

    Args:
        schedulers: ``param_scheduler`` of a config; those without ``end`` end with the run, as in ``TrainLoop``.
    """
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    built = []
    for scheduler in schedulers:
        config = dict(scheduler)
        config.setdefault("end", max(steps, config.get("begin", 0) + 1))
        built.append(PARAM_SCHEDULERS.build(config, default_args=dict(optimizer=optimizer)))
    curve = []
    for _ in range(steps):
        curve.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        for one in built:
            one.step()
    return curve


@contextmanager
def weights_kept(model: nn.Module) -> Iterator[None]:
    """Puts the trained parameters back bit for bit, whatever happens inside."""
    kept = {name: param.detach().clone() for name, param in trainable_parameters(model).items()}
    try:
        yield
    finally:
        with torch.no_grad():
            for name, param in trainable_parameters(model).items():
                param.copy_(kept[name])
                param.grad = None


def probe(
    model: nn.Module,
    optim_wrapper: dict[str, Any],
    curve: Sequence[float],
    lr: float,
    losses: Sequence[Callable[[], Tensor]],
    log_probability: Callable[[], float],
    steps: int,
) -> Probe:
    """Takes ``steps`` optimizer steps at the run's own schedule, played in fewer steps, and undoes them.

    The optimizer steps on float32 copies, as DeepSpeed's does, so that a bfloat16 model moves too.

    Args:
        model: the bare model; it has its weights back when this returns.
        optim_wrapper: of a config: optimizer, multipliers of parts and gradient clipping are used.
        curve: see :func:`rate_curve`; every so-many-th value is used.
        lr: peak learning rate, in place of the config's.
        losses: micro-batches of one optimizer step; the gradient is the mean of theirs.
        log_probability: mean log-probability of the words in question.
        steps: of the probe.
    """
    with weights_kept(model), evaluating(model):
        before = log_probability()
        optimizer = _optimizer(model, optim_wrapper, lr)
        model_params = [param for group in optimizer.param_groups for param in group["params"]]
        masters = [param.detach().float().clone() for param in model_params]
        copies = dict(zip(map(id, model_params), masters, strict=True))
        for group in optimizer.param_groups:
            group["params"] = [copies[id(param)] for param in group["params"]]
        full = [group["lr"] for group in optimizer.param_groups]
        for step in range(steps):
            for group, rate in zip(optimizer.param_groups, full, strict=True):
                group["lr"] = rate * curve[step * len(curve) // steps]
            for loss in losses:
                (loss() / len(losses)).backward()
            for param, master in zip(model_params, masters, strict=True):
                master.grad = None if param.grad is None else param.grad.float()
                param.grad = None
            if clip := optim_wrapper.get("clip_grad"):
                nn.utils.clip_grad_norm_(masters, clip["max_norm"])
            optimizer.step()
            with torch.no_grad():
                for param, master in zip(model_params, masters, strict=True):
                    param.copy_(master)
        return Probe(lr, steps, before, log_probability())


def _optimizer(model: nn.Module, optim_wrapper: dict[str, Any], lr: float) -> torch.optim.Optimizer:
    config = {
        key: value for key, value in optim_wrapper.items() if key in ("optimizer", "paramwise_cfg", "constructor")
    }
    config["optimizer"] = {**config["optimizer"], "lr": lr}
    return build_optim_wrapper(model, dict(type="OptimWrapper", **config)).optimizer


def probe_rates(
    model: Any,
    better: Sequence[Better],
    cfg: Any,
    *,
    steps: int,
    factors: Sequence[float],
    track: Callable[[Sequence[float]], Iterable[float]] = iter,
) -> tuple[Probe, ...]:
    """The config's learning rate on captions that lead back better, then higher ones until one moves them.

    None if there are fewer than four captions.

    Args:
        model: the cycle.
        better: captions of one optimizer step.
        cfg: of the run; its steps, schedule, optimizer and batch size are used.
        steps: of each probe.
        factors: on the config's learning rate, in rising order.
        track: shows the progress of the rates that are tried.
    """
    if len(better) < 4:
        return ()
    run_steps, micro = cfg.train_cfg.max_steps, cfg.train_dataloader.get("batch_size", 1)
    parts = [_Captions(model, better[start : start + micro]) for start in range(0, len(better), micro)]

    def log_probability() -> float:
        return float(torch.cat([part.log_p_of_words() for part in parts]).mean())

    schedule = cfg.get("param_scheduler") or []
    curve = rate_curve([schedule] if isinstance(schedule, dict) else schedule, run_steps)
    lr, steps = float(cfg.optim_wrapper["optimizer"]["lr"]), min(steps, run_steps)
    losses = [part.loss for part in parts]
    probes: list[Probe] = []
    for factor in track((1.0, *factors)):
        if not any(moves(one, run_steps) for one in probes):
            probes.append(probe(model, cfg.optim_wrapper, curve, lr * factor, losses, log_probability, steps))
    return tuple(probes)


class _Captions:
    """A micro-batch of better captions, to be trained on; pictures are encoded once."""

    def __init__(self, model: Any, better: Sequence[Better]) -> None:
        self.student, prompts = model.student, model.student.prompts
        side = model.data_preprocessor(collate_batch([one.item for one in better]))["batch"].caption_side
        self.pictures, self.region = self.student.encode_pictures(side, grounding=False), side.region
        self.positions = torch.tensor([one.position for one in better], device=side.region.device)
        self.captions = [torch.cat([one.ids, torch.tensor(prompts.encode(END))]) for one in better]

    def loss(self) -> Tensor:
        """Language loss of the captions, stop word included."""
        return language_loss(*self._logits())

    @torch.no_grad()
    def log_p_of_words(self) -> Tensor:
        """[B] log-probability of the word that makes each caption better, over the whole vocabulary."""
        logits, labels = self._logits()
        rows = torch.arange(len(labels), device=labels.device)
        log_p = logits.float().log_softmax(-1)[rows, self.positions]
        return log_p.gather(1, labels[rows, self.positions][:, None])[:, 0]

    def _logits(self) -> tuple[Tensor, Tensor]:
        return self.student.caption_logits(self.pictures, self.region, self.captions, self.captions)
