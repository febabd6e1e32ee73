"""Static decoding writes what growing keys and values write, also when the step is recorded and repeated blindly."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sa2va_native.errors import ConfigError
from sa2va_native.files.paths import ROOT
from sa2va_native.models.decoding import StaticDecoding
from sa2va_native.models.prompts import EmbeddedPrompts
from tests.tiny import tiny_qwen3, tiny_sa2va, tiny_side

READ_ON_THE_HOST = ("_local_scalar_dense", "nonzero", "is_nonzero", "lift_fresh", "masked_select")


class Recorded(TorchDispatchMode):
    """What a CUDA graph is, on a CPU: the operations of one call, repeated on the same memory with the same numbers."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__()
        self.calls: list[Any] = []
        work()  # as CudaGraphs does, which records without running
        kept = [tensor for cell in work.__closure__ or () for tensor in tree_leaves(cell.cell_contents)]
        state = [(tensor, tensor.clone()) for tensor in kept if isinstance(tensor, torch.Tensor)]
        with self:
            work()
        for tensor, value in state:
            tensor.copy_(value)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func.overloadpacket.__name__ not in READ_ON_THE_HOST, f"{func} waits for the device, or copies to it"
        out = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, tree_leaves(out)))
        return out

    def __call__(self) -> None:
        for func, args, kwargs, outs in self.calls:
            for out, again in zip(outs, tree_leaves(func(*args, **kwargs)), strict=True):
                if isinstance(out, torch.Tensor) and out.data_ptr() != again.data_ptr():
                    out.copy_(again)


@pytest.fixture(scope="module")
def model() -> Any:
    """Trained: it stops."""
    return tiny_sa2va(max_new_tokens=60)


def shaken(build: Any) -> Any:
    """A model whose every token depends on all before it, which those of a trained one do not."""
    torch.manual_seed(0)
    model = build(max_new_tokens=24)
    for parameter in model.language_model.parameters():
        if parameter.ndim == 2:
            parameter.data.normal_(std=0.1)
    return model


def asked(model: Any, batch: int) -> EmbeddedPrompts:
    """Prompts of different lengths, which therefore have pads."""
    side = tiny_side(batch)
    side.region[0, 0] = True
    tokens = model.visual_tokens(model.encode_pictures(side, grounding=False).vision, side.region)
    return model.prompts.embed(model.embedding, model.caption_prompts(side.region), tokens)


def written(model: Any, prompts: EmbeddedPrompts, *options: Any) -> list[tuple[list[int], bool]]:
    return [(ids.tolist(), stopped) for ids, stopped in model.generate(prompts, *options)]


@pytest.mark.parametrize("record", [None, Recorded], ids=["taken", "recorded"])
@pytest.mark.parametrize("batch", [1, 4])
def test_ids_are_those_of_growing_keys_and_values(
    model: Any, batch: int, record: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Captions that stop early, none that stops, and one token. Red when a token after the end stays, or a suppressed
    one comes."""
    prompts, stops = asked(model, batch), set[bool]()
    usual = written(model, prompts)
    for tokens, never in ((60, []), (5, [usual[0][0][1]]), (2, []), (1, [])):
        monkeypatch.setattr(model, "max_new_tokens", tokens)
        expected = written(model, prompts, never)
        assert written(model, prompts, never, StaticDecoding(record)) == expected
        stops.update(stopped for _, stopped in expected)
    assert stops == {True, False}


@pytest.mark.parametrize("record", [None, Recorded], ids=["taken", "recorded"])
@pytest.mark.parametrize("build", [partial(tiny_sa2va, weights=None), tiny_qwen3], ids=["qwen2", "qwen3"])
def test_each_token_depends_on_all_before_it(build: Any, record: Any) -> None:
    """With each kind of language model. Red when a place, a position or the mask of a later token is that of the step
    that was recorded, or a row sees a pad."""
    model = shaken(build)
    prompts = asked(model, 4)
    expected = written(model, prompts)
    assert max(len(set(ids)) for ids, _ in expected) > 8
    assert written(model, prompts, [], StaticDecoding(record)) == expected


@pytest.mark.parametrize("build", [tiny_sa2va, tiny_qwen3], ids=["qwen2", "qwen3"])
def test_ids_are_the_same_in_bf16(build: Any) -> None:
    """Where few words are nearly as likely as the first. Red when keys and values are kept in another type."""
    model = build(max_new_tokens=24, dtype="bfloat16")
    prompts = asked(model, 4)
    assert written(model, prompts, [], StaticDecoding()) == written(model, prompts)


def test_it_ends_when_all_rows_have_stopped(model: Any) -> None:
    """Red when a fixed length of keys and values also fixes the length of the work."""
    passes: list[int] = []
    hook = model.language_model.register_forward_hook(lambda *_: passes.append(1))
    ids = [ids for ids, _ in model.generate(asked(model, 2), [], StaticDecoding())]
    hook.remove()
    assert max(map(len, ids)) < len(passes) < 30


def test_an_attention_that_reads_its_mask_is_refused() -> None:
    """Red when another one, which looks for pads on the host, ends a CUDA graph in an error of the driver."""
    config = Config.fromfile(ROOT / "configs/_base_/models/sa2va_tiny.py").model
    model = MODELS.build({**config, "mllm": {**config.mllm, "attention": "eager"}})
    with pytest.raises(ConfigError, match=r"mllm.attention = 'eager' waits for the host .* needs 'sdpa'"):
        model.generate(asked(model, 1), [], StaticDecoding())
