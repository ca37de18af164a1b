"""Looks at everything that a server needs, and says what to do about what is not well."""

from kailash_mcp_prod.doctor.examination import examine
from kailash_mcp_prod.doctor.finding import Finding, Status
from kailash_mcp_prod.doctor.patient import Patient

__all__ = ["Finding", "Patient", "Status", "examine"]
