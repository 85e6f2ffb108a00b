# docker build .                  a CPU image: no compiler, no training extras, not run as root
# docker build --target gpu .     the same with CUDA wheels
# docker build --target ray .     the CPU image for a node of a Ray cluster: docs/scaling.md
ARG PYTHON=python:3.12-slim

# The dependencies alone, so that they are installed again only when they change, and not for every new version of the code. Each
# file is compared with its hash in requirements/. pyvips has no wheel; the pinned setuptools builds it.
FROM ${PYTHON} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python3 -m venv /opt/chromaroute
ENV PATH=/opt/chromaroute/bin:$PATH
WORKDIR /src
COPY requirements requirements
RUN pip install --no-deps --require-hashes --only-binary :all: --requirement requirements/base.txt \
    && pip install --no-deps --require-hashes --no-build-isolation --requirement requirements/source.txt

FROM build AS build-cpu
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --no-deps --require-hashes --only-binary :all: --extra-index-url "${TORCH_INDEX}" \
        --requirement requirements/torch-cpu.txt \
    && pip check && pip uninstall --yes pip

FROM build AS build-gpu
RUN pip install --no-deps --require-hashes --only-binary :all: --requirement requirements/torch-cuda.txt \
    && pip check && pip uninstall --yes pip

FROM build AS build-ray
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --no-deps --require-hashes --only-binary :all: --extra-index-url "${TORCH_INDEX}" \
        --requirement requirements/torch-cpu.txt --requirement requirements/scale.txt \
    && pip check && pip uninstall --yes pip

# The code, in a layer of its own: a new version does not transfer the dependencies again
FROM build AS code
COPY pyproject.toml README.md LICENSE ./
COPY chromaroute chromaroute
COPY models models
COPY app app
RUN pip install --no-deps --no-build-isolation --compile --target /opt/code . && rm /opt/code/bin/chromaroute-train

FROM ${PYTHON} AS runtime
# libgomp runs torch's threads; Debian keeps one version of it at a time, so that a pinned one would break the build
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin chromaroute \
    && install --directory --owner=chromaroute /data
ENV PATH=/opt/code/bin:/opt/chromaroute/bin:$PATH PYTHONPATH=/opt/code PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    CHROMAROUTE_DATA_DIR=/data CHROMAROUTE_CACHE_DIR=/data/cache CHROMAROUTE_LOG_FORMAT=json
USER 10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=3s --start-period=30s \
    CMD ["python3", "-c", "from urllib.request import *; build_opener(ProxyHandler({})).open('http://127.0.0.1:8000/readyz', timeout=2)"]
# Without keys it refuses to listen on a network, unless CHROMAROUTE_ALLOW_ANONYMOUS=1 says that something else controls access
ENTRYPOINT ["chromaroute"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]

FROM runtime AS gpu
COPY --from=build-gpu /opt/chromaroute /opt/chromaroute
COPY --from=code /opt/code /opt/code
ENV CHROMAROUTE_DEVICE=cuda

FROM runtime AS ray
COPY --from=build-ray /opt/chromaroute /opt/chromaroute
COPY --from=code /opt/code /opt/code
# Ray writes to /tmp and to the home of its user
ENV HOME=/tmp RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=token \
    RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=app.cluster.proxy:middlewares
EXPOSE 6379 8265
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD ["ray", "health-check"]
ENTRYPOINT ["ray"]
CMD ["start", "--head", "--block", "--dashboard-host=0.0.0.0"]

FROM runtime AS cpu
COPY --from=build-cpu /opt/chromaroute /opt/chromaroute
COPY --from=code /opt/code /opt/code
