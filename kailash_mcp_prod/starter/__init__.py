"""A starter application: models, settings and clients that work as they are written."""

from kailash_mcp_prod.starter.files_of import starter_files
from kailash_mcp_prod.starter.writing import write_new

__all__ = ["starter_files", "write_new"]
