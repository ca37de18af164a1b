"""The one place that holds the version; hatchling reads it when it builds."""

__version__ = "0.1.0"
