"""The Hugging Face hub: weights by their name there, and exports to it."""

from __future__ import annotations

import re
from pathlib import Path

from sa2va_native.errors import CheckpointError, ConfigError
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


def require_repo(repo: str) -> None:
    """Checks the name of a repository before hours are spent on what goes there.

    Raises:
        ConfigError: the hub does not take such a name.
    """
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise ConfigError(f"--push {repo}: no name of a repository, such as you/my-sa2va ({error})") from error


def push(folder: Path, repo: str) -> str:
    """Uploads a directory, and makes a private repository for it if there is none.

    Returns:
        where it is.

    Raises:
        CheckpointError: the hub cannot be reached, or refuses; the directory stays.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        api.create_repo(repo, private=True, exist_ok=True)
        api.upload_folder(repo_id=repo, folder_path=folder, commit_message="Export of pseudo-gumbel")
    except Exception as error:  # of the hub's own kinds, those of its client for HTTP, and OSError
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"{folder} is written, but not pushed to {repo} ({reason}). Log in with `hf auth login`, then: "
            f"hf upload {repo} {folder}"
        ) from error
    return f"{api.endpoint}/{repo}"
