"""The recipes: which wrong options stand beside the right one, by the kind of row.

They are PersonaMem-v2's, changed in one thing. There, three personal options and a plain one mark the rows whose right
answer is the plain one. Here every row about a taste shows three personal options and one plain one, so that its shape
tells neither the kind of row nor the answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from personamem_pipeline.records import DistractorKind, QuestionType, Who

Recipe = tuple[DistractorKind, DistractorKind, DistractorKind]

SELF: Recipe = ("other", "stereotypical", "generic")
UPDATED: Recipe = ("previous", "other", "generic")
FORGOTTEN: Recipe = ("forgotten", "other", "stereotypical")
OTHERS: Recipe = ("others", "other", "stereotypical")
SENSITIVE: Recipe = ("leak", "wrong", "helpless")


def recipe(pref_type: QuestionType, who: Who, updated: bool) -> Recipe:
    """What the three wrong options of such a row do. What was forgotten is of no more use for having been updated."""
    if pref_type == "sensitive_info":
        return SENSITIVE
    if pref_type == "ask_to_forget":
        return FORGOTTEN
    if who == "others":
        return OTHERS
    return UPDATED if updated else SELF


def follows(kinds: Sequence[DistractorKind], wanted: Recipe) -> bool:
    """Whether distractors are of the wanted kinds, in any order.

    Some other taste and a stereotype stand for each other: not every topic has a stereotype of the user's groups.
    """
    return _counted(kinds) == _counted(wanted)


def _counted(kinds: Sequence[DistractorKind]) -> Counter[DistractorKind]:
    return Counter("other" if kind == "stereotypical" else kind for kind in kinds)
