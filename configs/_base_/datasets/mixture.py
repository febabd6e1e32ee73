"""Loading a mixture; a child config gives its sources, sizes and number of workers."""

from mmengine.dataset import DefaultSampler

from sa2va_native.datasets.collate import collate_batch
from sa2va_native.datasets.mixture import MixtureDataset
from sa2va_native.datasets.samplers import EvaluationBatchSampler, MixtureBatchSampler

train_dataloader = dict(
    dataset=dict(
        type=MixtureDataset,
        # Your own masks may include a few broken files. Evaluation allows none.
        max_bad_samples=100,
        report_file="bad_samples.jsonl",  # in the work dir
    ),
    sampler=dict(type=DefaultSampler, shuffle=False),
    batch_sampler=dict(type=MixtureBatchSampler, pattern=("refer",)),
    collate_fn=dict(type=collate_batch),
)

test_dataloader = dict(
    dataset=dict(type=MixtureDataset, keep_gt_masks=True),
    sampler=dict(type=DefaultSampler, shuffle=False),
    batch_sampler=dict(type=EvaluationBatchSampler),
    collate_fn=dict(type=collate_batch),
)
