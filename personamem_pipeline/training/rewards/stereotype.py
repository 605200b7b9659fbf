"""The anti-stereotype reward: what an answer rests on.

1 when it uses what the user revealed, 0.2 when it would suit anybody, -0.5 when it guesses from the groups that the user
belongs to: knowing nothing beats guessing. The three figures are the project's study's (memory-rl.md, section 4.6). It
applies to questions that a preference of the user's own decides; where nothing may be used (somebody else's preference,
one to be forgotten, private data) being generic is right, and `choice` and `open_ended` say all there is to say.

Multiple choice needs no judge: what each wrong option does is labelled. Open answers are read by a judge with a rubric of
three verdicts; it is told the deciding preference only, so any other particular taste is a guess to it. An answer that
states no option, or says nothing, gets the least there is: it must be no way out.
"""

from __future__ import annotations

from collections.abc import Mapping

from personamem_pipeline.errors import Refused
from personamem_pipeline.memory.prompts import open_answer, parse_choice
from personamem_pipeline.questions.judge import Stance
from personamem_pipeline.records import DistractorKind, Question

USES, GENERIC, GUESS = 1.0, 0.2, -0.5
ANOTHER = 0.0
"""A wrong taste that is no stereotype (another one, the superseded one): worth less than being generic."""
_KINDS: Mapping[DistractorKind, float] = {"stereotypical": GUESS, "generic": GENERIC, "helpless": GENERIC}
"""Worth of a wrong option by what it does; kinds that are not named are worth `ANOTHER`."""
_STANCES = {"uses_preference": USES, "generic": GENERIC, "demographic_guess": GUESS}


def rests_on_the_user(question: Question) -> bool:
    """Whether a preference of the user's own decides the question, so that the reward applies."""
    return question.who == "self" and question.pref_type not in ("ask_to_forget", "sensitive_info")


def choice_stance(answer: str, question: Question, options: Mapping[str, str], letter: str) -> float:
    """The reward of a multiple-choice answer, by the option it states; `letter` is the right one."""
    stated = parse_choice(answer, options)
    if stated is None:
        return GUESS
    if stated == letter:
        return USES
    kinds = dict(zip(question.incorrect_answers, question.incorrect_kinds, strict=True))
    return _KINDS.get(kinds[options[stated]], ANOTHER)


def says_something(answer: str) -> bool:
    """Whether an open reply holds anything for a judge to read; one that does not is worth `GUESS`, unasked."""
    return bool(open_answer(answer))


def open_stance(stance: Stance | Refused) -> float | None:
    """The reward of an open answer by the judge's verdict; None where there is none."""
    return _STANCES[stance.stance] if isinstance(stance, Stance) else None
