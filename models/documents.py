"""Documents that come in, and the work that turns them into quotes and classifications."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from models.constraints import COUNT, LONG_TEXT, PRIORITY, SHARE, SHORT_TEXT
from models.database import db
from models.enumerations import DocumentStatus, DocumentType, ProcessingTask, QueueStatus


@db.model
class Document:
    """A file received from or sent to a business partner.

    Attributes:
        id: Primary key, for example document-0001; generated when not given.
        file_name: Name of the file with its extension.
        document_type: What the document is in the business.
        status: How far it has been processed.
        mime_type: Media type, for example application/pdf.
        size_bytes: Size of the file in bytes.
        sha256: SHA-256 of the content, 64 lower-case hexadecimal digits; no two documents
            share one.
        storage_key: Where the content is kept in the object store.
        external_uuid: Identifier in the document management system.
        company_id: Company the document belongs to.
        customer_id: Customer the document is from or for.
        quote_id: Quote the document led to or was made from.
        uploaded_by_id: User who uploaded it; null when it came by e-mail.
        received_at: Instant of arrival.
        thumbnail: Small picture of the first page, PNG or GIF.
        extracted: Facts found in the text, for example {"project": "School extension"}.
    """

    id: str
    file_name: str
    document_type: DocumentType = DocumentType.OTHER
    status: DocumentStatus = DocumentStatus.UPLOADED
    mime_type: str | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    storage_key: str | None = None
    external_uuid: UUID | None = None
    company_id: str | None = None
    customer_id: str | None = None
    quote_id: str | None = None
    uploaded_by_id: str | None = None
    received_at: datetime | None = None
    thumbnail: bytes | None = None
    extracted: dict[str, Any] | None = None

    __dataflow__: ClassVar[dict[str, Any]] = {
        "indexes": [
            {"name": "uq_documents_sha256", "fields": ["sha256"], "unique": True},
            {"name": "ix_documents_customer_id", "fields": ["customer_id"], "unique": False},
            {"name": "ix_documents_quote_id", "fields": ["quote_id"], "unique": False},
        ]
    }
    __validation__: ClassVar[dict[str, Any]] = {
        "file_name": {"min_length": 1, "max_length": 255},
        "mime_type": {"pattern": r"^[a-z]+/[a-z0-9.+-]+$", "max_length": 100},
        "size_bytes": COUNT,
        "sha256": {"pattern": r"^[0-9a-f]{64}$"},
        "storage_key": {"min_length": 1, "max_length": 500},
    }


@db.model
class DocumentProcessingQueue:
    """A task that waits for, is in, or has been through document processing.

    Attributes:
        id: Primary key, for example task-0001; generated when not given.
        document_id: Document to work on; it has each kind of task once.
        processing_task: What is to be done.
        status: Where the task is.
        priority: Order of processing from 0 to 1000, lower first.
        attempt_count: Attempts begun so far.
        max_attempts: Attempts after which the task fails for good.
        progress: Share of the running attempt that is done, from 0 to 1.
        worker_id: Worker or agent that has the task.
        scheduled_at: Instant before which the task must not start; null means at once.
        started_at: Instant the last attempt began.
        finished_at: Instant the task reached a final status.
        error_message: Why the last attempt failed.
        task_options: Settings of the task, for example {"ocr": true}.
        task_output: What the task produced, for example {"page_count": 4}.
    """

    id: str
    document_id: str
    processing_task: ProcessingTask
    status: QueueStatus = QueueStatus.QUEUED
    priority: int = 100
    attempt_count: int = 0
    max_attempts: int = 3
    progress: float = 0.0
    worker_id: str | None = None
    scheduled_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error_message: str | None = None
    task_options: dict[str, Any] | None = None
    task_output: dict[str, Any] | None = None

    __dataflow__: ClassVar[dict[str, Any]] = {
        "indexes": [
            {
                "name": "uq_document_processing_queues_task",
                "fields": ["document_id", "processing_task"],
                "unique": True,
            },
            {
                "name": "ix_document_processing_queues_next",
                "fields": ["status", "priority", "scheduled_at"],
                "unique": False,
            },
        ]
    }
    __validation__: ClassVar[dict[str, Any]] = {
        "priority": PRIORITY,
        "attempt_count": COUNT,
        "max_attempts": {"range": {"min": 1, "max": 100}},
        "progress": SHARE,
        "worker_id": SHORT_TEXT,
        "error_message": LONG_TEXT,
    }
