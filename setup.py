"""Package metadata. Versions live in requirements/, tool settings in pyproject.toml."""

from __future__ import annotations

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def requirements(name: str) -> list[str]:
    """The requirements of ``requirements/<name>.txt``, without comments and blank lines."""
    lines = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in (raw.partition("#")[0].strip() for raw in lines) if line]


setup(
    name="pseudo-gumbel",
    version="0.1.0.dev0",
    description="Teach a grounding model from masks without captions, through its own discrete captions",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="The pseudo-gumbel authors",
    license="Apache-2.0",
    python_requires=">=3.11,<3.13",  # 3.13 is above what XTuner 0.2.0 accepts
    package_dir={"": "projects"},
    packages=find_packages("projects"),
    # XTuner itself is not in this list: its pins conflict with ours (see requirements/xtuner.txt).
    install_requires=requirements("runtime"),
    extras_require={
        "test": requirements("test"),
        "lint": requirements("lint"),
        "flash": requirements("flash"),
        "video": requirements("video"),
    },
)
