"""What the options alone are worth: guessers that read no model, no query and no history.

Their tricks are those of `questions.shape`; here they answer the benchmark like any other system, so that they stand in the
same table with the same intervals. Where a trick cannot tell options apart, one of them is drawn by the seed.

"Always the generic answer" is there twice. `plainest` reads only options: words that occur in the options of many questions
are what fits anybody. `labelled_generic` reads the labels that the benchmark's author left, and is what a perfect eye for
plain answers would score: an upper bound, and no honest guess.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from personamem_pipeline.evaluation.asked import asked
from personamem_pipeline.evaluation.records import Outputs, Reply, Role
from personamem_pipeline.evaluation.source import Batch
from personamem_pipeline.memory.prompts import boxed
from personamem_pipeline.questions.shape import GUESSERS, plain_guess
from personamem_pipeline.records import Question
from personamem_pipeline.seeds import rng

Pick = Callable[[Question], Sequence[str]]
"""The options (texts) that a guesser cannot choose between."""
LABELS = {
    "longest": "the longest option",
    "shortest": "the shortest option",
    "odd_one_out": "the option least like the others",
    "most_alike": "the option most like the others",
    "most_specific": "the most specific option",
}
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class Guesser:
    """A system that looks at nothing but options."""

    name: str
    label: str
    pick: Pick
    role: Role = "guesser"

    def run(self, batch: Batch) -> Outputs:
        replies = []
        for item in asked(batch):
            picked = set(self.pick(item.question))
            letters = [letter for letter, text in item.options.items() if text in picked]
            drawn = rng(batch.seed, f"guess {self.name}", item.question.question_id, item.order).choice(letters)
            replies.append(Reply(question_id=item.question.question_id, order=item.order, output=boxed(drawn)))
        return Outputs(replies=tuple(replies))


def guessers(questions: Sequence[Question]) -> tuple[Guesser, ...]:
    """All of them, for a benchmark with these questions; `labelled_generic` only where any question has the labels."""
    found = [Guesser("chance", "chance (seeded draw)", lambda question: question.options)]
    found += [Guesser(name, label, _by_shape(name)) for name, label in LABELS.items()]
    found.append(Guesser("plainest", "the plainest option", _plainest(questions)))
    if any(plain_guess(question.incorrect_kinds) is not None for question in questions):
        label = "always generic, by the labels (upper bound)"
        found.append(Guesser("labelled_generic", label, labelled_plain))
    return tuple(found)


def labelled_plain(question: Question) -> Sequence[str]:
    """The options that are labelled as plain, the right one among them where it leaves a taste alone; all where the labels
    name none."""
    if plain_guess(question.incorrect_kinds) is None:
        return question.options
    labelled = zip(question.incorrect_answers, question.incorrect_kinds, strict=True)
    plain = [text for text, kind in labelled if kind == "generic"]
    # Before something was to be forgotten, or where it is somebody else's, the plain answer is the right one.
    return [question.correct_answer, *plain] if {"forgotten", "others"} & set(question.incorrect_kinds) else plain


def _by_shape(name: str) -> Pick:
    trick = GUESSERS[name]
    return lambda question: [question.options[place] for place in trick(question.options)]


def _plainest(questions: Sequence[Question]) -> Pick:
    """The option whose own words (those of none of the other three) occur in the options of the most questions."""
    common = Counter(word for question in questions for word in set().union(*map(_words, question.options)))

    def pick(question: Question) -> Sequence[str]:
        sets = [_words(text) for text in question.options]
        scores = []
        for place, words in enumerate(sets):
            own = words.difference(*(other for at, other in enumerate(sets) if at != place))
            scores.append(sum(common[word] for word in own) / len(own) if own else float("inf"))
        return [text for text, score in zip(question.options, scores, strict=True) if score == max(scores)]

    return pick


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.casefold()))
