# The worker's images; docs/docker.md tells how to build and run them.
#   docker build --target cpu  -t clip-worker:cpu .
#   docker build --target cuda -t clip-worker:cuda .     (the default; runs on CPUs too)
# Other targets, on top of --build-arg VARIANT=cpu or cuda:
#   demo     a Redis too: docker run --rm clip-worker:demo
#   model    a model in the image: MODEL, or a file with --build-context checkpoint=FOLDER
#   sbom     writes the list of the image's packages (CycloneDX)
ARG PYTHON_IMAGE=python:3.12-slim
ARG VARIANT=cuda

# hadolint ignore=DL3006
FROM ${PYTHON_IMAGE} AS requirements
WORKDIR /source
COPY pyproject.toml constraints.txt ./
COPY scripts/image_requirements.py scripts/
# Of the package: models for those of the Hugging Face hub; s3, gcs, azure for object stores; watch
# for `clip-worker watch`; parquet, sql, xmp for what it writes; lancedb for embeddings on disk.
ARG EXTRAS=""
# The layers below are cached by the content of the files that they mount: an edit of pyproject.toml
# that changes no dependency leaves them alone, and only another version of torch rebuilds torch's
# own, which therefore mounts one file.
RUN python scripts/image_requirements.py /requirements "${EXTRAS}"

# hadolint ignore=DL3006
FROM ${PYTHON_IMAGE} AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY clip_engine clip_engine
COPY clip_worker clip_worker
COPY worker worker
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheel .

# hadolint ignore=DL3006
FROM ${PYTHON_IMAGE} AS system
# OpenShift runs it as a user of its own choice in group 0. A new volume at /var/lib/clip-worker,
# for results and journals, gets that folder's owner and rights.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --gid 0 --home-dir /var/cache/clip-worker --no-create-home clip \
    && install --directory --owner=10001 --group=0 --mode=2770 \
        /var/cache/clip-worker /var/lib/clip-worker
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONUNBUFFERED=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    HOME=/var/cache/clip-worker \
    CLIP_WORKER_CACHE_DIR=/var/cache/clip-worker \
    HF_HOME=/var/cache/clip-worker/huggingface \
    TORCHINDUCTOR_CACHE_DIR=/var/cache/clip-worker/torchinductor \
    TRITON_CACHE_DIR=/var/cache/clip-worker/triton \
    CLIP_WORKER_METRICS_PORT=9108
WORKDIR /var/cache/clip-worker
VOLUME /var/cache/clip-worker
EXPOSE 9108
# Alive, also while the model loads or Redis is away: Swarm restarts what is unhealthy. The compose
# file asks for more: that tasks are taken.
HEALTHCHECK --interval=30s --timeout=10s --start-period=10m --start-interval=3s --retries=3 \
    CMD ["clip-worker", "health", "--live"]
STOPSIGNAL SIGTERM
# tini passes SIGTERM on while the model loads; Python as process 1 would ignore it then.
ENTRYPOINT ["tini", "--"]
CMD ["clip-worker", "start"]

FROM system AS torch-cpu
# The index of torch's builds for CPUs that PyTorch's installation page names.
ARG TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu
RUN --mount=type=bind,from=requirements,source=/requirements/torch-cpu.txt,target=/tmp/torch.txt \
    pip install --no-deps --index-url "${TORCH_INDEX_URL}" --requirement /tmp/torch.txt

FROM system AS torch-cuda
RUN --mount=type=bind,from=requirements,source=/requirements/torch-cuda.txt,target=/tmp/torch.txt \
    pip install --no-deps --requirement /tmp/torch.txt

FROM torch-cpu AS cpu
RUN --mount=type=bind,from=requirements,source=/requirements,target=/requirements \
    pip install --constraint /requirements/constraints.txt --requirement /requirements/worker.txt
RUN --mount=type=bind,from=wheel,source=/wheel,target=/wheel \
    pip install --no-deps /wheel/*.whl && pip check
USER 10001:0
ARG VERSION="" REVISION="" SOURCE=""
LABEL org.opencontainers.image.title="clip-worker (CPU)" \
    org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.source="${SOURCE}"

FROM torch-cuda AS cuda
RUN --mount=type=bind,from=requirements,source=/requirements,target=/requirements \
    pip install --constraint /requirements/constraints.txt --requirement /requirements/worker.txt
RUN --mount=type=bind,from=wheel,source=/wheel,target=/wheel \
    pip install --no-deps /wheel/*.whl && pip check
USER 10001:0
ARG VERSION="" REVISION="" SOURCE=""
LABEL org.opencontainers.image.title="clip-worker (CUDA)" \
    org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.source="${SOURCE}"

# hadolint ignore=DL3006
FROM ${VARIANT} AS demo
USER 0
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends redis-server \
    && rm -rf /var/lib/apt/lists/*
USER 10001:0
HEALTHCHECK NONE
CMD ["clip-worker", "demo"]

# A folder with a checkpoint takes this stage's place: --build-context checkpoint=FOLDER.
FROM scratch AS checkpoint
WORKDIR /

FROM ${VARIANT} AS model
USER 0
ENV CLIP_WORKER_CACHE_DIR=/opt/clip-worker/models \
    HF_HOME=/opt/clip-worker/models/huggingface
COPY --from=checkpoint / /opt/clip-worker/checkpoint/
# A model's name, or /opt/clip-worker/checkpoint/FILE and its hash.
ARG MODEL=ViT-B/32
ARG MODEL_SHA256=""
RUN if [ -e "${MODEL}" ]; then \
        echo "${MODEL_SHA256:?is the hash of MODEL}  ${MODEL}" > /tmp/sums \
        && sha256sum --check --strict /tmp/sums && rm /tmp/sums; \
    else \
        clip-worker models download "${MODEL}"; \
    fi
ENV CLIP_WORKER_MODEL=${MODEL} \
    CLIP_WORKER_OFFLINE=true
USER 10001:0

FROM ${VARIANT} AS scan
# hadolint ignore=DL3002
USER 0
RUN python -m venv /scanner && /scanner/bin/pip install cyclonedx-bom==7.5.0 \
    && /scanner/bin/cyclonedx-py environment --output-file /clip-worker.cdx.json \
        "$(command -v python)"

FROM scratch AS sbom
COPY --from=scan /clip-worker.cdx.json /

# hadolint ignore=DL3006
FROM ${VARIANT}
