# The environment of `make install`, for a user without root. docs/install.md has the commands.
# One argument: the torch wheel of the default index brings CUDA and runs on a CPU too; TORCH_INDEX names an index with
# smaller wheels for CPUs alone.
FROM python:3.11.14-slim-bookworm

# OpenCV opens these when it is imported. Their versions are those of the base image's release.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 user \
    && install --directory --owner=user --group=user /workspace

USER 1000
WORKDIR /workspace
ENV VIRTUAL_ENV=/workspace/.venv \
    PATH=/workspace/.venv/bin:$PATH \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1

# What changes rarely comes first: a change of the code does not install the packages again.
COPY --chown=user:user requirements.txt ./
COPY --chown=user:user requirements requirements
ARG TORCH_INDEX=
RUN python -m venv .venv \
    && if [ -n "$TORCH_INDEX" ]; then \
        grep --no-filename -E '^torch(vision)?==' requirements/*.txt > torch.txt \
        && PIP_INDEX_URL="$TORCH_INDEX" pip install -r torch.txt \
        && rm torch.txt; \
    fi \
    && pip install -r requirements.txt \
    && pip install --no-deps -r requirements/xtuner.txt

COPY --chown=user:user . .
RUN pip install --no-deps --no-build-isolation --editable .

CMD ["pseudo-gumbel", "--help"]
