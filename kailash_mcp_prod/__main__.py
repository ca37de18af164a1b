"""The command `kailash-mcp-prod`, and `python -m kailash_mcp_prod`."""

import sys


def main() -> None:
    """Run the command."""
    _import_structlog()
    from kailash_mcp_prod.cli import main as command

    command()


def _import_structlog() -> None:
    # It takes rich along where that is installed, for tracebacks that we write in another way. To
    # import it is a fifteenth of what a start over stdio takes.
    if sys.modules.get("rich") is None:
        sys.modules["rich"] = None  # type: ignore[assignment]
        try:
            import structlog  # noqa: F401
        finally:
            del sys.modules["rich"]


if __name__ == "__main__":
    main()
