"""How well, how fast and at what cost products are classified."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any, ClassVar

from models.constraints import COUNT, NOT_NEGATIVE, SHARE
from models.database import db
from models.enumerations import Currency


@db.model
class ClassificationMetrics:
    """One day's figures of one version of the classifier.

    Attributes:
        id: Primary key, for example metrics-2026-03-02; generated when not given.
        metric_date: Day the figures are for, in UTC.
        model_version: Classifier the figures are for; unique together with metric_date.
        total_count: Products classified.
        automatic_count: Of these, accepted without review.
        corrected_count: Of these, given another class by a person.
        cache_hit_count: Of these, answered from the cache.
        average_confidence: Mean confidence, from 0 to 1.
        accuracy: Share of reviewed classifications that were right, from 0 to 1.
        average_latency_ms: Mean time per product in milliseconds.
        p95_latency_ms: Time within which 95 of 100 products were done, in milliseconds.
        model_cost: What the day's model calls cost.
        cost_currency: Currency of model_cost.
        class_counts: Products by class code, for example {"EC000042": 17}.
    """

    id: str
    metric_date: date
    model_version: str
    total_count: int = 0
    automatic_count: int = 0
    corrected_count: int = 0
    cache_hit_count: int = 0
    average_confidence: float | None = None
    accuracy: float | None = None
    average_latency_ms: int | None = None
    p95_latency_ms: int | None = None
    model_cost: Decimal | None = None
    cost_currency: Currency = Currency.USD
    class_counts: dict[str, int] | None = None

    # The plural DataFlow would derive is "classification_metricses".
    __tablename__ = "classification_metrics"
    __dataflow__: ClassVar[dict[str, Any]] = {
        "indexes": [
            {
                "name": "uq_classification_metrics_day",
                "fields": ["metric_date", "model_version"],
                "unique": True,
            },
        ]
    }
    __validation__: ClassVar[dict[str, Any]] = {
        "model_version": {"min_length": 1, "max_length": 100},
        "total_count": COUNT,
        "automatic_count": COUNT,
        "corrected_count": COUNT,
        "cache_hit_count": COUNT,
        "average_confidence": SHARE,
        "accuracy": SHARE,
        "average_latency_ms": COUNT,
        "p95_latency_ms": COUNT,
        "model_cost": NOT_NEGATIVE,
    }
