"""Generated scenes, written to data/scenes at first use: expressions for a few, masks alone for many."""

from mmengine.dataset import DefaultSampler

from projects.sa2va.datasets.adapters.scenes import SceneExpressions, SceneMasks
from projects.sa2va.datasets.collate import collate_batch
from projects.sa2va.datasets.mixture import MixtureDataset
from projects.sa2va.datasets.samplers import EvaluationBatchSampler, MixtureBatchSampler
from projects.sa2va.datasets.transforms import SampleTransform
from projects.sa2va.evaluation.caption_metric import CaptionMetric
from projects.sa2va.evaluation.cycle_metric import CycleMetric
from projects.sa2va.evaluation.referring_metric import ReferringMetric

_data_root = "data/scenes"

_transform = dict(type=SampleTransform, image_size=128, grounding_size=128, grid_size=8, mask_size=32)

_refer_sources = [dict(kind="refer", dataset=dict(type=SceneExpressions, root=_data_root, split="labelled"))]
_cycle_sources = [dict(kind="cycle", dataset=dict(type=SceneMasks, root=_data_root, split="mask_only"))]

train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    dataset=dict(
        type=MixtureDataset,
        sources=_refer_sources,
        transform=_transform,
        # Masks of one's own come with a few broken files. Evaluation puts up with none.
        max_bad_samples=100,
        report_file="bad_samples.jsonl",  # in the work dir
    ),
    sampler=dict(type=DefaultSampler, shuffle=False),
    batch_sampler=dict(type=MixtureBatchSampler, pattern=("refer",)),
    collate_fn=dict(type=collate_batch),
)

test_dataloader = dict(
    batch_size=50,
    num_workers=0,
    dataset=dict(
        type=MixtureDataset,
        sources=[
            dict(kind=kind, name=name, max_samples=300, dataset=dict(type=adapter, root=_data_root, split=name))
            for name in ("test", "test_heldout")
            for kind, adapter in (("refer", SceneExpressions), ("cycle", SceneMasks))
        ],
        transform=_transform,
        keep_gt_masks=True,
    ),
    sampler=dict(type=DefaultSampler, shuffle=False),
    batch_sampler=dict(type=EvaluationBatchSampler),
    collate_fn=dict(type=collate_batch),
)
test_evaluator = [
    dict(type=metric, source=name)
    for name in ("test", "test_heldout")
    for metric in (ReferringMetric, CycleMetric, CaptionMetric)
]
