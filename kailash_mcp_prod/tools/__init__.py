"""Tools: their description, registry and the one way to call them."""
