"""Weights that are named as on the Hugging Face hub, and found in its cache or downloaded."""

from __future__ import annotations

import re

from sa2va_native.errors import CheckpointError
from sa2va_native.files.paths import resolve

#: What a hub calls a repository: owner and name. A file of weights has an ending instead.
_REPOSITORY = re.compile(r"(?!\.)[\w.-]+/(?!\.)[\w.-]+(?<!\.pt)(?<!\.pth)(?<!\.bin)(?<!\.safetensors)")
#: What an import or an export reads: tensors, and the files beside them. Pickles are left there.
_WANTED = ["*.safetensors", "*.json", "*.txt", "*.model", "*.py", "*.md"]


def local_weights(path: str, download: bool = True) -> str:
    """A path of weights as it is, or the local folder of a repository of the hub, e.g. ``ByteDance/Sa2VA-4B``.

    Every rank may call it: the first one downloads, the others wait for its files.

    Args:
        path: a path that is there is never looked for on the hub.
        download: whether what is not in the hub's cache may be downloaded, which shows its progress.

    Raises:
        CheckpointError: neither a path nor in the cache, and it cannot or must not be downloaded.
    """
    if resolve(path).exists() or not _REPOSITORY.fullmatch(path):
        return path
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return snapshot_download(path, allow_patterns=_WANTED, local_files_only=not download)
    except LocalEntryNotFoundError:
        why = "it is not in the cache of the hub, and cannot be downloaded from here (offline)"
        if not download:
            why = "it is not in the cache of the hub, and a dry run downloads nothing"
    except Exception as error:  # of the network, of the hub, or of a name that it does not take
        first = str(error).strip().partition("\n")[0]
        why = f"the hub does not give it ({type(error).__name__}: {first})"
    folder = path.partition("/")[2]
    raise CheckpointError(
        f"weights {path!r}: no such file or directory, and as a name on the hub {why}. Where there is a network, run "
        f"`hf download {path} --local-dir {folder}`, and give --weights {folder}."
    )
