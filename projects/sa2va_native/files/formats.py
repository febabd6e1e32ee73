"""What a file is that does not hold what its name says."""

from __future__ import annotations

from pathlib import Path

_GIT_LFS = b"version https://git-lfs.github.com/spec/"
#: After two bytes for the protocol of the pickle: torch's magic number.
_OLD_TORCH = b"\x8a\x0a" + bytes.fromhex("6cfc9c46f9206aa85019")


def other_format(path: Path) -> str | None:
    """Known formats that stand for weights, or once did, by their first bytes.

    Returns:
        what the file is, to be read after its name, with a remedy; None if it is none of them.
    """
    try:
        with path.open("rb") as file:
            start = file.read(len(_GIT_LFS))
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if start == _GIT_LFS:
        return "is a pointer of Git LFS and not the weights; run `git lfs pull` in its repository"
    if start[2:].startswith(_OLD_TORCH):
        return (
            "has the format that torch.save wrote before version 1.6, which is not read here; read it with "
            "torch.load(..., weights_only=True) and save it again"
        )
    return None
