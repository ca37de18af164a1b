# The server, and with the default target the reference application too. docs/containers.md says how
# to put an application of one's own on the target `runtime`.

FROM python:3.12.13-slim-trixie AS build
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
# What builds the wheel, pip too, has an environment of its own and stays behind.
RUN python -m venv /opt/build
RUN python -m venv --without-pip /opt/venv
# The locks change less often than the code, so what they name are layers of their own.
COPY requirements.lock requirements-build.lock ./
RUN /opt/build/bin/pip install --no-deps --require-hashes -r requirements-build.lock
RUN /opt/build/bin/pip --python /opt/venv/bin/python install --no-deps --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY kailash_mcp_prod ./kailash_mcp_prod
RUN /opt/build/bin/python -m hatchling build --target wheel --directory /dist
RUN /opt/build/bin/pip --python /opt/venv/bin/python install --no-deps --no-index /dist/*.whl

FROM python:3.12.13-slim-trixie AS runtime
LABEL org.opencontainers.image.title="kailash-mcp-prod" \
      org.opencontainers.image.description="A production MCP server for Kailash DataFlow applications" \
      org.opencontainers.image.licenses="Apache-2.0"
# The base has a pip, and another one in ensurepip. Nothing is installed into a container that runs.
RUN python -m pip uninstall --yes --root-user-action=ignore pip \
    && rm -rf /usr/local/lib/python3.12/ensurepip
# Only /data and /tmp are written to. DataFlow and SQLite use the working directory.
RUN groupadd --gid 10001 mcp \
    && useradd --no-log-init --uid 10001 --gid mcp --home-dir /data --no-create-home mcp \
    && install --directory --owner mcp --group mcp --mode 0700 /data
COPY --from=build /opt/venv /opt/venv
# Variables go before any file, so what the image says is a file: to mount another one replaces it.
COPY deploy/docker/settings.jsonc /etc/kailash-mcp-prod/settings.jsonc
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/data \
    XDG_CACHE_HOME=/tmp/cache \
    MCP_CONFIG_FILE=/etc/kailash-mcp-prod/settings.jsonc
WORKDIR /data
VOLUME /data
USER 10001:10001
EXPOSE 3001 3002
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=6s --start-period=90s --retries=3 CMD ["kailash-mcp-prod", "health"]
ENTRYPOINT ["kailash-mcp-prod"]
CMD ["serve"]

FROM runtime AS reference
COPY models /app/models
COPY workflows /app/workflows
