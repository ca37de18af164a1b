"""`python -m kailash_mcp_prod` is the command `kailash-mcp-prod`."""

from kailash_mcp_prod.cli import main

if __name__ == "__main__":
    main()
