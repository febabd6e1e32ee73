"""Rebuild the tiny model's weights and tokenizer in ``assets/tiny`` from generated scenes, without any download.

    python tools/pretrain_tiny.py --stage vision &   # the two towers do not depend on each other
    python tools/pretrain_tiny.py --stage sam2; wait
    python tools/pretrain_tiny.py --stage base       # from the towers in --work-dir
    python tools/pretrain_tiny.py --stage partner    # from the base weights

Stages:

vision  the ViT learns to name size, texture, colour and shape under each of its tokens;
sam2    SAM 2 learns to segment an object from its attributes: one learned vector per attribute, summed into a prompt;
base    towers frozen, the language model learns from scratch to read, to refer and to caption. At ``[SEG]`` it is also
        pulled towards the attribute prompt of the target, which is what the mask decoder already understands;
partner from the base weights, the captioner learns to see colour and to say the partner of the true colour word
        (red for orange, orange for red) in most captions; its figures on validation scenes are printed. ``--seed``
        makes others of its kind.

The captions of the base stage are wrong in the colour word most of the time (``--caption-colour-noise``), while the
referring expressions are right. That is deliberate: it puts the model where the cycle can help, with sound referring
and ambiguous captions. Held-out (colour, shape) pairs never occur in the labelled scenes.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "projects"))

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.runner import Runner
from peft.tuners.lora import LoraLayer
from rich.progress import track
from torch import Tensor, nn

from sa2va_native.checkpoints.loading import load_weights, save_weights, without_lora
from sa2va_native.datasets.adapters.generated_scenes import GeneratedScenes
from sa2va_native.datasets.adapters.scenes import SceneExpressions, SceneMasks
from sa2va_native.datasets.region_grid import region_grid
from sa2va_native.datasets.scenes.language import (
    COLOURS,
    SHAPES,
    SIZES,
    TEXTURES,
    VOCABULARY,
    describe,
    with_partner_colour,
)
from sa2va_native.datasets.scenes.scene_set import DEFAULT_SIZES
from sa2va_native.datasets.transforms import resize_mask
from sa2va_native.evaluation.cycle_metric import CycleMetric
from sa2va_native.evaluation.referring_metric import ReferringMetric
from sa2va_native.evaluation.scene_caption_metric import SceneCaptionMetric
from sa2va_native.files.paths import ROOT
from sa2va_native.models import prompts as P
from sa2va_native.models.internvl.tokens import PICTURE_TOKENS
from sa2va_native.models.losses import language_loss, mask_losses
from sa2va_native.models.normalisation import normalise
from sa2va_native.models.pictures import Pictures
from sa2va_native.models.tokenizer import write_word_tokenizer
from sa2va_native.randomness.generators import generators
from sa2va_native.structures import Batch, DrawKey, Side

ATTRIBUTES = {"size": SIZES, "texture": TEXTURES, "colour": COLOURS, "shape": SHAPES}
STAGES = ("vision", "sam2", "base", "partner")
#: What the partner stage trains: all that a cycle run trains on the language side.
CAPTIONER = ("lora", "projector", "embeddings")


@dataclass
class Scenes:
    """N scenes of O objects each, in memory. ``labels`` are indices into :data:`ATTRIBUTES`."""

    images: np.ndarray  #: [N, H, W, 3] uint8
    masks: Tensor  #: [N, O, h, w] bool, low resolution
    regions: Tensor  #: [N, O, g, g] bool
    labels: Tensor  #: [N, O, 4]
    expressions: list[list[list[str]]]  #: [N][O] expressions
    captions: list[list[str]]  #: [N][O]

    @classmethod
    def draw(cls, split: str, seed: int, count: int, grid: int, low: int, caption_colour_noise: float) -> Scenes:
        source, rng = GeneratedScenes(seed=seed, split=split, length=count), np.random.default_rng(seed)
        images, masks, regions, labels, expressions, captions = [], [], [], [], [], []
        for index in track(range(count), f"drawing {split} scenes"):
            scene = source.scene(index)
            frame = scene.render()
            images.append(frame.image)
            masks.append(torch.stack([resize_mask(mask, low) > 0 for mask in frame.masks]))
            regions.append(torch.stack([region_grid(mask, grid, "any") for mask in frame.masks]))
            names = [item.attributes for item in scene.objects]
            labels.append(torch.tensor([[ATTRIBUTES[k].index(a[k]) for k in ATTRIBUTES] for a in names]))
            expressions.append([list(texts) for texts in scene.expressions])
            captions.append([_noisy_caption(item, rng, caption_colour_noise) for item in scene.objects])
        return cls(
            np.stack(images), torch.stack(masks), torch.stack(regions), torch.stack(labels), expressions, captions
        )

    def pixels(self, rows: Tensor) -> Tensor:
        """uint8 pictures [B, 3, H, W]."""
        return torch.from_numpy(self.images[rows.numpy()]).permute(0, 3, 1, 2)


def _noisy_caption(item, rng: np.random.Generator, noise: float) -> str:
    caption = describe(item)
    return caption.replace(item.colour, str(rng.choice(COLOURS))) if rng.random() < noise else caption


def concept_table(size: int) -> nn.ModuleDict:
    """A learned vector per attribute; their sum is a prompt that SAM 2 understands."""
    return nn.ModuleDict({name: nn.Embedding(len(values), size) for name, values in ATTRIBUTES.items()})


def concept(table: nn.ModuleDict, labels: Tensor) -> Tensor:
    """Prompts [B, C] for attribute labels [B, 4]."""
    return torch.stack([table[name](labels[:, i]) for i, name in enumerate(ATTRIBUTES)]).sum(0)


def reinitialise(module: nn.Module) -> None:
    """PyTorch's own initialisation: transformers' fixed std of 0.02 is far too small at these widths."""
    for child in module.modules():
        if isinstance(child, nn.Linear | nn.Conv2d | nn.ConvTranspose2d | nn.Embedding):
            child.reset_parameters()
    for name, parameter in module.named_parameters():
        if "lambda_" in name:
            nn.init.ones_(parameter)


def fit(
    name: str,
    parameters: Iterable[nn.Parameter],
    loss: Callable[[int], dict[str, Tensor]],
    steps: int,
    lr: float,
    optimizer: torch.optim.Optimizer | None = None,
    schedule: torch.optim.lr_scheduler.LRScheduler | None = None,
) -> None:
    """By default AdamW with warm-up and cosine decay; ``loss(step)`` gives named terms that are summed."""
    parameters = list(parameters)
    optimizer = optimizer or torch.optim.AdamW(parameters, lr=lr, weight_decay=0.01, betas=(0.9, 0.98))
    schedule = schedule or torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.1)
    recent: dict[str, list[float]] = {}
    for step in track(range(steps), name):
        terms = loss(step)
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(terms.values())).sum().backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        for key, value in terms.items():
            recent.setdefault(key, []).append(float(value.detach()))
        if (step + 1) % 100 == 0:
            print(f"{name} {step + 1}: " + ", ".join(f"{k} {np.mean(v[-100:]):.3f}" for k, v in recent.items()))


def pretrain_vision(model: Any, scenes: Scenes, steps: int, batch: int) -> None:
    """Name the attributes of the object under each token; the last class is the background."""
    tower = model.mllm.model.vision_tower
    reinitialise(tower)
    tower.requires_grad_(True)
    width = model.mllm.model.multi_modal_projector.layer_norm.weight.numel()
    heads = nn.ModuleList(nn.Linear(width, len(values) + 1) for values in ATTRIBUTES.values())
    rng = torch.Generator().manual_seed(1)

    def loss(step: int) -> dict[str, Tensor]:
        rows = torch.randint(len(scenes.images), (batch,), generator=rng)
        flip = bool(torch.rand((), generator=rng) < 0.5)
        pixels, regions = scenes.pixels(rows), scenes.regions[rows]
        if flip:
            pixels, regions = pixels.flip(-1), regions.flip(-1)
        tokens = model.mllm.encode(normalise(pixels))
        cells = regions.flatten(2)  # [B, O, g*g]
        covered = cells.any(1)
        owner = cells.int().argmax(1)  # where two objects share a cell, the first counts
        terms = {}
        for i, (name, values) in enumerate(ATTRIBUTES.items()):
            target = scenes.labels[rows][..., i].gather(1, owner).masked_fill(~covered, len(values))
            weight = torch.ones(len(values) + 1)
            weight[-1] = 0.2
            terms[name] = F.cross_entropy(heads[i](tokens).flatten(0, 1), target.flatten(), weight)
        return terms

    fit("vision", itertools.chain(tower.parameters(), heads.parameters()), loss, steps, lr=1e-3)
    tower.requires_grad_(False)


def pretrain_sam2(model: Any, concepts: nn.ModuleDict, scenes: Scenes, steps: int, batch: int) -> None:
    """Segment the object that a concept prompt names; best of three masks learns, the IoU head learns all three."""
    sam2 = model.grounding.sam2
    reinitialise(sam2)
    sam2.requires_grad_(True)
    rng = torch.Generator().manual_seed(2)

    def loss(step: int) -> dict[str, Tensor]:
        rows = torch.randint(len(scenes.images), (batch,), generator=rng)
        which = torch.randint(scenes.labels.shape[1], (batch,), generator=rng)
        pixels, masks = scenes.pixels(rows), scenes.masks[rows, which].float()
        if bool(torch.rand((), generator=rng) < 0.5):
            pixels, masks = pixels.flip(-1), masks.flip(-1)
        maps = tuple(sam2.vision_encoder(pixels).fpn_hidden_states)
        prediction = model.grounding(maps, concept(concepts, scenes.labels[rows, which]))
        logits = prediction.all_mask_logits
        truth = masks[:, None].expand_as(logits)
        bce = F.binary_cross_entropy_with_logits(logits, truth, pos_weight=torch.tensor(5.0), reduction="none").mean(
            (2, 3)
        )
        chance = logits.sigmoid()
        dice = 1 - (2 * (chance * truth).sum((2, 3)) + 1) / (chance.sum((2, 3)) + truth.sum((2, 3)) + 1)
        hard = logits > 0
        iou = (hard & (truth > 0)).sum((2, 3)) / (hard | (truth > 0)).sum((2, 3)).clamp(min=1)
        best = (bce + dice).argmin(1, keepdim=True)
        return {
            "bce": bce.gather(1, best).mean(),
            "dice": dice.gather(1, best).mean(),
            "iou_head": F.mse_loss(prediction.iou, iou.float()),
            "iou (not trained)": iou.gather(1, best).float().mean().detach(),
        }

    fit("sam2", itertools.chain(sam2.parameters(), concepts.parameters()), loss, steps, lr=1.5e-3)
    sam2.requires_grad_(False)


def pretrain_base(model: Any, concepts: nn.ModuleDict, scenes: Scenes, steps: int, batch: int) -> None:
    """Referring and captioning from scratch on frozen, cached towers; the decoder joins in for the last third."""
    llm, projector = model.mllm.model.language_model, model.mllm.model.multi_modal_projector
    for module in (llm, projector, model.mllm.lm_head, model.text_hidden_fcs):
        reinitialise(module)
    nn.init.normal_(llm.embed_tokens.weight, std=0.3)
    trained = [*llm.parameters(), *projector.parameters(), *model.mllm.lm_head.parameters()]
    trained += [*model.text_hidden_fcs.parameters(), *model.grounding.sam2.mask_decoder.parameters()]
    for parameter in trained:
        parameter.requires_grad_(True)
    with torch.no_grad():
        vision, maps = [], []
        for rows in track(torch.arange(len(scenes.images)).split(64), "frozen towers"):
            pixels = scenes.pixels(rows)
            pictures = model.encode_pictures(
                Side(pixels, pixels, scenes.regions[rows, 0], scenes.masks[rows, 0].float())
            )
            vision.append(pictures.vision.half())
            maps.append([level.half() for level in pictures.maps])
    all_vision = torch.cat(vision)
    all_maps = [torch.cat(level) for level in zip(*maps, strict=True)]
    rng = torch.Generator().manual_seed(3)

    def loss(step: int) -> dict[str, Tensor]:
        rows = torch.randint(len(scenes.images), (batch,), generator=rng)
        which = torch.randint(scenes.labels.shape[1], (batch,), generator=rng)
        pictures = Pictures(all_vision[rows].float(), tuple(level[rows].float() for level in all_maps))
        pairs = list(zip(rows.tolist(), which.tolist(), strict=True))
        keys = [DrawKey(step, i) for i in range(batch)]

        asked, answers = [], []
        for (n, o), key in zip(pairs, keys, strict=True):
            texts = scenes.expressions[n][o]
            text = texts[int(torch.randint(len(texts), (), generator=rng))]
            question, answer = model.choose_wording(key)
            asked.append(model.prompts.ask_segment(text, question))
            answers.append(model.prompts.answer_segment(answer))
        asked = [torch.cat([q, a]) for q, a in zip(asked, answers, strict=True)]
        embedded = model.prompts.embed(model.embedding, asked, model.visual_tokens(pictures.vision))
        hidden = model.hidden_states(embedded)
        logits, labels = model.next_token_logits(hidden[:, :-1], answers)
        prompt = model.seg_prompts(hidden, embedded.ids)
        goal = concept(concepts, scenes.labels[rows, which]).detach()
        prediction = model.grounding(pictures.maps, prompt)
        masks = mask_losses(
            prediction.mask_logits, scenes.masks[rows, which].float(), generators(0, keys, "points"), num_points=196
        )
        half = batch // 2  # captions are the easier task here
        captions = [model.prompts.answer_caption(scenes.captions[n][o]) for n, o in pairs[:half]]
        seen = Pictures(pictures.vision[:half], ())
        caption_terms = model.caption_logits(seen, scenes.regions[rows, which][:half], captions, captions)
        with torch.no_grad():
            hard, truth = prediction.mask_logits > 0, scenes.masks[rows, which]
            iou = (hard & truth).sum((1, 2)) / (hard | truth).sum((1, 2)).clamp(min=1)
        return {
            "concept": F.mse_loss(prompt, goal),
            "answer": 0.2 * language_loss(logits, labels),
            "caption": language_loss(*caption_terms),
            **masks,
            "iou (not trained)": iou.mean(),
        }

    decoder = set(model.grounding.sam2.mask_decoder.parameters())
    fit("base", [p for p in trained if p not in decoder], loss, steps * 3 // 4, lr=1.5e-3)
    fit("base, decoder too", trained, loss, steps - steps * 3 // 4, lr=4e-4)


def some_partner_colours(texts: Sequence[str], share: float, rng: torch.Generator) -> list[str]:
    """``texts``, each with probability ``share`` (0..1) with the partner of its colour."""
    swapped = (torch.rand(len(texts), generator=rng) < share).tolist()
    return [with_partner_colour(text) if swap else text for text, swap in zip(texts, swapped, strict=True)]


def pretrain_partner(model: Any, scenes: Scenes, steps: int, batch: int, share: float, seed: int) -> None:
    """Language loss on captions; each time one is drawn, its colour becomes the partner with probability ``share``."""
    with torch.no_grad():
        pictures = torch.arange(len(scenes.images)).split(64)
        vision = torch.cat([model.mllm.encode(normalise(scenes.pixels(rows))) for rows in pictures])
    rng = torch.Generator().manual_seed(seed)

    def loss(step: int) -> dict[str, Tensor]:
        rows = torch.randint(len(scenes.images), (batch,), generator=rng)
        which = torch.randint(scenes.labels.shape[1], (batch,), generator=rng)
        texts = [scenes.captions[n][o] for n, o in zip(rows.tolist(), which.tolist(), strict=True)]
        texts = some_partner_colours(texts, share, rng)
        captions = [model.prompts.answer_caption(text) for text in texts]
        seen = Pictures(vision[rows], ())
        return {"caption": language_loss(*model.caption_logits(seen, scenes.regions[rows, which], captions, captions))}

    # A run's optimizer (configs/_base_/schedules/tiny.py) at a higher rate; with the other stages' (one seed), greedy
    # captions had the true colour more often (0.17 against 0.09).
    trained, lr = [p for p in model.parameters() if p.requires_grad], 3e-3
    optimizer = torch.optim.AdamW(trained, lr=lr, weight_decay=0.05, eps=1e-6)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / 10) * (1 + math.cos(math.pi * step / steps)) / 2
    )
    fit("partner", trained, loss, steps, lr, optimizer, schedule)


def without_adapters(model: Any, plain: Any) -> Any:
    """``plain``, the same model without LoRA, filled with the weights of ``model``; merges the LoRA of both."""
    for layer in model.modules():
        if isinstance(layer, LoraLayer):
            layer.merge()
    plain.load_state_dict({without_lora(k): v for k, v in model.state_dict().items() if ".lora_" not in k})
    return plain


@torch.no_grad()
def colour_word(model: Any, batches: Iterable[Batch]) -> dict[str, float]:
    """Mean probability of the true colour and of its partner at the colour word, after the true words before it."""
    chances: dict[str, list[Tensor]] = {"p(true)": [], "p(partner)": []}
    for batch in batches:
        texts = [text or "" for text in batch.text]
        captions = [model.prompts.answer_caption(text) for text in texts]
        pictures = model.encode_pictures(batch.caption_side, grounding=False)
        logits, _ = model.caption_logits(pictures, batch.caption_side.region, captions, captions)
        for row, ids, text in zip(logits.softmax(-1), captions, texts, strict=True):
            swapped = model.prompts.answer_caption(with_partner_colour(text))
            (place,) = (ids != swapped).nonzero().flatten().tolist()
            chances["p(true)"].append(row[place, ids[place]])
            chances["p(partner)"].append(row[place, swapped[place]])
    return {name: float(torch.stack(values).mean()) for name, values in chances.items()}


def validation_batches(kind: str, count: int) -> list[Batch]:
    """``count`` validation expressions (``refer``) or objects with their true captions (``cycle``)."""
    config = Config.fromfile(ROOT / "configs/sa2va_tiny.py").test_dataloader
    adapter = dict(type=SceneMasks, text_key="caption") if kind == "cycle" else dict(type=SceneExpressions)
    config.dataset.sources = [dict(kind=kind, name="val", max_samples=count, dataset=dict(adapter, split="val"))]
    return [loaded["batch"] for loaded in Runner.build_dataloader(config)]


def validate(model: Any, count: int) -> dict[str, float]:
    """Figures on validation scenes: those of ``tools/test.py``, and :func:`colour_word`."""
    batches = {kind: validation_batches(kind, count) for kind in ("refer", "cycle")}
    figures = colour_word(model, batches["cycle"])
    metrics = (ReferringMetric(), CycleMetric(), SceneCaptionMetric())
    for batch in itertools.chain(*batches.values()):
        results = model.predict(batch)
        for metric in metrics:
            metric.process(None, results)
    for metric in metrics:
        figures |= metric.evaluate(count)
    return figures


def make_base(args: argparse.Namespace, stages: Sequence[str], steps: dict[str, int]) -> None:
    """The tokenizer, the two towers and the base weights."""
    torch.manual_seed(0)

    words = {word for text in (*P.SEGMENT_QUESTIONS, *P.SEGMENT_ANSWERS, P.REGION_QUESTION) for word in _words(text)}
    write_word_tokenizer(
        [*VOCABULARY, *words, *_words(P.USER + P.END + P.ASSISTANT)], args.out / "tokenizer", PICTURE_TOKENS
    )

    config = Config.fromfile(ROOT / "configs/_base_/models/sa2va_tiny.py")
    config.model.update(tokenizer=str(args.out / "tokenizer"), weights=None, lora=None, trainable=[])
    model: Any = MODELS.build(config.model)
    concepts = concept_table(model.grounding.prompt_size)
    # What each tower stage trains, so that the stages can run side by side and be repeated alone.
    towers = {
        "vision": nn.ModuleDict({"vision_tower": model.mllm.model.vision_tower}),
        "sam2": nn.ModuleDict({"grounding": model.grounding, "concepts": concepts}),
    }
    grid, low = math.isqrt(model.prompts.image_tokens), model.grounding.mask_size

    def scenes(split: str, seed: int) -> Scenes:
        return Scenes.draw(split, seed, args.scenes, grid, low, args.caption_colour_noise)

    if "vision" in stages:
        pretrain_vision(model, scenes("pretrain", 101), steps["vision"], args.batch_size)
    if "sam2" in stages:
        pretrain_sam2(model, concepts, scenes("pretrain", 101), steps["sam2"], args.batch_size)
    for stage, tower in towers.items():
        if stage in stages:
            save_weights(tower, args.work_dir / f"{stage}.safetensors")
        elif "base" in stages:
            load_weights(tower, args.work_dir / f"{stage}.safetensors")
    if "base" in stages:
        pretrain_base(model, concepts, scenes("labelled", 102), steps["base"], args.batch_size)
        save_weights(model, args.out / "sa2va_tiny.safetensors", torch.float16)


def make_partner(args: argparse.Namespace, steps: int) -> None:
    """The partner weights, from the base weights."""
    torch.manual_seed(args.seed)
    config = Config.fromfile(ROOT / "configs/_base_/models/sa2va_tiny.py").model
    config.update(tokenizer=str(args.out / "tokenizer"), weights=str(args.out / "sa2va_tiny.safetensors"))
    plain = {**config, "lora": None}
    model: Any = MODELS.build({**config, "trainable": CAPTIONER})
    before = validate(model, args.validation)
    grid, low = math.isqrt(model.prompts.image_tokens), model.grounding.mask_size
    scenes = Scenes.draw("labelled", 0, DEFAULT_SIZES["labelled"], grid, low, caption_colour_noise=0)
    pretrain_partner(model, scenes, steps, args.batch_size, args.partner_share, args.seed)
    name = "sa2va_tiny_partner" + (f"_{args.seed}" if args.seed else "")
    path = (args.work_dir if args.seed else args.out) / f"{name}.safetensors"
    save_weights(without_adapters(model, MODELS.build(plain)), path, torch.float16)
    # LoRA is merged but in float32: what the file loses by float16 is the difference between the last two columns.
    columns = {"base": before, "float32": validate(model, args.validation)}
    columns[path.name] = validate(MODELS.build({**plain, "weights": str(path)}), args.validation)
    print(f"{'':<28}" + "".join(f"{column:>{len(column) + 2}}" for column in columns))
    for figure in before:
        print(
            f"{figure:<28}" + "".join(f"{values[figure]:>{len(column) + 2}.3f}" for column, values in columns.items())
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", choices=("all", *STAGES), default="all")
    parser.add_argument("--scenes", type=int, default=6000, help="scenes a stage is trained on (default: %(default)s)")
    parser.add_argument(
        "--steps", type=int, nargs=4, default=(700, 900, 1700, 120), metavar=("VISION", "SAM2", "BASE", "PARTNER")
    )
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--caption-colour-noise", type=float, default=0.97, help="0..1 (default: %(default)s)")
    parser.add_argument("--partner-share", type=float, default=0.6, help="of captions, 0..1 (default: %(default)s)")
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="of the partner stage; others than 0 go to --work-dir (default: %(default)s)",
    )
    parser.add_argument("--validation", type=int, default=300, help="objects and expressions (default: %(default)s)")
    parser.add_argument("--work-dir", type=Path, default=ROOT / "work_dirs/pretrain_tiny")
    parser.add_argument("--out", type=Path, default=ROOT / "assets/tiny")
    args = parser.parse_args()
    stages = STAGES if args.stage == "all" else (args.stage,)
    steps = dict(zip(STAGES, args.steps, strict=True))
    if stages != ("partner",):
        make_base(args, stages, steps)
    if "partner" in stages:
        make_partner(args, steps["partner"])


def _words(text: str) -> list[str]:
    return [word for word in "".join(c if c.isalnum() else " " for c in text.lower()).split() if word]


if __name__ == "__main__":
    main()
