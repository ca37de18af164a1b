"""Products' ETIM classes: the current one, how it came about, and answers worth keeping."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from models.constraints import (
    COUNT,
    DEFAULT_ETIM_RELEASE,
    ETIM_CLASS,
    ETIM_RELEASE,
    LONG_TEXT,
    NAME,
    SHARE,
    SHORT_TEXT,
)
from models.database import db
from models.enumerations import ChangeType, ClassificationMethod, ClassificationStatus


@db.model
class ProductClassification:
    """The ETIM class a product was given in one release of the standard.

    Attributes:
        id: Primary key, for example classification-mcb-16a; generated when not given.
        product_code: Manufacturer's article number.
        product_name: Short name from the catalogue.
        product_description: Text the classification was made from.
        manufacturer: Manufacturer's name; with product_code and etim_release it is unique.
        company_id: Company whose catalogue the product is in.
        etim_class: Class code, EC and six digits, for example EC000042.
        etim_release: Release of the standard the code is from.
        confidence: Estimated probability that the class is right, from 0 to 1.
        classification_method: What found the class.
        status: How far the class can be relied on.
        alternatives: Runners-up, best first, each with the keys etim_class and confidence.
        feature_values: Values read from the description by feature code, for example
            {"EF000227": 16}.
        needs_review: Whether a person should look at it.
        reviewed_by_id: User who confirmed or rejected the class.
        classified_at: Instant of the classification.
    """

    id: str
    product_code: str
    product_name: str
    product_description: str | None = None
    manufacturer: str
    company_id: str | None = None
    etim_class: str
    etim_release: str = DEFAULT_ETIM_RELEASE
    confidence: float
    classification_method: ClassificationMethod = ClassificationMethod.MODEL
    status: ClassificationStatus = ClassificationStatus.PENDING
    alternatives: list[dict[str, Any]] | None = None
    feature_values: dict[str, Any] | None = None
    needs_review: bool = False
    reviewed_by_id: str | None = None
    classified_at: datetime | None = None

    __dataflow__: ClassVar[dict[str, Any]] = {
        "indexes": [
            {
                "name": "uq_product_classifications_product",
                "fields": ["manufacturer", "product_code", "etim_release"],
                "unique": True,
            },
            {"name": "ix_product_classifications_class", "fields": ["etim_class"], "unique": False},
            {
                "name": "ix_product_classifications_review",
                "fields": ["needs_review", "status"],
                "unique": False,
            },
        ]
    }
    __validation__: ClassVar[dict[str, Any]] = {
        "product_code": {"min_length": 1, "max_length": 80},
        "product_name": NAME,
        "product_description": LONG_TEXT,
        "manufacturer": NAME,
        "etim_class": ETIM_CLASS,
        "etim_release": ETIM_RELEASE,
        "confidence": SHARE,
    }


@db.model
class ClassificationHistory:
    """One change to a product's classification, kept for audits.

    Attributes:
        id: Primary key, for example history-0001; generated when not given.
        classification_id: Classification that changed.
        change_type: What happened.
        previous_class: Class code before; null when the classification was created.
        new_class: Class code after, for example EC000042.
        previous_confidence: Confidence before, from 0 to 1.
        new_confidence: Confidence after, from 0 to 1.
        reason: Why it was changed, in words.
        rule_id: Rule that caused the change, if one did.
        changed_by_id: User who made the change; null when an agent did.
        agent_id: Agent that made the change; null when a user did.
        changed_at: Instant of the change.
        details: Further facts, for example {"release": "ETIM-9.0"}.
    """

    id: str
    classification_id: str
    change_type: ChangeType
    previous_class: str | None = None
    new_class: str
    previous_confidence: float | None = None
    new_confidence: float | None = None
    reason: str | None = None
    rule_id: str | None = None
    changed_by_id: str | None = None
    agent_id: str | None = None
    changed_at: datetime
    details: dict[str, Any] | None = None

    __dataflow__: ClassVar[dict[str, Any]] = {
        "indexes": [
            {
                "name": "ix_classification_histories_change",
                "fields": ["classification_id", "changed_at"],
                "unique": False,
            },
        ]
    }
    __validation__: ClassVar[dict[str, Any]] = {
        "previous_class": ETIM_CLASS,
        "new_class": ETIM_CLASS,
        "previous_confidence": SHARE,
        "new_confidence": SHARE,
        "reason": LONG_TEXT,
        "agent_id": SHORT_TEXT,
    }


@db.model
class ClassificationCache:
    """A remembered answer, so that the same product text is not classified twice.

    Attributes:
        id: Primary key, for example cache-0001; generated when not given.
        cache_key: SHA-256 of normalised text and release in 64 lower-case hexadecimal digits, for
            example e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855; no two
            entries share one.
        input_text: Product text that was classified.
        etim_class: Class code that was answered, for example EC000042.
        etim_release: Release of the standard the code is from.
        confidence: Estimated probability that the class is right, from 0 to 1.
        feature_values: Values read from the text, by feature code.
        model_version: Classifier that gave the answer, for example etim-classifier-3.2.
        hit_count: How often the entry has been used.
        last_hit_at: Instant of the last use.
        expires_at: Instant from which the entry must not be used.
    """

    id: str
    cache_key: str
    input_text: str
    etim_class: str
    etim_release: str = DEFAULT_ETIM_RELEASE
    confidence: float
    feature_values: dict[str, Any] | None = None
    model_version: str | None = None
    hit_count: int = 0
    last_hit_at: datetime | None = None
    expires_at: datetime

    __dataflow__: ClassVar[dict[str, Any]] = {
        "indexes": [
            {"name": "uq_classification_caches_key", "fields": ["cache_key"], "unique": True},
            {
                "name": "ix_classification_caches_expiry",
                "fields": ["expires_at"],
                "unique": False,
            },
        ]
    }
    __validation__: ClassVar[dict[str, Any]] = {
        "cache_key": {"pattern": r"^[0-9a-f]{64}$"},
        "input_text": {"min_length": 1, "max_length": 4000},
        "etim_class": ETIM_CLASS,
        "etim_release": ETIM_RELEASE,
        "confidence": SHARE,
        "model_version": SHORT_TEXT,
        "hit_count": COUNT,
    }
