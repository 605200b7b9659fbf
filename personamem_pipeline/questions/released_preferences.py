"""What the released rows say of a person: the preferences that they name, and the profile, flattened."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from personamem_pipeline.questions.released_checks import forgotten, owner, question_type
from personamem_pipeline.questions.released_people import Person
from personamem_pipeline.records import Preference, PreferenceType


def flat_profile(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """`location.city` -> `Lawrence`; a list of plain values is one text. The seed sentence is no part of the profile."""
    if isinstance(value, dict):
        for key, item in value.items():
            if path or key != "short_persona":
                yield from flat_profile(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for index, item in enumerate(value):
            yield from flat_profile(item, f"{path}.{index}")
    elif isinstance(value, list):
        yield path, ", ".join(map(str, value))
    else:
        yield path, "" if value is None else str(value)


class PersonPreferences:
    """What a person's rows say is true of them. One preference a text; `of` is what each row asks about."""

    def __init__(self, person: Person) -> None:
        self._person = person
        self._made: dict[tuple[str, str], Preference] = {}
        asked: dict[str, tuple[str, str]] = {}
        # Forget rows last: only the others tell of which type a preference is.
        for question_id, row in sorted(person.rows, key=lambda item: question_type(item[1]) == "ask_to_forget"):
            kind, who = question_type(row), owner(row)
            if kind is None or who is None:
                continue  # the row is rejected, and so says nothing
            if kind == "ask_to_forget":
                key = self._add(forgotten(row), row.topic_preference, "neutral_preferences", who)
                self._made[key] = self._made[key].model_copy(update={"forgotten": True})
            else:
                key = self._add(row.preference, row.topic_preference, kind, who)
                if row.updated and row.prev_pref and row.prev_pref != row.preference:
                    self._replace(key, self._add(row.prev_pref, row.topic_preference, kind, who))
            asked[question_id] = key
        self.of = {question_id: self._made[key] for question_id, key in asked.items()}

    @property
    def all(self) -> list[Preference]:
        """Every preference after the one that it replaces."""
        by_id = {preference.preference_id: preference for preference in self._made.values()}
        ordered = [name for preference in by_id.values() for name in reversed(self._behind(preference, by_id))]
        return [by_id[name] for name in dict.fromkeys(ordered)]

    def _replace(self, key: tuple[str, str], before: tuple[str, str]) -> None:
        """Note that one replaces the other; not where the rows have both replace each other, which no order could show."""
        by_id = {preference.preference_id: preference for preference in self._made.values()}
        if self._made[key].preference_id not in self._behind(self._made[before], by_id):
            replaces = self._made[before].preference_id
            self._made[key] = self._made[key].model_copy(update={"replaces": replaces})

    @staticmethod
    def _behind(preference: Preference, by_id: dict[str, Preference]) -> list[str]:
        """The preference and all that it came after, itself first."""
        chain = [preference]
        while (replaced := chain[-1].replaces) is not None:
            chain.append(by_id[replaced])
        return [link.preference_id for link in chain]

    def _add(self, text: str, topic: str, kind: PreferenceType, who: str) -> tuple[str, str]:
        key = (text, who)
        if key not in self._made:
            self._made[key] = Preference(
                preference_id=f"{self._person.person_id}.p{len(self._made)}", topic=topic, text=text, pref_type=kind,
                who="self" if who == "self" else "others",
            )  # fmt: skip
        return key
