"""Reports at the end of a run how many samples it could not use."""

from __future__ import annotations

from typing import Any

from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class BadSamplesHook(Hook):
    """Logs the counts of :class:`sa2va_native.datasets.mixture.MixtureDataset`, one number per rank.

    Ranks count for themselves, so a sample that two of them met is counted by both.
    """

    def after_train(self, runner: Any) -> None:
        """On all ranks."""
        dataset = runner.train_dataloader.dataset
        if not hasattr(dataset, "counts"):
            return
        unusable = all_gather_object(dataset.counts())
        strays = all_gather_object(getattr(dataset, "counts_of_strays", dict)())
        for what, ranks, always in (
            ("Samples that could not be used", unusable, True),
            ("Samples that were used in part", strays, False),
        ):
            told = ", ".join(f"{name} {[counts[name] for counts in ranks]}" for name in ranks[0])
            any_met = any(count for counts in ranks for count in counts.values())
            where = f" Each is named in {dataset.report_file}." if any_met and dataset.report_file else ""
            if any_met or always:
                runner.logger.info(f"{what}, by rank: {told}.{where}")
