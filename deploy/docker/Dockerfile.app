# An application of one's own: a package `shop` beside this file, whose `db` is a DataFlow instance,
# and settings.jsonc, which begins as deploy/docker/settings.jsonc and adds "models": "shop:db".
# First: docker build --target runtime --tag kailash-mcp-prod:runtime .
ARG SERVER=kailash-mcp-prod:runtime
FROM ${SERVER}
COPY shop /app/shop
COPY settings.jsonc /etc/kailash-mcp-prod/settings.jsonc
