"""A test loop that goes on where it was killed, and reads what cycle IoUs are compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.dist import all_gather_object
from mmengine.logging import print_log
from mmengine.registry import LOOPS
from mmengine.runner import TestLoop
from mmengine.runner.amp import autocast
from torch.utils.data import DataLoader

from sa2va_native.datasets.samplers import EvaluationBatchSampler
from sa2va_native.engine.checkpoints.other_weights import OtherWeights, build_stranger
from sa2va_native.errors import ConfigError
from sa2va_native.evaluation.controls import CONTROLS, exchange_captions, true_caption
from sa2va_native.evaluation.journal import Journal
from sa2va_native.evaluation.segmentation import intersection_union
from sa2va_native.models.sa2va import Sa2VA
from sa2va_native.parallel.unwrap import unwrap_model


class _Described(NamedTuple):
    """A batch of masks after the normal pass, which waits for its other readings."""

    items: list[int]  #: positions in the data set
    controls: tuple[str, ...]
    results: list[dict[str, Any]]


@LOOPS.register_module()
class CycleTestLoop(TestLoop):
    """MMEngine's test loop, which keeps what is done and reads controls in a second pass.

    Where a metric has ``controls``, the texts that they name are read when all captions are there. A result then has
    ``readings``: name -> (pixels in both masks, pixels in either), for ``own`` and each control. A missing caption, an
    empty one and one that leads to no mask are an empty mask; without a true caption there is no ``ceiling``. Pictures
    of the mask side are encoded once more, for all controls together; results with their masks are kept until then.
    Not under ZeRO-3.

    Args:
        runner, dataloader, evaluator, fp16: as in MMEngine. Items of the data set are found by their draw's key.
        stranger: weights of the ``stranger``, see :func:`build_stranger`; only tensors that differ are held. None: the
            config's own, the model as it was before training.
        seed: of the exchange of captions for the ``floor``. It does not depend on the number of ranks.
        journal: folder that keeps finished batches until the evaluation is complete, see :class:`Journal`. An
            evaluation that was killed goes on there, on any number of ranks, to the same figures; it only reads its
            controls anew. None keeps nothing. It needs an ``EvaluationBatchSampler``.
        identity: what the results depend on, besides the lengths of the sources.

    Raises:
        ConfigError: controls without a Sa2VA; a journal of another evaluation, or without that sampler; see also
            :func:`build_stranger`.
    """

    def __init__(
        self,
        runner: Any,
        dataloader: Any,
        evaluator: Any,
        fp16: bool = False,
        stranger: str | Sequence[str] | None = None,
        seed: int = 0,
        journal: str | Path | None = None,
        identity: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(runner, dataloader, evaluator, fp16)
        self.stranger = [stranger] if isinstance(stranger, str) else stranger
        self.seed = seed
        metrics = [metric for metric in self.evaluator.metrics if getattr(metric, "controls", ())]
        self._controls = [(metric.source, metric.controls) for metric in metrics]
        self._waiting: list[_Described] = []
        self._journal_of = None if journal is None else (Path(journal), dict(identity or {}))
        self._journal: Journal | None = None

    def run(self) -> dict:
        """Evaluates; all ranks call it."""
        if not self._controls and self._journal_of is None:
            return super().run()
        self.runner.call_hook("before_test")
        self.runner.call_hook("before_test_epoch")
        self.runner.model.eval()
        self._go_on()
        for index, data_batch in enumerate(self.dataloader):
            self.run_iter(index, data_batch)
        if self._controls:
            self._read_controls()
        metrics = self.evaluator.evaluate(len(self.dataloader.dataset))
        if self._journal:
            self._journal.discard()
        self.runner.call_hook("after_test_epoch", metrics=metrics)
        self.runner.call_hook("after_test")
        return metrics

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: Any) -> None:
        """Predicts one batch; one that has controls is scored after they are read."""
        if not self._controls and self._journal_of is None:
            super().run_iter(idx, data_batch)
            return
        self.runner.call_hook("before_test_iter", batch_idx=idx, data_batch=data_batch)
        with autocast(enabled=self.fp16):
            results = self.runner.model.test_step(data_batch)
        items = [key.sample for key in data_batch["batch"].keys]
        if self._journal:
            self._journal.add(items, results)
        self._take(items, results, data_batch)
        self.runner.call_hook("after_test_iter", batch_idx=idx, data_batch=data_batch, outputs=results)

    def _take(self, items: list[int], results: list[dict[str, Any]], data_batch: Any) -> None:
        """Scores the results of a batch, or keeps them until their controls are read."""
        kinds = {(result["kind"], result["source"]) for result in results}
        asked = {name for kind, source in kinds if kind == "cycle" for name in self._controls_of(source)}
        if asked:
            self._waiting.append(_Described(items, tuple(name for name in CONTROLS if name in asked), results))
        else:
            self.evaluator.process(data_samples=results, data_batch=data_batch)

    def _go_on(self) -> None:
        """Takes the batches that were finished before a kill, and leaves the others to the loader. A collective."""
        if self._journal_of is None:
            return
        folder, identity = self._journal_of
        sampler: Any = self.dataloader.batch_sampler
        if not isinstance(sampler, EvaluationBatchSampler):
            raise ConfigError(
                f"an evaluation that can go on needs test_dataloader.batch_sampler = EvaluationBatchSampler, and has "
                f"{type(sampler).__name__}. Set it, or leave out --predictions."
            )
        lengths = [len(source.items) for source in self.dataloader.dataset.sources]
        self._journal = Journal(folder, {**identity, "lengths of the sources": lengths})
        batches = [[draw.item for draw in batch] for batch in sampler.batches]
        for items in batches:
            if items in self._journal:
                self._take(items, self._journal.results(items), None)
        left = [batch for batch, items in zip(sampler.batches, batches, strict=True) if items not in self._journal]
        if done := len(batches) - len(left):
            print_log(f"{done:,} of {len(batches):,} batches were finished before; going on", logger="current")
        sampler.batches = left

    def _controls_of(self, source: str) -> set[str]:
        return {name for of, controls in self._controls if of in (None, source) for name in controls}

    @torch.no_grad()
    def _read_controls(self) -> None:
        wrapped: Any = unwrap_model(self.runner.model)
        model = next((module for module in wrapped.modules() if isinstance(module, Sa2VA)), None)
        if model is None:
            raise ConfigError(f"controls of CycleMetric need a Sa2VA, and {type(wrapped).__name__} holds none.")
        exchanged = self._exchanged_captions()
        wanted = any("stranger" in controls for _, controls in self._controls)
        stranger = OtherWeights(model, build_stranger(self.runner.cfg, self.stranger)) if wanted else None
        waiting, self._waiting = self._waiting, []
        loader = DataLoader(
            self.dataloader.dataset,
            batch_sampler=[described.items for described in waiting],
            collate_fn=self.dataloader.collate_fn,
            num_workers=self.dataloader.num_workers,
        )
        for described, data_batch in zip(waiting, loader, strict=True):
            batch = wrapped.data_preprocessor(data_batch, False)["batch"]
            with autocast(enabled=self.fp16):
                self._read(model, stranger, batch, described, exchanged)
            self.evaluator.process(data_samples=described.results, data_batch=data_batch)

    def _exchanged_captions(self) -> dict[int, str | None]:
        """Another object's caption for each object of this and all other ranks, by position. A collective."""
        mine = [
            (result["source"], item, result["caption"])
            for described in self._waiting
            for item, result in zip(described.items, described.results, strict=True)
        ]
        captions: dict[str, dict[int, str | None]] = {}
        for source, item, caption in (entry for part in all_gather_object(mine) for entry in part):
            captions.setdefault(source, {})[item] = caption
        return {
            item: caption
            for of_source in captions.values()
            for item, caption in exchange_captions(of_source, self.seed).items()
        }

    @staticmethod
    def _read(
        model: Sa2VA,
        stranger: OtherWeights | None,
        batch: Any,
        described: _Described,
        exchanged: dict[int, str | None],
    ) -> None:
        """Reads what ``described.controls`` name and notes how many pixels are right."""
        results, side = described.results, batch.side2
        texts = {
            "floor": [exchanged[item] for item in described.items],
            "ceiling": [true_caption(result["attributes"], result["text"]) for result in results],
            "stranger": [result["caption"] for result in results],
        }
        sizes = [result["gt_mask"].shape for result in results]
        for result in results:
            result["readings"] = {"own": intersection_union(result["cycle_mask"], result["gt_mask"])}
        pictures = model.encode_distinct(side)
        for control in described.controls:
            other = stranger if control == "stranger" else None
            with other.applied() if other else nullcontext():
                if other and other.touch(model.mllm.tower, model.grounding.tower):
                    pictures = model.encode_distinct(side)  # the stranger is the last reader
                masks = model.read(pictures, texts[control], sizes)
            for result, text, mask in zip(results, texts[control], masks, strict=True):
                if control != "ceiling" or text is not None:
                    result["readings"][control] = intersection_union(mask, result["gt_mask"])
