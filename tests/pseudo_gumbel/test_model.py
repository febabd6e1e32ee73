"""The cycle: every link of the gradient chain, frozen work done once, draws that know no ranks."""

from __future__ import annotations

from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F

from pseudo_gumbel.costs import UncertainPointCost
from pseudo_gumbel.estimators import SoftGumbel, StraightThroughGumbel
from pseudo_gumbel.gumbel import gumbel_words
from pseudo_gumbel.readers import StudentReader, reader
from pseudo_gumbel.step import Captions
from pseudo_gumbel.teacher import EMATeacher
from sa2va_native.errors import ConfigError
from sa2va_native.models.losses import mask_losses
from tests.tiny import part_of, tiny_batch, tiny_pseudo_gumbel


@pytest.fixture(scope="module")
def model():
    return tiny_pseudo_gumbel()


@pytest.fixture(autouse=True)
def _fresh(model):
    model.zero_grad(set_to_none=True)
    model.teacher = model.last_step = None
    model.estimator = StraightThroughGumbel(top_k=64)


def recorded(model, batch):
    """The losses of a step and the step itself."""
    model.record_next_step = True
    losses = model(batch, mode="loss")
    return losses, model.last_step


def total(losses):
    return losses["loss_mask"] + losses["loss_dice"]


def parts_with_gradient(model) -> set[str]:
    groups = model.gradient_groups()
    return {name for name, ps in groups.items() if any(p.grad is not None and p.grad.abs().sum() > 0 for p in ps)}


@pytest.mark.parametrize("two_frames", [False, True])
def test_gradient_reaches_every_trained_part(model, two_frames):
    total(model(tiny_batch("cycle", 2, two_frames), mode="loss")).backward()
    assert parts_with_gradient(model) == {"lora", "projector", "embeddings", "mask_decoder", "seg_head"}
    assert model.text_embeds_grad_norm > 0


def test_unused_tensors_are_the_twelve_of_the_iou_and_object_heads(model):
    total(model(tiny_batch(), mode="loss")).backward()
    unused = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert len(unused) == 12
    assert all("iou_prediction_head" in name or "pred_obj_score_head" in name for name in unused)


def test_frozen_towers_stay_without_autograd(model):
    recorded = []
    towers = model.student.mllm.model.vision_tower, model.student.grounding.sam2.vision_encoder
    hooks = [tower.register_forward_hook(lambda *_: recorded.append(torch.is_grad_enabled())) for tower in towers]
    model.student.encode_pictures(tiny_batch().caption_side)
    for hook in hooks:
        hook.remove()
    assert recorded == [False, False]


def test_the_teacher_captions_without_autograd(model):
    """Red when a graph is kept that no loss ever reads."""
    seen = []
    projector = model.student.mllm.model.multi_modal_projector
    hook = projector.register_forward_hook(lambda module, args, output: seen.append(output.requires_grad))
    side = tiny_batch().caption_side
    model.teacher_captions(model.student.encode_pictures(side), side.region)
    hook.remove()
    assert seen == [False]


@pytest.mark.parametrize("two_frames", [False, True])
def test_frozen_towers_run_once_per_picture(model, two_frames):
    """Red when teacher, student and mask side each encode the picture again (it was three times)."""
    tower, encoder = model.student.mllm.model.vision_tower, model.student.grounding.sam2.vision_encoder
    with (
        patch.object(tower, "forward", wraps=tower.forward) as vision,
        patch.object(encoder, "forward", wraps=encoder.forward) as maps,
    ):
        model(tiny_batch("cycle", 2, two_frames), mode="loss")
    assert vision.call_count == (2 if two_frames else 1)
    assert maps.call_count == 1  # SAM 2 sees picture 2 alone


def test_vocabulary_logits_only_at_caption_positions(model):
    seen = []
    hook = model.student.mllm.lm_head.register_forward_hook(lambda m, args, out: seen.append(out))
    captions = model.teacher_captions(
        model.student.encode_pictures(tiny_batch().caption_side), tiny_batch().caption_side.region
    )
    seen.clear()
    with patch.object(model, "teacher_captions", return_value=captions):
        model(tiny_batch(), mode="loss")
    hook.remove()
    assert [out.shape[1] for out in seen] == [int(captions.lengths.max())]


def captioner_gradient(model, batch) -> float:
    """Norm of the mask loss's gradient at the student's logits."""
    kept = {}
    student_logits = model.student_logits

    def keep(step):
        kept["logits"] = student_logits(step)
        kept["logits"].retain_grad()
        return kept["logits"]

    with patch.object(model, "student_logits", side_effect=keep):
        total(model(batch, mode="loss")).backward()
    return 0.0 if kept["logits"].grad is None else float(kept["logits"].grad.norm())


def test_mask_loss_reaches_the_students_logits(model):
    assert captioner_gradient(model, tiny_batch()) > 0


def test_words_train_the_table_that_they_are_looked_up_in(model):
    """Red when the rows of the candidates are detached."""
    words = gumbel_words(torch.randn(1, 3, model.student.embedding.num_embeddings), [torch.Generator()], top_k=64)
    reader.embed_words(model.student, words).sum().backward()
    assert (model.student.embedding.weight.grad[words.ids[0]] != 0).all()


@pytest.mark.parametrize(
    "link", [(StraightThroughGumbel, "relax"), (reader, "embed_words"), (reader, "masks_from_text")]
)
def test_cutting_any_link_of_the_chain_is_seen(model, link):
    """The test above can fail: each link, when cut, gives no gradient at the logits."""
    whole = getattr(*link)

    def cut(*args):
        args = [a.detach() if torch.is_tensor(a) else a for a in args]
        if link[1] == "embed_words":
            args[1] = args[1]._replace(weights=args[1].weights.detach())
        return whole(*args)

    with patch.object(*link, cut):
        assert captioner_gradient(model, tiny_batch()) == 0.0


def test_gradient_of_the_soft_path_matches_finite_differences():
    """d loss / d logits along a direction against central differences; noise, weights and pixels held fixed.

    In float64; the tolerance is that of Qwen2's norms, which compute in float32 whatever the weights are.
    """
    model = tiny_pseudo_gumbel().double().eval()
    model.estimator = SoftGumbel(temperature=0.7, top_k=8)
    batch = tiny_batch("cycle", 2, seed=1)  # at seed 0 SAM 2 switches to another of its three masks: a jump
    with torch.no_grad():
        step = model.begin(batch)
        step.captions = model.teacher_captions(step.pictures1, step.side1.region)
        step.corrupted = step.captions.ids
        logits = model.student_logits(step)

    def loss(logits):
        step.logits = logits
        step.words = model.estimator.words(step)
        # over all pixels, as the choice of points depends on the logits without being differentiable
        return F.binary_cross_entropy_with_logits(model.read(step).mask_logits, step.side2.mask.double())

    leaf = logits.clone().requires_grad_()
    loss(leaf).backward()
    best = leaf.topk(8, -1).indices
    steps = torch.randn(best.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    direction = torch.zeros_like(leaf).scatter(-1, best, steps)
    expected = float((leaf.grad * direction).sum())
    with torch.no_grad():
        epsilon = 1e-3
        difference = float(loss(leaf + epsilon * direction) - loss(leaf - epsilon * direction)) / (2 * epsilon)
    assert difference == pytest.approx(expected, rel=2e-3)


def test_the_joint_batch_is_the_mean_of_its_halves(model):
    """Losses do not depend on how samples are spread over ranks, differing prompt lengths included."""
    batch = tiny_batch("cycle", 4)
    whole = model(batch, mode="loss")
    halves = [model(part_of(batch, rows), mode="loss") for rows in (slice(0, 2), slice(2, 4))]
    for name in ("loss_mask", "loss_dice"):
        torch.testing.assert_close(whole[name], (halves[0][name] + halves[1][name]) / 2, rtol=1e-4, atol=1e-5)


def test_the_student_reads_the_corrupted_caption_and_is_asked_for_the_teachers(model):
    """Red when the corruption is made and not used, or when the student is to predict it."""
    batch = tiny_batch("cycle", 2)
    captions = Captions([torch.arange(30, 36), torch.arange(40, 44)], [True, False])
    with (
        patch.object(model, "mask_ratio", 1.0),
        patch.object(model, "teacher_captions", return_value=captions),
        patch.object(model.student, "caption_logits", wraps=model.student.caption_logits) as student,
    ):
        model(batch, mode="loss")
        corrupted = model.corrupt(captions, batch)
    _, _, fed, targets = student.call_args.args
    assert all(torch.equal(*pair) for pair in zip(fed, corrupted, strict=True))
    assert all(torch.equal(*pair) for pair in zip(targets, captions.ids, strict=True))
    assert not any(torch.equal(*pair) for pair in zip(fed, targets, strict=True))


def test_the_caption_is_of_side_one_and_the_mask_of_side_two(model):
    """Red when a step reads the picture, region or mask of the other frame."""
    batch = tiny_batch("cycle", 2, two_frames=True)
    one, two = batch.caption_side, batch.mask_side
    noise = torch.randint_like(one.pixel_values, 256)

    def step(caption_side=one, mask_side=two):
        losses, step = recorded(model, batch._replace(caption_side=caption_side, mask_side=mask_side))
        teacher = [ids.tolist() for ids in step.captions.ids]
        spoken = [ids[: len(caption)].tolist() for ids, caption in zip(step.words.ids, teacher, strict=True)]
        return losses["loss_mask"].item(), teacher, spoken

    loss, teacher, student = step()
    unread = step(one._replace(mask=1 - one.mask, grounding_pixels=noise), two._replace(region=~two.region))
    assert unread == (loss, teacher, student)
    for change in (dict(pixel_values=noise), dict(grounding_pixels=noise), dict(mask=1 - two.mask)):
        other_loss, *captions = step(mask_side=two._replace(**change))
        assert other_loss != loss, change
        assert captions == [teacher, student], change
    for change in (dict(pixel_values=noise), dict(region=~one.region)):
        assert step(caption_side=one._replace(**change)) != (loss, teacher, student), change


def test_repeating_a_step_gives_the_same_loss_and_another_step_another(model):
    batch = tiny_batch()
    first, again = model(batch, mode="loss"), model(batch, mode="loss")
    assert torch.equal(first["loss_mask"], again["loss_mask"])
    later = batch._replace(keys=[key._replace(step=8) for key in batch.keys])
    assert not torch.equal(first["loss_mask"], model(later, mode="loss")["loss_mask"])


def test_the_seed_reaches_corruption_noise_points_and_wording(model):
    """Red when ``--seed`` changes nothing, or one of the draws has a seed of its own."""
    batch = tiny_batch("cycle", 8)
    captions, mask_logits = Captions([torch.zeros(20, dtype=torch.long)] * 8, [True] * 8), torch.randn(8, 32, 32)

    def draws(seed):
        model.seed = seed
        corrupted = torch.stack(model.corrupt(captions, batch)).tolist()
        step = model.begin(batch)
        step.captions, step.logits, step.mask_logits = captions, torch.zeros(8, 20, 100), mask_logits
        words = model.estimator.words(step).ids.tolist()
        cost = float(model.mask_costs(step)["loss_mask"].sum())
        return corrupted, words, [model.student.choose_wording(key) for key in batch.keys], cost

    first, other, again = draws(0), draws(1), draws(0)
    assert first == again
    assert all(a != b for a, b in zip(first, other, strict=True))


def test_words_after_the_end_of_a_caption_have_no_effect(model):
    """Caption length mask: what is past T_i in text_embeds reaches neither the mask nor the gradient."""
    batch = tiny_batch("cycle", 2)
    step = model.begin(batch)
    step.captions = Captions([torch.arange(3), torch.arange(5)], [True, True])
    embeds = torch.randn(2, 5, 128, generator=torch.Generator().manual_seed(0)).requires_grad_()
    masks = reader.masks_from_text(model.student, step, embeds)
    masks.sum().backward()
    assert embeds.grad[0, :3].abs().sum() > 0
    assert embeds.grad[0, 3:].abs().sum() == 0
    junk = embeds.detach().clone()
    junk[0, 3:] = 100.0
    assert torch.equal(reader.masks_from_text(model.student, step, junk), masks)


def test_an_empty_caption_is_weighed_zero_and_counted(model):
    batch = tiny_batch("cycle", 2)
    captions = model.teacher_captions(model.student.encode_pictures(batch.caption_side), batch.caption_side.region)
    silent = captions._replace(ids=[captions.ids[0], captions.ids[0][:0]])
    with patch.object(model, "teacher_captions", return_value=silent):
        losses = model(batch, mode="loss")
    assert float(losses["silent_captions"]) == 0.5
    spoken = part_of(batch, slice(0, 1))
    with patch.object(model, "teacher_captions", return_value=Captions(captions.ids[:1], captions.stopped[:1])):
        alone = model(spoken, mode="loss")
    # all ranks share the divisor B, so that their mean is the mean of the joint batch
    torch.testing.assert_close(losses["loss_mask"], alone["loss_mask"] / 2, rtol=1e-4, atol=1e-5)


def test_a_batch_of_empty_captions_runs_the_same_backward(model):
    """Red when a rank whose captions are all empty returns early: the others would wait for its gradients."""
    nothing = Captions([torch.zeros(0, dtype=torch.long)] * 2, [True, True])
    with patch.object(model, "teacher_captions", return_value=nothing):
        losses = model(tiny_batch("cycle", 2), mode="loss")
    assert float(losses["silent_captions"]) == 1
    assert losses.keys() == model(tiny_batch("cycle", 2), mode="loss").keys()
    total(losses).backward()
    assert all(p.grad is not None and not p.grad.any() for p in model.gradient_groups()["seg_head"])


def test_the_teacher_captions_with_its_own_weights_and_gives_the_student_back(model):
    batch = tiny_batch()
    pictures = model.student.encode_pictures(batch.caption_side)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    own = model.teacher_captions(pictures, batch.caption_side.region)
    model.teacher = EMATeacher(model)
    for shadow in model.teacher.shadow.values():
        shadow.zero_()  # a teacher without projector and head says the same word forever
    other = model.teacher_captions(pictures, batch.caption_side.region)
    assert [ids.tolist() for ids in own.ids] != [ids.tolist() for ids in other.ids]
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


def test_no_gradient_reaches_the_teacher(model):
    model.teacher = EMATeacher(model)
    total(model(tiny_batch(), mode="loss")).backward()
    assert not any(shadow.requires_grad or shadow.grad is not None for shadow in model.teacher.shadow.values())


def test_a_human_expression_takes_the_supervised_path(model):
    batch = tiny_batch("refer")
    losses, supervised = model(batch, mode="loss"), model.student(batch, mode="loss")
    assert losses.keys() == {"loss_mask", "loss_dice", "loss_lm"}
    assert all(torch.equal(losses[name], supervised[name]) for name in losses)


@pytest.mark.parametrize("kind", ["refer", "caption"])
def test_the_supervised_weight_scales_every_supervised_loss_and_no_other(model, kind):
    """Red when the language loss is left out, the cycle is scaled too, or gradients differ from the losses."""
    batch, cycle = tiny_batch(kind), tiny_batch("cycle")
    plain, of_cycle = model(batch, mode="loss"), model(cycle, mode="loss")
    with patch.object(model, "supervised_weight", 0.25):
        scaled, unchanged = model(batch, mode="loss"), model(cycle, mode="loss")
    assert scaled.keys() == plain.keys()
    assert all(torch.equal(scaled[name], 0.25 * plain[name]) for name in plain)
    assert all(torch.equal(unchanged[name], of_cycle[name]) for name in of_cycle)


@pytest.mark.parametrize("weight", [-1, float("nan")])
def test_a_supervised_weight_that_is_no_factor_is_refused(weight):
    with pytest.raises(ConfigError, match="supervised_weight="):
        tiny_pseudo_gumbel(supervised_weight=weight)


def test_losses_are_those_of_the_predicted_mask(model):
    """Red when the loss is taken on another picture's mask, or on other points than the keyed ones."""
    batch = tiny_batch("cycle", 2, two_frames=True)
    losses, step = recorded(model, batch)
    expected = mask_losses(
        step.mask_logits, batch.mask_side.mask, model.generators(batch, "points"), **model.student.mask_loss
    )
    assert torch.equal(losses["loss_mask"], expected["loss_mask"])


def test_a_step_is_recorded_when_asked_and_without_its_graph(model):
    """Red when every step is kept, or a kept one holds all activations until the panel is drawn."""
    model(tiny_batch("cycle", 2), mode="loss")
    assert model.last_step is None
    losses, step = recorded(model, tiny_batch("cycle", 2))
    assert not model.record_next_step
    kept = [step.logits, step.text_embeds, step.mask_logits, *step.words, *step.costs.values(), *step.losses.values()]
    assert not any(tensor.requires_grad for tensor in kept)
    assert losses["loss_mask"].requires_grad
    assert torch.equal(step.losses["loss_mask"], losses["loss_mask"])


def test_the_cost_is_the_methods_with_the_students_points(model):
    assert isinstance(model.reader, StudentReader)
    assert isinstance(model.cost, UncertainPointCost)
    assert model.cost.num_points == model.student.mask_loss["num_points"] == 196


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (dict(mask_ratio=1.5), "mask_ratio=1.5"),
        (dict(estimator=dict(type=StraightThroughGumbel, top_k=10_000)), "top_k=10000"),
    ],
)
def test_settings_that_cannot_work_are_refused(overrides, message):
    with pytest.raises(ConfigError, match=message):
        tiny_pseudo_gumbel(**overrides)


def test_captions_and_corruption_hold_words_only(model):
    """Red when a random token may be ``<IMG_CONTEXT>`` or ``[SEG]``: slots and embeddings would no longer match."""
    prompts = model.student.prompts
    special = {prompts.seg_id, prompts.image_id, prompts.pad_id}
    assert special.isdisjoint(prompts.word_ids.tolist())
    batch = tiny_batch()
    captions = Captions([torch.zeros(200, dtype=torch.long)] * 2, [True, True])
    with patch.object(model, "mask_ratio", 1.0):
        assert all(special.isdisjoint(ids.tolist()) for ids in model.corrupt(captions, batch))
    head = model.student.mllm.lm_head
    with patch.object(head, "forward", lambda hidden: type(head).forward(head, hidden).index_fill(
        -1, torch.tensor([prompts.image_id, prompts.seg_id]), 1e4)):  # fmt: skip
        spoken = model.teacher_captions(model.student.encode_pictures(batch.caption_side), batch.caption_side.region)
    assert all(special.isdisjoint(ids.tolist()) for ids in spoken.ids)
