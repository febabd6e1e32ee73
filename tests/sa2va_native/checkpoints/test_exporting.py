"""Out and in again, bit for bit, in every layout."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from mmengine.config import Config
from safetensors.torch import load_file

from sa2va_native.checkpoints.exporting import differences, export
from sa2va_native.checkpoints.importing import open_source
from sa2va_native.checkpoints.layouts import LAYOUTS
from sa2va_native.checkpoints.loading import named_tensors
from sa2va_native.checkpoints.merging import merge_lora
from sa2va_native.checkpoints.sa2va_config import from_sa2va, to_sa2va
from sa2va_native.checkpoints.stored import in_memory
from sa2va_native.errors import CheckpointError
from sa2va_native.files.paths import ROOT
from sa2va_native.models.sam2.model import sam2_config
from tests.tiny import tiny_batch, tiny_qwen3, tiny_sa2va


def changed_lora(model):
    """LoRA's B begins as zero, which would hide a merge that does nothing."""
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.copy_(0.03 * torch.randn(parameter.shape, generator=draw))
    return model


@pytest.fixture(scope="module")
def trained():
    return changed_lora(tiny_sa2va()).eval()


def tensors_of(model):
    return in_memory({name: tensor.detach() for name, tensor in named_tensors(model).items()})


@pytest.fixture(scope="module")
def tensors(trained):
    return tensors_of(trained)


@pytest.mark.parametrize("build", [tiny_sa2va, tiny_qwen3])
@pytest.mark.parametrize("name", LAYOUTS)
def test_import_export_import_is_bit_identical(tmp_path, name, build):
    """Red when a layout has no name for a tensor, as for the norms of queries and keys that only Qwen3 has."""
    layout, tensors = LAYOUTS[name], tensors_of(changed_lora(build()))
    given = tensors if layout.has_lora else {n: t for n, t in tensors.items() if ".lora_" not in n}
    first, second = tmp_path / "first", tmp_path / "second"
    if not layout.is_directory:
        first, second = first.with_suffix(".safetensors"), second.with_suffix(".safetensors")
    export(given, layout, first, max_shard_size="1MB")
    read = open_source(first)
    assert read.layout == layout
    assert not read.unexplained
    export(read.tensors, layout, second, max_shard_size="1MB")
    assert not differences(second, given, layout)
    covered = {n for n in given if n.startswith(layout.covers or ("",))}
    assert open_source(second).tensors.keys() == covered
    if layout.is_directory:
        assert len(list(first.glob("*.safetensors"))) > 1, "shards were wanted"


def test_a_changed_tensor_is_a_difference(tmp_path, tensors):
    """Red when the check compares names alone."""
    export(tensors, LAYOUTS["own"], tmp_path / "own.safetensors")
    name = next(iter(tensors))
    other = tensors | in_memory({name: tensors[name].read() + 1e-3})
    assert differences(tmp_path / "own.safetensors", other, LAYOUTS["own"]) == [name]


def test_lora_has_no_name_in_a_published_layout(tmp_path, tensors):
    with pytest.raises(CheckpointError, match=r"no name for 42 tensors.*lora_"):
        export(tensors, LAYOUTS["sa2va_hf"], tmp_path / "sa2va")


def test_merged_lora_gives_the_same_logits(trained):
    """In float64: logits of 20 in float32 are known to 1e-5 only. Red when alpha / r is left out, or A and B swap."""
    config = Config.fromfile(ROOT / "configs/_base_/models/sa2va_tiny.py").model.lora
    with_lora = copy.deepcopy(trained).double()
    tensors = in_memory({name: tensor.detach() for name, tensor in named_tensors(with_lora).items()})
    merged = merge_lora(tensors, config.lora_alpha / config.r)
    plain = tiny_sa2va(lora=None).double().eval()
    own = named_tensors(plain)
    assert own.keys() == merged.keys()
    side, targets = tiny_batch().caption_side, [torch.arange(5, 12), torch.arange(20, 30)]

    def logits(model):
        return model.caption_logits(model.encode_pictures(side), side.region, targets, targets)[0]

    with torch.no_grad():
        before, wanted = logits(plain), logits(with_lora)
        for name, tensor in own.items():
            tensor.copy_(merged[name].read())
        torch.testing.assert_close(logits(plain), wanted, rtol=0, atol=1e-5)
    assert (before - wanted).abs().max() > 0.01


def test_half_a_lora_is_refused_by_name(tensors):
    name = next(name for name in tensors if name.endswith("lora_B.default.weight"))
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        merge_lora({n: t for n, t in tensors.items() if n != name}, 2.0)


def test_dtype_of_what_is_written(tmp_path, tensors):
    export(tensors, LAYOUTS["own"], tmp_path / "own.safetensors", dtype=torch.bfloat16)
    assert {tensor.dtype for tensor in load_file(tmp_path / "own.safetensors").values()} == {torch.bfloat16}


def test_config_json_gives_back_the_sizes():
    """config.json -> our config -> config.json. Red when a size has no place in one of them."""
    model = Config.fromfile(ROOT / "configs/_base_/models/sa2va_internvl25_4b.py").model.to_dict()
    there = to_sa2va(model["mllm"], model["grounding"], 151_679, 151_645, 151_643)
    back = from_sa2va(json.loads(json.dumps(there)))
    for part, wanted in (("mllm", model["mllm"]), ("grounding", model["grounding"])):
        for key, value in wanted.items():
            got = {k: back[part][key][k] for k in value} if isinstance(value, dict) else back[part][key]
            got = f"{got.__module__}.{got.__name__}" if key == "type" else got
            assert got == value, key
    assert to_sa2va(back["mllm"], back["grounding"], 151_679, 151_645, 151_643) == there


@pytest.mark.parametrize(
    ("name", "entries"),
    [
        ("sa2va_internvl25_4b", {"sam2_hiera"}),
        ("sa2va_mid", {"sam2_hiera"}),
        ("sa2va_tiny", {"sam2_hiera", "sam2_config"}),
    ],
)
def test_config_json_says_which_sam2_it_is(name, entries):
    """Red when another SAM 2 than the exported one is built: the reader took Hiera-Large for every model."""
    model = Config.fromfile(ROOT / f"configs/_base_/models/{name}.py").model.to_dict()
    written = json.loads(json.dumps(to_sa2va(model["mllm"], model["grounding"], 128, 1, 2)))
    assert {key for key in written if key.startswith("sam2")} == entries

    def built(grounding):
        return sam2_config({key: value for key, value in grounding.items() if key != "type"}).to_dict()

    assert built(from_sa2va(written)["grounding"]) == built(model["grounding"])


def test_config_json_of_qwen3_has_the_width_of_its_heads():
    """Red when they are taken to make up the hidden size."""
    model = Config.fromfile(ROOT / "configs/sizes/pseudo_gumbel_internvl35_4b.py").model.sa2va
    written = to_sa2va(model.mllm, model.grounding, 151_683, 151_645, 151_643)
    there = written["llm_config"]
    assert (there["architectures"], there["head_dim"], there["rope_theta"]) == (["Qwen3ForCausalLM"], 128, 1e6)
    back = from_sa2va(json.loads(json.dumps(written)))["mllm"]["text_config"]
    assert {key: back[key] for key in model.mllm.text_config} == model.mllm.text_config


@pytest.mark.realdata
def test_config_json_says_what_the_published_one_says(realdata_root):
    """Of the values that the published file of a small model has, for the keys that we write."""
    published = json.loads((realdata_root / "parity/sa2va_tiny/fixture.json").read_text())["config"]
    halves = from_sa2va(published)
    ours = to_sa2va(halves["mllm"], halves["grounding"], 151_679, 151_645, 151_643)
    assert published.keys() >= ours.keys()
    for part in ("vision_config", "llm_config"):
        for key in ours[part].keys() & published[part].keys() - {"torch_dtype"}:
            assert ours[part][key] == published[part][key], key
    for key in ours.keys() - {"vision_config", "llm_config", "auto_map", "torch_dtype"}:
        assert ours[key] == published[key], key
