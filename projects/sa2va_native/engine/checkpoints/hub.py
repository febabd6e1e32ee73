"""Uploads an exported directory to the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.utils import HFValidationError, validate_repo_id

from sa2va_native.errors import CheckpointError, ConfigError


def require_repo(repo: str) -> None:
    """Checks the name of a repository before hours are spent on what goes there.

    Raises:
        ConfigError: the hub does not take such a name.
    """
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
