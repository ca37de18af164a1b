"""The part of the ETIM standard the classifier needs: the features of each class."""

from __future__ import annotations

from typing import Any, ClassVar

from models.constraints import (
    COUNT,
    DEFAULT_ETIM_RELEASE,
    ETIM_CLASS,
    ETIM_FEATURE,
    ETIM_RELEASE,
    ETIM_UNIT,
    LONG_TEXT,
    NAME,
)
from models.database import db
from models.enumerations import FeatureType


@db.model
class ETIMAttribute:
    """A feature that describes the products of one ETIM class.

    Attributes:
        id: Primary key, for example etim-EC000042-EF000227; generated when not given.
        etim_class: Class code, for example EC000042; with feature_code it is unique.
        class_name: English name of the class.
        feature_code: Feature code, for example EF000227.
        feature_name: English name of the feature.
        feature_type: Kind of value the feature takes.
        unit_code: Unit code, EU and six digits; null for features without a unit.
        unit_symbol: Symbol of the unit, for example A, kW or mm.
        allowed_values: English names of the values an alphanumeric feature may take.
        etim_release: Release of the standard the codes are from.
        sort_order: Position of the feature within its class, from 1.
        is_required: Whether quotes must state the feature.
        description: Definition of the feature in words.
        translations: Names of the feature by language, for example {"de": "Bemessungsstrom"}.
    """

    id: str
    etim_class: str
    class_name: str
    feature_code: str
    feature_name: str
    feature_type: FeatureType
    unit_code: str | None = None
    unit_symbol: str | None = None
    allowed_values: list[str] | None = None
    etim_release: str = DEFAULT_ETIM_RELEASE
    sort_order: int = 1
    is_required: bool = False
    description: str | None = None
    translations: dict[str, str] | None = None

    __dataflow__: ClassVar[dict[str, Any]] = {
        "indexes": [
            {
                "name": "uq_etim_attributes_feature",
                "fields": ["etim_class", "feature_code"],
                "unique": True,
            },
            {
                "name": "ix_etim_attributes_feature_code",
                "fields": ["feature_code"],
                "unique": False,
            },
        ]
    }
    __validation__: ClassVar[dict[str, Any]] = {
        "etim_class": ETIM_CLASS,
        "class_name": NAME,
        "feature_code": ETIM_FEATURE,
        "feature_name": NAME,
        "unit_code": ETIM_UNIT,
        "unit_symbol": {"min_length": 1, "max_length": 20},
        "etim_release": ETIM_RELEASE,
        "sort_order": COUNT,
        "description": LONG_TEXT,
    }
