# The worker. Without build arguments torch comes with CUDA, which runs on CPUs too (about 6 GB).
#   TORCH_INDEX_URL   package index of another torch build, such as the much smaller one for CPUs
#                     that PyTorch's installation page names
#   EXTRAS            of the package, separated by commas: models for those of the Hugging Face hub;
#                     s3, gcs, azure for pictures in object stores
FROM python:3.12-slim

RUN apt-get update \
    && apt-get install --yes --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 clip \
    && install --directory --owner=clip /var/cache/clip-worker

ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    CLIP_WORKER_CACHE_DIR=/var/cache/clip-worker \
    HF_HOME=/var/cache/clip-worker/huggingface

WORKDIR /app
# Dependencies first: a change of the code then leaves the layer with torch alone.
COPY pyproject.toml constraints.txt ./
ARG TORCH_INDEX_URL=""
RUN if [ -n "$TORCH_INDEX_URL" ]; then \
        pip install --index-url "$TORCH_INDEX_URL" --constraint constraints.txt torch torchvision; \
    fi \
    && python -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; print(*p["dependencies"], *p["optional-dependencies"]["worker"], sep="\n")' \
        > /tmp/dependencies.txt \
    && pip install --constraint constraints.txt --requirement /tmp/dependencies.txt \
    && rm /tmp/dependencies.txt

COPY README.md LICENSE ./
COPY clip_engine clip_engine
COPY clip_worker clip_worker
COPY worker worker
COPY scripts/container_health.py /usr/local/lib/clip-worker/container_health.py
ARG EXTRAS=""
RUN pip install --constraint constraints.txt ".[worker${EXTRAS:+,$EXTRAS}]" && rm -r /app/*

USER clip
VOLUME /var/cache/clip-worker
# The model is downloaded at the first start, hence the long patience there.
HEALTHCHECK --interval=30s --timeout=20s --start-period=10m --retries=3 \
    CMD ["python", "/usr/local/lib/clip-worker/container_health.py"]
# tini passes SIGTERM on while the model loads; Python as process 1 would ignore it then.
ENTRYPOINT ["tini", "--"]
CMD ["clip-worker", "start"]
