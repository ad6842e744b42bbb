# The serving image: no torch, no compiler, not root.
#
#   docker build -t menagerie .                          CPU
#   docker build -t menagerie --build-arg EXTRAS=cuda .  CUDA, with CUDA and cuDNN as wheels; run with --gpus all
#
#   docker run --init -p 127.0.0.1:8001:8001 -p 127.0.0.1:8002:8002 -v ./models:/models menagerie \
#       --insecure --repository /models
#
# The server listens on all interfaces of the container, so it wants to be told how that is safe: --insecure where only a
# trusted network reaches them, or --tls-certificate and --tls-key (then MENAGERIE_TLS_CA and MENAGERIE_TLS_SERVER_NAME
# tell the health check what to trust).
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
ARG EXTRAS=""
WORKDIR /src
RUN python -m venv /opt/menagerie
# First what the project needs, without the project: a layer that lasts until pyproject.toml changes.
COPY pyproject.toml ./
RUN touch README.md LICENSE && /opt/menagerie/bin/pip install --no-cache-dir ".${EXTRAS:+[$EXTRAS]}"
COPY README.md LICENSE ./
COPY protos protos
COPY service service
COPY training training
COPY zoo zoo
RUN /opt/menagerie/bin/pip install --no-cache-dir --no-deps --force-reinstall .

FROM python:${PYTHON}-slim
RUN useradd --system --uid 10001 --no-create-home menagerie
COPY --from=build /opt/menagerie /opt/menagerie
# By number, so that Kubernetes can tell that it is not root.
USER 10001
ENV PATH=/opt/menagerie/bin:$PATH \
    PYTHONUNBUFFERED=1
EXPOSE 8001 8002
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s \
    CMD ["python", "-m", "service.client.health", "127.0.0.1:8001"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["menagerie-serve", "--host", "0.0.0.0"]
