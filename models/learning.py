"""What people teach the classifier: rules written ahead and feedback given afterwards."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, ClassVar

from models.constraints import ETIM_CLASS, LONG_TEXT, NAME, PRIORITY, SHARE
from models.database import db
from models.enumerations import FeedbackVerdict, RuleMatchType


@db.model
class ClassificationRule:
    """A rule that gives matching products an ETIM class without asking the model.

    Attributes:
        id: Primary key, for example rule-mcb-keyword; generated when not given.
        name: Short name; no two rules share one.
        description: What the rule is for and where it fails.
        etim_class: Class code that matching products get, for example EC000042.
        match_type: How products are recognised; says which of the next three fields applies.
        keywords: Words of which one must occur in the product text.
        match_pattern: Regular expression the product text is searched for.
        manufacturer: Manufacturer all of whose products match.
        excluded_keywords: Words that prevent a match whatever the match type.
        confidence: Confidence of classifications made by the rule, from 0 to 1.
        priority: Order of evaluation from 0 to 1000, lower first.
        is_active: Whether the rule is applied.
        valid_from: First day the rule is applied; null means always.
        valid_until: Last day the rule is applied; null means for good.
        author_id: User who wrote the rule.
    """

    id: str
    name: str
    description: str | None = None
    etim_class: str
    match_type: RuleMatchType = RuleMatchType.KEYWORD
    keywords: list[str] | None = None
    match_pattern: str | None = None
    manufacturer: str | None = None
    excluded_keywords: list[str] | None = None
    confidence: float = 0.9
    priority: int = 100
    is_active: bool = True
    valid_from: date | None = None
    valid_until: date | None = None
    author_id: str | None = None

    __dataflow__: ClassVar[dict[str, Any]] = {
        "indexes": [
            {"name": "uq_classification_rules_name", "fields": ["name"], "unique": True},
            {
                "name": "ix_classification_rules_order",
                "fields": ["is_active", "priority"],
                "unique": False,
            },
        ]
    }
    __validation__: ClassVar[dict[str, Any]] = {
        "name": NAME,
        "description": LONG_TEXT,
        "etim_class": ETIM_CLASS,
        "match_pattern": {"min_length": 1, "max_length": 500},
        "manufacturer": NAME,
        "confidence": SHARE,
        "priority": PRIORITY,
    }


@db.model
class ClassificationFeedback:
    """A person's judgement of a classification, from which the classifier is improved.

    Attributes:
        id: Primary key, for example feedback-0001; generated when not given.
        classification_id: Classification that is judged.
        submitted_by_id: User who judges; a user judges a classification once.
        verdict: The judgement.
        suggested_class: Class code the user thinks right, when the verdict is not correct.
        rating: Satisfaction from 1 (useless) to 5 (excellent).
        remarks: Reasons in the user's words.
        evidence: Sources for the judgement, for example {"datasheet_id": "document-0002"}.
        is_resolved: Whether somebody has acted on the feedback.
        resolved_by_id: User who acted on it.
        resolved_at: Instant it was acted on.
        resolution: What was done.
    """

    id: str
    classification_id: str
    submitted_by_id: str
    verdict: FeedbackVerdict
    suggested_class: str | None = None
    rating: int | None = None
    remarks: str | None = None
    evidence: dict[str, Any] | None = None
    is_resolved: bool = False
    resolved_by_id: str | None = None
    resolved_at: datetime | None = None
    resolution: str | None = None

    __dataflow__: ClassVar[dict[str, Any]] = {
        "indexes": [
            {
                "name": "uq_classification_feedback_judge",
                "fields": ["classification_id", "submitted_by_id"],
                "unique": True,
            },
            {
                "name": "ix_classification_feedback_open",
                "fields": ["is_resolved"],
                "unique": False,
            },
        ]
    }
    __validation__: ClassVar[dict[str, Any]] = {
        "suggested_class": ETIM_CLASS,
        "rating": {"range": {"min": 1, "max": 5}},
        "remarks": LONG_TEXT,
        "resolution": LONG_TEXT,
    }
