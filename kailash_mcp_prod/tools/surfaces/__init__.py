"""Which tools a client is shown of the one registry, and what their calls come to."""
