# CPU: make docker. With a GPU: make docker DOCKER_TARGET=cuda, then docker run --gpus all.
#   docker run --rm -v "$PWD:/work" equiview:cpu demo --out runs/demo
ARG PYTHON=3.12

FROM python:${PYTHON}-slim-bookworm AS wheel
RUN pip install --no-cache-dir build
WORKDIR /src
COPY . .
ARG COMMIT=""
RUN EQUIVIEW_COMMIT="$COMMIT" python -m build --wheel --outdir /wheels

FROM python:${PYTHON}-slim-bookworm AS base
# embree, OpenCV and PyAV bring their libraries; glib is what OpenCV's still asks of the system.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libglib2.0-0 libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home user \
    && mkdir /work /models \
    && chown user /work /models
# Hub models and adapters stay in a volume: docker run -v models:/models
ENV HF_HOME=/models PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
ARG EXTRAS=video,cv,colmap,mesh
WORKDIR /work

FROM base AS cpu
COPY constraints.txt /tmp/constraints.txt
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    pip install --extra-index-url https://download.pytorch.org/whl/cpu -c /tmp/constraints.txt \
    "$(ls /wheels/*.whl)[${EXTRAS}]"
USER user
ENTRYPOINT ["equiview"]
CMD ["--help"]

FROM base AS cuda
COPY constraints.txt /tmp/constraints.txt
# PyPI's torch brings CUDA; the host brings the driver. EGL is for --renderer gl.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libegl1 libgl1 \
    && rm -rf /var/lib/apt/lists/*
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    pip install -c /tmp/constraints.txt "$(ls /wheels/*.whl)[gl,${EXTRAS}]"
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility,graphics
USER user
ENTRYPOINT ["equiview"]
CMD ["--help"]
