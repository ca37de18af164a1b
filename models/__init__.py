"""Reference application: quoting and product classification for a technical wholesaler.

Thirteen DataFlow models of a heating, ventilation and electrical distributor that quotes from
customers' documents and classifies products by the ETIM standard. Serve them with
`kailash-mcp-prod serve --models models:db`. Importing this package opens no connection.
"""

from __future__ import annotations

from models.database import db

# The import order is the order of registration, and with it the order of the tools.
# isort: off
from models.organisation import Company, User
from models.sales import Customer, Quote
from models.classification import ClassificationCache, ClassificationHistory, ProductClassification
from models.learning import ClassificationFeedback, ClassificationRule
from models.etim import ETIMAttribute
from models.metrics import ClassificationMetrics
from models.documents import Document, DocumentProcessingQueue
# isort: on

__all__ = [
    "ClassificationCache",
    "ClassificationFeedback",
    "ClassificationHistory",
    "ClassificationMetrics",
    "ClassificationRule",
    "Company",
    "Customer",
    "Document",
    "DocumentProcessingQueue",
    "ETIMAttribute",
    "ProductClassification",
    "Quote",
    "User",
    "db",
]
