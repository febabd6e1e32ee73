"""Pictures of the results: each arm's mean and interval."""

from __future__ import annotations

from pathlib import Path

from pseudo_gumbel.experiment.results import FIGURES, Results
from pseudo_gumbel.experiment.verdicts import COMPARED, TEST_SPLITS

_COLOURS = {"test": "#1f4e79", "test_heldout": "#e07b39"}


def draw(results: Results, folder: Path, group: str = "core") -> list[Path]:
    """``results_<base>_<group>.png`` for each base: a panel a figure, a row an arm, a colour a split."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    files = []
    for base in results.bases():
        arms = {arm.name for split in TEST_SPLITS for arm in results.arms(base, group, split)}
        names = [run for run in dict.fromkeys(run["arm"] for run in results.runs) if run in arms][::-1]
        if not names:
            continue
        picture, panels = pyplot.subplots(1, len(COMPARED), figsize=(11, 1.2 + 0.32 * len(names)), sharey=True)
        for panel, figure in zip(panels, COMPARED, strict=True):
            for shift, (split, title) in zip((0.12, -0.12), TEST_SPLITS.items(), strict=True):
                for row, name in enumerate(names):
                    value = results.interval(base, name, split, figure)
                    if value is None:
                        continue
                    panel.errorbar(
                        value.mean, row + shift, xerr=value.half or 0.0, fmt="o", ms=4, capsize=2,
                        color=_COLOURS[split], label=title if row == 0 else None,
                    )  # fmt: skip
            panel.set_title(FIGURES[figure], fontsize=10)
            panel.grid(axis="x", alpha=0.3)
            panel.set_xlim(left=0)
        panels[0].set_yticks(range(len(names)), names, fontsize=8)
        panels[-1].legend(fontsize=8, loc="best")
        picture.suptitle(f"{base} base: mean and 95 % interval over seeds", fontsize=11)
        picture.tight_layout()
        files.append(folder / f"results_{base}_{group}.png")
        picture.savefig(files[-1], dpi=110, metadata={"Software": None})
        pyplot.close(picture)
    return files
