"""The blocks of content that the suite's fixtures are made of."""

from __future__ import annotations

from typing import Any

# One red pixel, and 44 bytes of header without a sample.
PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8"
    "z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
)
WAV = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA="

Block = dict[str, Any]

IMAGE: Block = {"type": "image", "data": PNG, "mimeType": "image/png"}
AUDIO: Block = {"type": "audio", "data": WAV, "mimeType": "audio/wav"}


def text(words: str) -> Block:
    return {"type": "text", "text": words}


def embedded(uri: str, mime_type: str, words: str) -> Block:
    return {"type": "resource", "resource": {"uri": uri, "mimeType": mime_type, "text": words}}


def form(**properties: dict[str, Any]) -> dict[str, Any]:
    """A form of an elicitation with these fields, all of them required."""
    return {"type": "object", "properties": properties, "required": list(properties)}
