"""Broken and unusual weight files are read for what they are, or refused by name, in bounded memory."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from sa2va_native.checkpoints.importing import open_source
from sa2va_native.checkpoints.loading import load_weights, save_weights
from sa2va_native.checkpoints.stored import open_checkpoint, require_bounded
from sa2va_native.errors import CheckpointError
from sa2va_native.files.paths import ROOT

WEIGHTS = ROOT / "assets/tiny/sa2va_tiny.safetensors"


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "module.student."])
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_prefixes_of_wrappers_are_removed(tmp_path: Path, prefix: str, suffix: str) -> None:
    """Red when weights saved from DistributedDataParallel or torch.compile belong to no known layout."""
    path, tensors = tmp_path / f"weights{suffix}", load_file(WEIGHTS)
    named = {prefix + name: tensor for name, tensor in tensors.items()}
    save_file(named, path) if suffix == ".safetensors" else torch.save(named, path)
    source = open_source(path)
    assert source.tensors.keys() == tensors.keys()
    assert not source.unexplained


def test_a_part_that_was_compiled_has_its_name(tmp_path: Path) -> None:
    tensors = load_file(WEIGHTS)
    save_file(
        {name.replace("mllm.", "mllm._orig_mod.", 1): t for name, t in tensors.items()}, tmp_path / "w.safetensors"
    )
    assert open_source(tmp_path / "w.safetensors").tensors.keys() == tensors.keys()


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "model.safetensors.index.json", "sam2.pt"])
def test_a_pointer_of_git_lfs_is_named(tmp_path: Path, name: str) -> None:
    """Red when a clone without its large files is said to be a damaged archive."""
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
    with pytest.raises(CheckpointError, match=rf"{name}.*is a pointer of Git LFS and not the weights.*git lfs pull"):
        open_checkpoint(tmp_path / name if name == "sam2.pt" else tmp_path)


def test_one_tensor_under_two_names_is_refused(tmp_path: Path) -> None:
    """Red when one of them is taken in silence, here the one that is 0."""
    tensors = load_file(WEIGHTS)
    torch.save({**tensors, **{f"_orig_mod.{name}": t * 0 for name, t in tensors.items()}}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=r"w\.pt': (\S+) and _orig_mod\.\1 are one tensor \(440 such\)"):
        open_source(tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({1: torch.ones(2)}, "a tensor is named 1, expected a text"),
        ({"a\n11/27 - INFO - forged": torch.ones(2)}, r"a tensor is named 'a\\n11/27"),
        ({"model_state_dict": {"a": torch.ones(2)}, "epoch": 3}, "its tensors are under 'model_state_dict'"),
        ({"a": torch.ones(2, device="meta")}, "saved without its values"),
    ],
)
def test_what_is_no_table_of_tensors_is_told(tmp_path: Path, content: Any, said: str) -> None:
    """Red when it ends in an AttributeError, or is said to hold no tensor, or is taken."""
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=rf"w\.pt.*{said}"):
        open_checkpoint(tmp_path / "w.pt")


@pytest.mark.parametrize("dtype", [torch.int8, torch.complex64])
def test_numbers_of_another_kind_are_refused(tmp_path: Path, dtype: torch.dtype) -> None:
    """Red when quantised weights are taken for the weights, or the imaginary part is dropped."""
    model = torch.nn.Linear(2, 2)
    torch.save({**model.state_dict(), "weight": torch.ones(2, 2, dtype=dtype)}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=r"mismatched 1: .*weight (int8|complex64) for floating point"):
        load_weights(model, tmp_path / "w.pt")


def _index(**changes: Any) -> dict[str, Any]:
    return {"weight_map": {"a": "1.safetensors", "b": "2.safetensors", **changes}}


@pytest.mark.parametrize(
    ("index", "said"),
    [
        (_index(c="1.safetensors"), "in '1.safetensors' the index has 'c' and the shard has not"),
        (_index(a="2.safetensors"), "in '2.safetensors' the index has 'a' and the shard has not"),
        ({"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}, "more": True}, None),
        ({"weight_map": {"a": "1.safetensors"}}, None),
        (_index(c="3.safetensors"), "names the shard '3.safetensors', which is not next to it"),
        (_index(c="../1.safetensors"), "not an index of shards"),
        (_index(c=3), "not an index of shards"),
        ({"weight_map": ["a"]}, "not an index of shards"),
        ({}, "not an index of shards"),
        ([], "not an index of shards"),
        ("[" * 100_000, "not an index of shards"),
    ],
)
def test_an_index_that_lies_is_refused_by_name(tmp_path: Path, index: Any, said: str | None) -> None:
    """Red when a tensor of another shard is taken in silence, or the error is about JSON, or a traceback."""
    for number, name in ((1, "a"), (2, "b")):
        save_file({name: torch.full((2,), float(number))}, tmp_path / f"{number}.safetensors")
    text = index if isinstance(index, str) else json.dumps(index)
    (tmp_path / "model.safetensors.index.json").write_text(text)
    if said is None:
        assert open_checkpoint(tmp_path)["a"].read().tolist() == [1.0, 1.0]
        return
    with pytest.raises(CheckpointError, match=f"index.json.*{said}"):
        open_checkpoint(tmp_path)


def test_an_index_that_grows_when_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """30 MB that would be a gigabyte. Red when it is parsed."""
    (tmp_path / "model.safetensors.index.json").write_text("[" + "[]," * 10_000_000 + "1]")
    monkeypatch.setattr(json, "loads", None)
    with pytest.raises(CheckpointError, match=r"index\.json.*would take about 1\.\d GB of memory"):
        open_checkpoint(tmp_path)


def test_what_an_old_torch_wrote_is_named(tmp_path: Path) -> None:
    """Red when it is said to be truncated."""
    torch.save({"a": torch.ones(2)}, tmp_path / "w.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match=r"w\.pt.*torch\.save wrote before version 1\.6.*and save it again"):
        open_checkpoint(tmp_path / "w.pt")


def test_a_shard_with_more_than_the_index_lists_is_refused(tmp_path: Path) -> None:
    save_file({"a": torch.ones(1), "stray": torch.ones(1)}, tmp_path / "1.safetensors")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "1.safetensors"}}))
    with pytest.raises(CheckpointError, match="the shard has 'stray' and the index has not"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_float8_is_read_as_it_is(tmp_path: Path, dtype: torch.dtype) -> None:
    """Red when a type that safetensors has ends in a KeyError."""
    model = torch.nn.Linear(2, 2)
    values = {name: tensor.detach().to(dtype) for name, tensor in model.state_dict().items()}
    save_file(values, tmp_path / "w.safetensors")
    load_weights(model, tmp_path / "w.safetensors")
    assert all(torch.equal(tensor, values[name].float()) for name, tensor in model.state_dict().items())


def test_weights_with_nan_are_refused_by_name(tmp_path: Path) -> None:
    """Red when a damaged download trains NaN from the first step."""
    model = torch.nn.Linear(2, 2)
    save_file({"weight": torch.ones(2, 2), "bias": torch.tensor([1.0, float("nan")])}, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match=r"bias .*holds NaN or infinity"):
        load_weights(model, tmp_path / "w.safetensors")


@pytest.mark.parametrize("protocol", [4, 5])
def test_a_late_pickle_protocol_is_refused_in_one_line(tmp_path: Path, protocol: int) -> None:
    """Red when torch's refusal ends in an UnboundLocalError."""
    torch.save({"a": torch.ones(2)}, tmp_path / "w.pt", pickle_protocol=protocol)
    with pytest.raises(CheckpointError, match=r"w\.pt.*pickle protocol 4.*save the weights as safetensors"):
        open_checkpoint(tmp_path / "w.pt")


def _nested(depth: int) -> list:
    inside: list = []
    for _ in range(depth):
        inside = [inside, inside]
    return inside


def _cycle() -> list:
    inside: list = []
    inside.append(inside)
    return inside


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (lambda: torch.ones(1).expand(10**12), "has fewer elements in the file"),
        (lambda: torch.ones(4).as_strided((10**6, 10**6), (0, 0)), "has fewer elements in the file"),
        (lambda: _nested(50), "stand for more than"),
        (_cycle, "stand for more than"),
    ],
)
def test_what_expands_is_refused(tmp_path: Path, content: Callable[[], Any], said: str) -> None:
    """A file of a kilobyte each. Red when it is copied or listed, which takes terabytes."""
    torch.save({"a": torch.ones(2), "bomb": content()}, tmp_path / "w.pt")
    assert os.path.getsize(tmp_path / "w.pt") < 10_000
    with pytest.raises(CheckpointError, match=said):
        open_checkpoint(tmp_path / "w.pt")


def test_what_is_shared_and_not_larger_is_accepted() -> None:
    """Tied and transposed tensors, and containers used twice."""
    table, row = torch.ones(3, 4), [1, 2]
    require_bounded({"a": table, "b": table, "t": table.T, "v": table[1:], "empty": torch.ones(0, 5), "r": [row, row]})


def test_files_have_ordinary_modes(tmp_path: Path) -> None:
    """Safetensors writes through a temporary file. Red when nobody else can read an export."""
    save_weights(torch.nn.Linear(2, 2), tmp_path / "w.safetensors")
    (tmp_path / "plain").write_text("x")
    assert (tmp_path / "w.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode
