"""The three teachers of the demo. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Teacher:
    """Somebody who can be signed in as."""

    user_id: str
    name: str
    course_code: str
    course: str


TEACHERS = (
    Teacher("teacher-astrid-berg", "Astrid Berg", "ENG5", "English 5"),
    Teacher("teacher-jonas-ekstrom", "Jonas Ekström", "SV1", "Svenska 1"),
    Teacher("teacher-mira-haddad", "Mira Haddad", "ENG7", "English 7"),
)
