# An application of one's own: a package `shop` beside this file, whose `db` is a DataFlow instance.
# First: docker build --target runtime --tag kailash-mcp-prod:runtime .
ARG SERVER=kailash-mcp-prod:runtime
FROM ${SERVER}
COPY shop /app/shop
ENV MCP_MODELS=shop:db
