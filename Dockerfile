# syntax=docker/dockerfile:1.7
# The serving image: docker build --target cpu . , or --target gpu . (NVIDIA Container Toolkit on the host).
# No PyTorch in either. All versions are those of constraints.txt; pip's records stay in the image, so that
# `docker buildx build --sbom=true` and scanners see every package.

# Raised by hand, with the next patch release of Python 3.11.
ARG PYTHON=3.11.14-slim-bookworm

FROM python:${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /source
RUN python -m venv /opt/rainpost
# What the service depends on first: this layer stays as long as the two files do.
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY service service

FROM build AS build-cpu
RUN /opt/rainpost/bin/pip install --constraint constraints.txt ".[cpu,oidc,tracing]"

FROM build AS build-gpu
RUN /opt/rainpost/bin/pip install --constraint constraints.txt ".[gpu,oidc,tracing]"

FROM python:${PYTHON} AS runtime
LABEL org.opencontainers.image.title="Rainpost" \
      org.opencontainers.image.description="Precipitation post-processor for regional numerical weather prediction" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --system --gid 10001 rainpost \
    && useradd --system --uid 10001 --gid rainpost --home-dir /var/lib/rainpost --shell /usr/sbin/nologin rainpost \
    && install --directory --owner rainpost --group rainpost \
       /var/lib/rainpost /var/lib/rainpost/data /var/lib/rainpost/inbox /var/lib/rainpost/observations
COPY models /opt/models
ENV PATH=/opt/rainpost/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    MPLCONFIGDIR=/tmp/matplotlib \
    RAINPOST_HOST=0.0.0.0 \
    RAINPOST_ACCESS=protected \
    RAINPOST_MODELS_FOLDER=/opt/models \
    RAINPOST_DATA_FOLDER=/var/lib/rainpost/data
WORKDIR /var/lib/rainpost
USER 10001:10001
EXPOSE 8000
VOLUME ["/var/lib/rainpost/data"]
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=8)"]
# Longer than RAINPOST_SHUTDOWN_GRACE_SECONDS has docker wait: stop_grace_period in docker-compose.yml.
STOPSIGNAL SIGTERM
CMD ["rainpost", "serve"]

FROM runtime AS gpu
ENV RAINPOST_PROVIDER=cuda \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=build-gpu /opt/rainpost /opt/rainpost

# The last one is what docker build makes without --target.
FROM runtime AS cpu
COPY --from=build-cpu /opt/rainpost /opt/rainpost
