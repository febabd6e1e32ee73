"""Captions as the json that a judge of detailed captions reads, and what a judge says of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmengine.registry import FUNCTIONS, METRICS

from sa2va_native.evaluation.pooled_metric import PooledMetric
from sa2va_native.evaluation.segmentation import mean
from sa2va_native.files.atomic import atomic_write
from sa2va_native.parallel.agreement import from_main_rank

#: Captions by the id of their annotation -> figures by name.
Judge = Callable[[dict[str, str]], dict[str, float]]


@METRICS.register_module()
class CaptionFile(PooledMetric):
    """Writes the captions of ``cycle`` sources as DLC-Bench's code reads them, and has them judged on request.

    The json is ``{annotation id: caption}``; a missing caption is an empty one. Reports ``caption_missing``, the share
    of those, and each figure of the judge as ``judge_NAME``.

    Args:
        path: of the json; a benchmark's relative one is put into the work dir.
        judge: a function of ``{annotation id: caption}`` that returns figures by name, or the config of one registered
            in MMEngine's ``FUNCTIONS``. None, the default, calls nobody: DLC-Bench's judges are language models that
            are run or paid for elsewhere.
        source: see :class:`PooledMetric`.
    """

    kind = "cycle"

    def __init__(
        self, path: str | Path, judge: Judge | dict[str, Any] | None = None, source: str | None = None
    ) -> None:
        super().__init__(source)
        self.path = Path(path)
        self.judge: Judge | None = FUNCTIONS.build(judge) if isinstance(judge, dict) else judge

    def score(self, sample: dict[str, Any]) -> tuple[str, str]:
        return sample["sample_id"].rpartition("annotation ")[2], sample["caption"] or ""

    def compute_metrics(self, results: list[tuple[str, str]]) -> dict[str, float]:
        captions = dict(sorted(results))
        missing = mean([float(not caption.strip()) for caption in captions.values()])
        return {"caption_missing": missing, **from_main_rank(lambda: self._finish(captions))}

    def _finish(self, captions: dict[str, str]) -> dict[str, float]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(self.path) as unfinished:
            unfinished.write_text(json.dumps(captions, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return {f"judge_{name}": value for name, value in (self.judge(captions) if self.judge else {}).items()}
