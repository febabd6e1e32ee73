"""Human expressions of RefCOCO, masks without text of COCO 2014, under ``data/``; sizes of the 4B model.

The masks are of val2014: RefCOCO's pictures, those it is tested on among them, are all of train2014.
"""

from mmengine.dataset import DefaultSampler

from projects.sa2va.datasets.coco import CocoInstances
from projects.sa2va.datasets.collate import collate_batch
from projects.sa2va.datasets.mixture import MixtureDataset
from projects.sa2va.datasets.refer import ReferExpressions
from projects.sa2va.datasets.samplers import EvaluationBatchSampler, MixtureBatchSampler
from projects.sa2va.datasets.transforms import SampleTransform
from projects.sa2va.evaluation.cycle_metric import CycleMetric
from projects.sa2va.evaluation.referring_metric import ReferringMetric

_coco = "data/coco2014"

_transform = dict(type=SampleTransform, image_size=448, grounding_size=1024, grid_size=16, mask_size=256)

_refcoco = dict(type=ReferExpressions, root="data/refcoco", split_by="unc", image_root=f"{_coco}/train2014")
_coco_masks = dict(
    type=CocoInstances, ann_file=f"{_coco}/annotations/instances_val2014.json", image_root=f"{_coco}/val2014"
)

_refer_sources = [dict(kind="refer", dataset=dict(**_refcoco, split="train"))]
_cycle_sources = [dict(kind="cycle", dataset=_coco_masks)]

train_dataloader = dict(
    batch_size=1,
    num_workers=4,
    dataset=dict(
        type=MixtureDataset,
        sources=_refer_sources,
        transform=_transform,
        max_bad_samples=100,
        report_file="bad_samples.jsonl",  # in the work dir
    ),
    sampler=dict(type=DefaultSampler, shuffle=False),
    batch_sampler=dict(type=MixtureBatchSampler, pattern=("refer",)),
    collate_fn=dict(type=collate_batch),
)

test_dataloader = dict(
    batch_size=4,
    num_workers=4,
    dataset=dict(
        type=MixtureDataset,
        sources=[
            *(
                dict(kind="refer", name=split, dataset=dict(**_refcoco, split=split))
                for split in ("val", "testA", "testB")
            ),
            dict(kind="cycle", name="val", max_samples=500, dataset=dict(**_refcoco, split="val")),
        ],
        transform=_transform,
        keep_gt_masks=True,
    ),
    sampler=dict(type=DefaultSampler, shuffle=False),
    batch_sampler=dict(type=EvaluationBatchSampler),
    collate_fn=dict(type=collate_batch),
)
test_evaluator = [
    *(dict(type=ReferringMetric, source=split) for split in ("val", "testA", "testB")),
    dict(type=CycleMetric, source="val"),
]
