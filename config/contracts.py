"""What producers promise to send: the envelope, and one model for each type of event. Pure.

Only what Doorstep needs is required: a field that it neither shows nor decides by must not cost an event.
Fields that are not named here are allowed and dropped. Types are strict: nothing is converted, so ids,
timestamps and correlation ids reach the browser as they were sent.

A new type of event needs a model only if none of these fits; it may live here or in any importable package.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, StringConstraints

Timestamp = Annotated[
    str,
    StringConstraints(
        pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
        r"[Tt ]([01][0-9]|2[0-3]):[0-5][0-9](:([0-5][0-9]|60)(\.[0-9]{1,9})?)?"
        r"([Zz]|[+-][0-9]{2}:?[0-9]{2})?$"
    ),
]
"""An ISO 8601 date and time, kept as it was sent."""


class Contract(BaseModel):
    """The base of every model here: frozen, strict types, unknown fields dropped."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="ignore",
        allow_inf_nan=False,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )


class Envelope(Contract):
    """What every event is wrapped in. Each route has a subclass whose `data` is the route's contract."""

    event_id: Annotated[str, StringConstraints(min_length=1)] | None = None
    """Names the event; upper and lower case are the same id. Without it the record's position does."""
    event_type: str
    """The name of the topic that the event belongs to."""
    event_timestamp: Timestamp
    """When the event was made."""
    source_service: str | None = None
    """Who sent it."""
    schema_version: int = 1
    """The version of the envelope."""
    correlation_id: str | None = None
    """Ties together all that one request caused."""
    data_schema_uri: str | None = None
    """Where the schema of `data` is published."""
    metadata: dict[str, Any] | None = None
    """May hold a W3C `traceparent`."""
    data: Any
    """The event itself."""


class EssaySlotAssignedV1(Contract):
    """An uploaded file has become an essay of its batch."""

    batch_id: str
    """The batch of both."""
    essay_id: str
    """The essay that the file has become."""
    file_upload_id: str
    """The file, as its upload named it."""
    text_storage_id: str
    """Where the text is kept: 32 hex digits without dashes."""
    original_file_name: str | None = None
    """The file's name on the teacher's machine, any Unicode."""
    correlation_id: str | None = None
    """The same as the envelope's."""
    timestamp: Timestamp | None = None
    """When the slot was assigned."""


class BatchEssaysRegisteredV1(Contract):
    """A batch exists and belongs to a user. One of `entity_id` and `batch_id` is there."""

    entity_id: str | None = None
    """The batch."""
    batch_id: str | None = None
    """The batch, where a producer has no `entity_id`."""
    user_id: str
    """The user who owns the batch."""


class ValidationErrorDetail(Contract):
    """Why a file failed validation, in words."""

    message: str
    """For the teacher to read."""


class EssayValidationFailedV1(Contract):
    """An uploaded file can't become an essay."""

    entity_id: str
    """The batch."""
    file_upload_id: str
    """The file, as its upload named it."""
    original_file_name: str
    """The file's name on the teacher's machine, any Unicode."""
    validation_error_code: str
    """Why, for programs: `EMPTY_CONTENT`, `CONTENT_TOO_LONG`, …"""
    validation_error_detail: ValidationErrorDetail
    """Why, for people."""


class TeacherNotificationRequestedV1(Contract):
    """A service asks for a notification of one teacher."""

    teacher_id: str
    """The teacher to notify."""
    notification_type: str
    """The name that the browser sees as the notification's event."""
    category: str
    """Groups notifications in the page: `batch_progress`, `file_operations`, …"""
    priority: str
    """`critical`, `immediate`, `high`, `standard` or `low`."""
    payload: dict[str, Any]
    """What the notification says; its fields depend on `notification_type`."""
    action_required: bool = False
    """Whether the teacher has to do something."""
    deadline_timestamp: Timestamp | None = None
    """Until when."""
    correlation_id: str
    """Ties the notification to what caused it; shown instead of the envelope's."""
    batch_id: str | None = None
    """The batch that it is about."""
    class_id: str | None = None
    """The class that it is about."""
    timestamp: Timestamp | None = None
    """When it was asked for."""
