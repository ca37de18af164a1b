# The server, and with the default target the reference application too. docs/containers.md says how
# to put an application of one's own on the target `runtime`.

FROM python:3.12.13-slim-trixie AS build
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python -m venv /opt/venv
# The lock changes less often than the code, so what it names is a layer of its own.
COPY requirements.lock ./
RUN /opt/venv/bin/pip install --no-deps --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY kailash_mcp_prod ./kailash_mcp_prod
RUN /opt/venv/bin/python -m hatchling build --target wheel --directory /dist
RUN /opt/venv/bin/pip install --no-deps --no-index /dist/*.whl

FROM python:3.12.13-slim-trixie AS runtime
LABEL org.opencontainers.image.title="kailash-mcp-prod" \
      org.opencontainers.image.description="A production MCP server for Kailash DataFlow applications" \
      org.opencontainers.image.licenses="Apache-2.0"
# Only /data and /tmp are written to. DataFlow and SQLite use the working directory.
RUN groupadd --gid 10001 mcp \
    && useradd --no-log-init --uid 10001 --gid mcp --home-dir /data --no-create-home mcp \
    && install --directory --owner mcp --group mcp --mode 0700 /data
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/data \
    XDG_CACHE_HOME=/tmp/cache \
    MCP_HOST=0.0.0.0 \
    MCP_PORT=3001 \
    MCP_LOG_FORMAT=json \
    MCP_WAIT_FOR_DB=60
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
