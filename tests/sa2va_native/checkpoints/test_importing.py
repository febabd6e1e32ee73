"""Published checkpoints go in whole, or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from safetensors.torch import save_file

from sa2va_native.checkpoints.importing import Source, import_base, import_tensors, import_trained, open_source
from sa2va_native.checkpoints.layouts import LAYOUTS, detect
from sa2va_native.checkpoints.loading import named_tensors
from sa2va_native.checkpoints.stored import Stored, in_memory
from sa2va_native.checkpoints.translate import flipped, plan, translate
from sa2va_native.errors import CheckpointError
from sa2va_native.files.paths import ROOT
from tests.tiny import tiny_sa2va

SAM21 = dict(enable_temporal_pos_encoding_for_object_pointers=True, enable_occlusion_spatial_embedding=True)


@pytest.fixture(scope="module")
def keys(realdata_root) -> Path:
    """Folder with the tensor lists of published checkpoints: a name, a tab and a shape a line."""
    folder = realdata_root.parent / "facts" / "keys"
    if not folder.is_dir():
        pytest.skip(f"no tensor lists at {folder}")
    return folder


def listed(file: Path) -> Stored:
    """Tensors of a list, without values."""
    tensors = {}
    for line in file.read_text().splitlines():
        if not line.startswith("#"):
            name, shape = line.split("\t")
            tensors[name] = torch.empty(json.loads(shape), device="meta")
    return in_memory(tensors)


def source(stored: Stored, name: str = "listed") -> Source:
    layout = detect(stored, name)
    return Source(name, layout, *translate(stored, layout.rules))


def sa2va_4b(lora: bool = False, sam2: dict | None = None):
    config = Config.fromfile(ROOT / "configs/_base_/models/sa2va_internvl25_4b.py").model
    config.grounding.update(sam2 or {})
    if not lora:
        config.lora = None
    with torch.device("meta"):
        return MODELS.build(config)


@pytest.fixture(scope="module")
def model_4b():
    return sa2va_4b()


@pytest.mark.realdata
class TestTensorListsOfThe4BModel:
    """Names and shapes as published. Red when a rule is missing or misspelt, or a size in the config is wrong."""

    def test_internvl_and_sam2(self, keys, model_4b):
        internvl = source(listed(keys / "a_internvl2_5_4b_hf.txt"))
        sam2 = source(listed(keys / "c_sam2_hiera_large_pt.txt"))
        assert (internvl.layout.name, sam2.layout.name) == ("internvl", "sam2")
        report = import_base(model_4b, [internvl, sam2], model_4b.vocabulary, new_tokens=5)
        assert report.complete
        assert report.grown == ["mllm.lm_head.weight", "mllm.model.language_model.embed_tokens.weight"]
        assert len(report.fresh) == 4
        assert all(name.startswith("text_hidden_fcs.") for name in report.fresh)

    def test_sa2va(self, keys, model_4b):
        """In, and out again under the very names."""
        stored = listed(keys / "b_sa2va_4b_hf_layout.txt")
        report = import_base(model_4b, [source(stored)], model_4b.vocabulary, new_tokens=5)
        out = translate(in_memory(named_tensors(model_4b)), flipped(LAYOUTS["sa2va_hf"].rules))
        assert not out.unexplained
        assert {n: t.shape for n, t in out.tensors.items()} == {n: t.shape for n, t in stored.items()}
        assert report.complete
        assert not report.grown
        assert not report.fresh

    def test_sam21_belongs_to_a_model_of_sam21(self, keys, model_4b):
        internvl = source(listed(keys / "a_internvl2_5_4b_hf.txt"))
        sam21 = source(listed(keys / "c2_sam2.1_hiera_large_pt.txt"))
        model = sa2va_4b(sam2=SAM21)
        assert import_base(model, [internvl, sam21], model.vocabulary, new_tokens=5).complete
        with pytest.raises(CheckpointError, match=r"unexpected 3.*obj_ptr_tpos_proj[\s\S]*weights of SAM 2.1"):
            import_base(model_4b, [internvl, sam21], model_4b.vocabulary, new_tokens=5)

    def test_what_a_run_trained(self, keys):
        trained = source(listed(keys / "d_xtuner_trainable_pth.txt"))
        assert trained.is_trained_part
        model = sa2va_4b(lora=True)
        report = import_trained(model, [trained])
        assert report.complete
        assert len(report.loaded) == 647
        assert set(report.loaded) == {n for n, p in named_tensors(model).items() if p.requires_grad}

    @pytest.mark.parametrize("file", ["a_internvl2_5_4b_hf", "b_sa2va_4b_hf_layout", "c_sam2_hiera_large_pt"])
    def test_every_single_fault_is_refused_by_name(self, keys, model_4b, file):
        """Each tensor dropped, renamed and reshaped in turn, next to those that it is joined with."""
        stored, own = listed(keys / f"{file}.txt"), named_tensors(model_4b)
        layout = detect(stored, file)
        for there, here in plan(stored, layout.rules)[0]:
            for name in there:
                wide = (*stored[name].shape[:-1], stored[name].shape[-1] + 1)
                for fault in ({}, {f"{name}x": stored[name]}, {name: stored[name]._replace(shape=wide)}):
                    group = {n: stored[n] for n in there if n != name} | fault
                    faulty = Source(file, layout, *translate(group, layout.rules))
                    with pytest.raises(CheckpointError) as error:
                        import_tensors(
                            {n: own[n] for n in here}, [faulty], needed=here, vocabulary=model_4b.vocabulary, new_rows=5
                        )
                    assert name in str(error.value)


def tiny_base():
    """The tiny model without LoRA, and its tensors."""
    model = tiny_sa2va(lora=None)
    return model, {name: tensor.detach().clone() for name, tensor in named_tensors(model).items()}


def their_tensors(layout: str) -> dict[str, torch.Tensor]:
    """The tiny model's tensors as a checkpoint of that layout names them."""
    _, tensors = tiny_base()
    chosen = {name: tensor for name, tensor in tensors.items() if name.startswith(LAYOUTS[layout].covers)}
    renamed = translate(in_memory(chosen), flipped(LAYOUTS[layout].rules))
    assert not renamed.unexplained
    return {name: tensor.read().contiguous().clone() for name, tensor in renamed.tensors.items()}


def write_shards(tensors: dict[str, torch.Tensor], folder: Path, pickled: bool = False) -> Path:
    """A Hugging Face directory of two shards and an index."""
    folder.mkdir()
    names = sorted(tensors)
    stem, suffix = ("pytorch_model", "bin") if pickled else ("model", "safetensors")
    weight_map = {}
    for i, part in enumerate((names[::2], names[1::2]), 1):
        file = f"{stem}-0000{i}-of-00002.{suffix}"
        chosen = {name: tensors[name] for name in part}
        torch.save(chosen, folder / file) if pickled else save_file(chosen, folder / file)
        weight_map |= dict.fromkeys(part, file)
    (folder / f"{stem}.{suffix}.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


def load_into_random_model(*paths: Path, **config):
    return tiny_sa2va(weights=[str(path) for path in paths], lora=None, **config)


def assert_equal_to_tiny(model) -> None:
    _, expected = tiny_base()
    for name, tensor in named_tensors(model).items():
        assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize("pickled", [False, True])
@pytest.mark.parametrize("layout", ["internvl", "internvl_native", "internvl_native_4_51"])
def test_internvl_directory_and_sam2_file(tmp_path, layout, pickled):
    """Bit for bit through each layout, safetensors or pickled shards. Red when q, k and v are swapped."""
    internvl = write_shards(their_tensors(layout), tmp_path / "internvl", pickled)
    torch.save({"model": their_tensors("sam2")}, tmp_path / "sam2_hiera_tiny.pt")
    assert open_source(internvl).layout.name == layout
    head = tiny_sa2va(lora=None).text_hidden_fcs
    model = load_into_random_model(internvl, tmp_path / "sam2_hiera_tiny.pt")
    assert len(model.load_report.fresh) == len(list(head.parameters()))
    model.text_hidden_fcs.load_state_dict(head.state_dict())
    assert_equal_to_tiny(model)


def test_sa2va_directory(tmp_path):
    model = load_into_random_model(write_shards(their_tensors("sa2va_hf"), tmp_path / "sa2va"))
    assert model.load_report.complete
    assert_equal_to_tiny(model)


def test_new_tokens_begin_as_the_mean_of_the_others(tmp_path):
    """InternVL lacks Sa2VA's five. Red when their rows stay uninitialised, which is NaN sooner or later."""
    tensors = their_tensors("internvl")
    for name in ("language_model.model.embed_tokens.weight", "language_model.lm_head.weight"):
        tensors[name] = tensors[name][:-5].clone()
    torch.save({"model": their_tensors("sam2")}, tmp_path / "sam2.pt")
    model = load_into_random_model(write_shards(tensors, tmp_path / "internvl"), tmp_path / "sam2.pt")
    for table, name in ((model.embedding, "model.embed_tokens"), (model.mllm.lm_head, "lm_head")):
        old = tensors[f"language_model.{name}.weight"]
        assert torch.equal(table.weight[:-5], old)
        torch.testing.assert_close(table.weight[-5:], old.mean(0).expand(5, -1))
    assert len(model.load_report.grown) == 2


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda t: t.pop("mlp1.1.bias"), r"missing 1.*linear_1\.bias \(there: mlp1\.1\.bias\)"),
        (lambda t: t.pop("vision_model.encoder.layers.1.attn.qkv.bias"), r"missing 3.*layers\.1\.attn\.qkv\.bias"),
        (lambda t: t.update({"mlp1.9.bias": t.pop("mlp1.3.bias")}), r"unexpected 1.*mlp1\.9\.bias"),
        (lambda t: t.update({"mlp1.0.bias": torch.zeros(3)}), r"mismatched 1.*there: mlp1\.0\.bias"),
        (
            lambda t: t.update({"vision_model.encoder.layers.0.attn.qkv.bias": torch.zeros(385)}),
            r"unexpected 1.*layers\.0\.attn\.qkv\.bias",
        ),
        (
            lambda t: t.pop("grounding_encoder.sam2_model.sam_prompt_encoder.point_embeddings.2.weight"),
            r"missing 1.*point_embeddings\.2\.weight[\s\S]*unexpected 3",
        ),
    ],
)
def test_one_fault_refuses_the_load_by_name(tmp_path, fault, message):
    """With the name in the checkpoint, which is the one its owner knows; nothing is loaded."""
    tensors = their_tensors("sa2va_hf")
    fault(tensors)
    folder = write_shards(tensors, tmp_path / "sa2va")
    with pytest.raises(CheckpointError, match=message):
        load_into_random_model(folder)
    report = load_into_random_model(folder, allow_unexplained=True).load_report
    assert not report.complete
    assert len(report.loaded) > 200


def test_a_part_without_weights_is_refused(tmp_path):
    """Red when SAM 2 may stay random because only InternVL was given."""
    internvl = write_shards(their_tensors("internvl"), tmp_path / "internvl")
    with pytest.raises(CheckpointError, match=r"missing \d+: grounding\.sam2"):
        load_into_random_model(internvl)


def test_trained_tensors_go_on_top_of_lora(tmp_path):
    """A run's trainable-only file; its LoRA tensors have a place only once LoRA is attached."""
    trained = tiny_sa2va()
    with torch.no_grad():
        for parameter in trained.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
    tensors = {name: p.detach().clone() for name, p in named_tensors(trained).items() if p.requires_grad}
    theirs = translate(in_memory(tensors), flipped(LAYOUTS["sa2va_xtuner"].rules))
    state = {name: tensor.read().clone() for name, tensor in theirs.tensors.items()}
    torch.save({"state_dict": state, "message_hub": Ignorable()}, tmp_path / "iter_500.pth")
    base = ROOT / "assets/tiny/sa2va_tiny.safetensors"
    model = tiny_sa2va(weights=[str(base), str(tmp_path / "iter_500.pth")])
    for name, tensor in named_tensors(model).items():
        assert torch.equal(tensor, named_tensors(trained)[name]), name
    name = next(name for name in state if "lora_B" in name)
    del state[name]
    torch.save(state, tmp_path / "iter_500.pth")
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        tiny_sa2va(weights=[str(base), str(tmp_path / "iter_500.pth")])


class Ignorable:
    """An object saved with the weights, such as a training log."""


class Malicious:
    """Runs code when it is unpickled in the usual way."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_code_in_a_pickle_is_not_run(tmp_path):
    torch.save({"model": their_tensors("sam2"), "extra": Malicious(tmp_path / "ran")}, tmp_path / "sam2.pt")
    with pytest.raises(CheckpointError, match=r"sam2\.pt.*would run code"):
        open_source(tmp_path / "sam2.pt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"no zip archive", b"PK\x03\x04 cut off"])
def test_a_broken_pickle_is_named(tmp_path, content):
    (tmp_path / "sam2.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"sam2\.pt"):
        open_source(tmp_path / "sam2.pt")


@pytest.mark.parametrize("name", ["missing", "empty", "index"])
def test_what_cannot_be_opened_is_named(tmp_path, name):
    folder = tmp_path / name
    if name != "missing":
        folder.mkdir()
    if name == "index":
        (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../a.safetensors"}}')
    with pytest.raises(CheckpointError, match=name):
        open_source(folder)


def test_an_unknown_checkpoint_says_what_is_known(tmp_path):
    save_file({"encoder.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"encoder\.weight.*InternVL"):
        open_source(tmp_path / "other.safetensors")


def test_a_name_that_all_tensors_share_is_taken_off(tmp_path):
    """A run of a model that holds Sa2VA. Red when one such name is written into the code, or a published one is cut."""
    _, tensors = tiny_base()
    save_file({f"held.{name}": tensor for name, tensor in tensors.items()}, tmp_path / "held.safetensors")
    source = open_source(tmp_path / "held.safetensors")
    assert (source.layout.name, source.tensors.keys()) == ("own", tensors.keys())
    save_file({n: t for n, t in tensors.items() if n.startswith("mllm.")}, tmp_path / "half.safetensors")
    assert open_source(tmp_path / "half.safetensors").layout.name == "own"
