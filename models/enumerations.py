"""Closed sets of values, as `StrEnum` so that SQL defaults are written as the plain value.

A `class X(str, Enum)` would be formatted as `X.MEMBER` into the column default.
"""

from __future__ import annotations

from enum import StrEnum


class Currency(StrEnum):
    """Currencies that are traded in, by ISO 4217 code."""

    EUR = "EUR"
    USD = "USD"
    GBP = "GBP"
    CHF = "CHF"
    SGD = "SGD"


class CompanyType(StrEnum):
    """A company's place in the supply chain."""

    DISTRIBUTOR = "distributor"
    MANUFACTURER = "manufacturer"
    WHOLESALER = "wholesaler"
    CONTRACTOR = "contractor"


class UserRole(StrEnum):
    """What a user does in the application."""

    ADMIN = "admin"
    MANAGER = "manager"
    SALES = "sales"
    CLASSIFIER = "classifier"
    VIEWER = "viewer"


class CustomerSegment(StrEnum):
    """The market a customer belongs to."""

    RESIDENTIAL = "residential"
    COMMERCIAL = "commercial"
    INDUSTRIAL = "industrial"
    PUBLIC_SECTOR = "public_sector"
    RESELLER = "reseller"


class QuoteStatus(StrEnum):
    """The life of a quote; the last three are final."""

    DRAFT = "draft"
    SENT = "sent"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    EXPIRED = "expired"


class ClassificationMethod(StrEnum):
    """What found a product's class."""

    RULE = "rule"
    MODEL = "model"
    CACHE = "cache"
    MANUAL = "manual"


class ClassificationStatus(StrEnum):
    """How far a classification can be relied on."""

    PENDING = "pending"
    CONFIRMED = "confirmed"
    REJECTED = "rejected"
    SUPERSEDED = "superseded"


class ChangeType(StrEnum):
    """What happened to a classification."""

    CREATED = "created"
    RECLASSIFIED = "reclassified"
    CONFIRMED = "confirmed"
    REJECTED = "rejected"


class RuleMatchType(StrEnum):
    """How a rule recognises a product."""

    KEYWORD = "keyword"
    PATTERN = "pattern"
    MANUFACTURER = "manufacturer"


class FeedbackVerdict(StrEnum):
    """A person's judgement of a classification."""

    CORRECT = "correct"
    PARTLY_CORRECT = "partly_correct"
    INCORRECT = "incorrect"
    UNSURE = "unsure"


class FeatureType(StrEnum):
    """The four feature types of ETIM, which abbreviates them to A, L, N and R."""

    ALPHANUMERIC = "alphanumeric"
    LOGICAL = "logical"
    NUMERIC = "numeric"
    RANGE = "range"


class DocumentType(StrEnum):
    """What a document is in the business."""

    QUOTE_REQUEST = "quote_request"
    PURCHASE_ORDER = "purchase_order"
    PRICE_LIST = "price_list"
    DATASHEET = "datasheet"
    CERTIFICATE = "certificate"
    OTHER = "other"


class DocumentStatus(StrEnum):
    """How far a document has been processed."""

    UPLOADED = "uploaded"
    PROCESSING = "processing"
    PROCESSED = "processed"
    FAILED = "failed"
    ARCHIVED = "archived"


class ProcessingTask(StrEnum):
    """A step of document processing."""

    EXTRACT_TEXT = "extract_text"
    EXTRACT_PRODUCTS = "extract_products"
    CLASSIFY_PRODUCTS = "classify_products"
    RENDER_THUMBNAIL = "render_thumbnail"


class QueueStatus(StrEnum):
    """The state of a queued task; the last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
