"""Essays to try the demo with: thirty students, each with a text of their own."""

from dataclasses import dataclass

_STUDENTS = (
    "Åsa Öhman", "Ben Carter", "Chloé Dupont", "Dmitri Orlov", "Elif Şahin", "Fatima Noor",
    "Gustav Lind", "Hana Nováková", "Iker Etxeberria", "Jun Takahashi", "Kofi Mensah", "Lena Groß",
    "Miguel Ibáñez", "Noor van Dijk", "Olga Petrova", "Paulo São-João", "Quynh Nguyễn", "Rosa D'Amico",
    "Søren Kjær", "Tomasz Żak", "Ulrika Sjö", "Vera Ilić", "William O'Brien", "Xin Lǐ",
    "Yara Haddad", "Zoe Smith", "Émile Roy", "Łukasz Wrona", "Ebba Ek", "محمد علي",
)  # fmt: skip

_TITLES = (
    "A morning I remember",
    "What the river told us",
    "Why libraries matter",
    "My grandmother's kitchen",
    "If I could change one rule",
)

_SENTENCES = (
    "The bus was late, and for once nobody minded.",
    "Rain had washed the chalk off the yard, so we drew the whole map again.",
    "I used to think that being brave meant not being afraid.",
    "She kept her recipes in her hands, never on paper.",
    "A rule that nobody can explain is only a habit.",
    "We counted the lights on the far shore and gave each of them a name.",
    "Reading alone is quiet; reading together is not, and both are good.",
    "In the end it was the smallest of us who found the way back.",
    "Some questions are better company than their answers.",
    "That evening the radio played a song that all of us knew.",
    "I would do it again, though perhaps with warmer shoes.",
)


@dataclass(frozen=True, slots=True)
class Sample:
    """A file to upload."""

    name: str
    text: str


def sample_essays(count: int = len(_STUDENTS)) -> tuple[Sample, ...]:
    """The first `count` essays; the same ones every time, no two alike, all with a file name of their own."""
    return tuple(_sample(number) for number in range(count))


def _sample(number: int) -> Sample:
    round_, student = divmod(number, len(_STUDENTS))
    title = _TITLES[number % len(_TITLES)]
    name = f"{_STUDENTS[student]}{f' ({round_ + 1})' if round_ else ''}.txt"
    body = " ".join(_SENTENCES[(number * 7 + step * 3) % len(_SENTENCES)] for step in range(9))
    return Sample(name, f"{title}\nby {_STUDENTS[student]}\n\n{body}\n")
