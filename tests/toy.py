"""The smallest model and data that a run of the engine needs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import get_rank, get_world_size
from mmengine.model import BaseModel
from torch import nn

from sa2va_native.engine.run.train_loop import TrainLoop
from sa2va_native.hooks.checkpoint_hook import StepCheckpointHook
from sa2va_native.hooks.logger_hook import StepLoggerHook
from sa2va_native.hooks.param_scheduler_hook import StepParamSchedulerHook
from sa2va_native.hooks.random_state_hook import RandomStateHook
from sa2va_native.parallel.parameters import gather_slices, local_tensor
from sa2va_native.parallel.unwrap import unwrap_model

WIDTH = 8


class ToyModel(BaseModel):
    """Frozen features, an adapter, dropout, a head; one trained tensor that no loss reaches."""

    def __init__(self, dropout: float = 0.0, bad_steps: tuple[int, ...] = ()) -> None:
        super().__init__()
        state = torch.random.get_rng_state()
        torch.manual_seed(5)
        self.frozen = nn.Linear(WIDTH, WIDTH).requires_grad_(False)
        self.adapter = nn.Linear(WIDTH, WIDTH)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 1))
        self.unused = nn.Linear(2, 2)
        torch.random.set_rng_state(state)
        self.bad_steps, self.bad_gradients = bad_steps, True
        self.calls = 0
        self.text_embeds_grad_norm: torch.Tensor | None = None

    def features(self, x: torch.Tensor) -> torch.Tensor:
        return self.frozen(x) + self.adapter(x)

    def forward(self, x: torch.Tensor, y: torch.Tensor, mode: str = "tensor") -> Any:
        hidden = self.features(x.to(self.frozen.weight.dtype))
        if hidden.requires_grad:
            hidden.register_hook(self._remember)
        out = self.head(hidden).squeeze(-1)
        if mode == "tensor":
            return out
        loss = (out.float() - y).square().mean()
        if self.calls in self.bad_steps:
            loss = loss * float("nan") if self.bad_gradients else loss + float("inf")
        self.calls += 1
        return {"loss": loss}

    def _remember(self, gradient: torch.Tensor) -> None:
        self.text_embeds_grad_norm = gradient.detach().float().norm()

    def gradient_groups(self) -> dict[str, list[nn.Parameter]]:
        return {"adapter": list(self.adapter.parameters()), "head": list(self.head.parameters())}


class ToyData:
    """Item i is a fixed random vector; keeps which items were read."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(1)
        self.x = torch.randn(64, WIDTH, generator=generator)
        self.y = self.x[:, 0].sin()
        self.read: list[int] = []

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        self.read.append(index)
        return {"x": self.x[index], "y": self.y[index]}


class ToyBatches:
    """Micro-iteration i holds items i*B .. i*B + B - 1 of the joint batch of all ranks, cut by rank."""

    def __init__(self, sampler: Any, batch_size: int, drop_last: bool = False) -> None:
        self.sampler, self.batch_size, self.start = sampler, batch_size, 0

    def __iter__(self) -> Iterator[list[int]]:
        iteration = self.start
        while True:
            first = (iteration * get_world_size() + get_rank()) * self.batch_size
            yield [(first + i) % 64 for i in range(self.batch_size)]
            iteration += 1

    def __len__(self) -> int:
        return 10**9


def whole_weights(runner: Any) -> dict[str, torch.Tensor]:
    """Every parameter of a run's model as it is now. A collective under ZeRO-3."""
    params = unwrap_model(runner.model).named_parameters()
    return {name: gather_slices(param, local_tensor(param)).detach().clone() for name, param in params}


def _path(cls: type) -> str:
    return f"{cls.__module__}.{cls.__name__}"  # a class object in a plain config cannot be written to the work dir


def toy_config(
    work_dir: Path | str,
    steps: int = 4,
    batch_size: int = 4,
    accumulation: int = 1,
    lr: float = 0.1,
    optimizer: str = "AdamW",
    hooks: list[dict] | None = None,
    model: dict | None = None,
    checkpoint_interval: int = 1000,
) -> Config:
    """A config of the toy run; `checkpoint_interval` in optimizer steps."""
    return Config(
        dict(
            model=dict(type=_path(ToyModel), **(model or {})),
            train_dataloader=dict(
                batch_size=batch_size,
                num_workers=0,
                dataset=dict(type=_path(ToyData)),
                sampler=dict(type="DefaultSampler", shuffle=False),
                batch_sampler=dict(type=_path(ToyBatches)),
                collate_fn=dict(type="default_collate"),
            ),
            train_cfg=dict(type=_path(TrainLoop), max_steps=steps),
            optim_wrapper=dict(
                type="OptimWrapper", optimizer=dict(type=optimizer, lr=lr), accumulative_counts=accumulation
            ),
            param_scheduler=[dict(type="LinearLR", start_factor=0.5, end=8, by_epoch=False)],
            default_hooks=dict(
                logger=dict(type=_path(StepLoggerHook), interval=1),
                param_scheduler=dict(type=_path(StepParamSchedulerHook)),
                checkpoint=dict(type=_path(StepCheckpointHook), interval=checkpoint_interval, save_last=False),
                random_state=dict(type=_path(RandomStateHook)),
            ),
            custom_hooks=hooks or [],
            find_unused_parameters=True,
            randomness=dict(seed=3),
            env_cfg=dict(),
            log_level="ERROR",
            work_dir=str(work_dir),
        ),
    )
