"""How a mixture is loaded; a child says of what, at which sizes, and by how many workers."""

from mmengine.dataset import DefaultSampler

from sa2va_native.datasets.collate import collate_batch
from sa2va_native.datasets.mixture import MixtureDataset
from sa2va_native.datasets.samplers import EvaluationBatchSampler, MixtureBatchSampler

train_dataloader = dict(
    dataset=dict(
        type=MixtureDataset,
        # Masks of one's own come with a few broken files. Evaluation puts up with none.
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
