"""Answering from the parts of the chat that a search finds: RAG as the released `rag.py` does it (paper-spec 4.1).

The chat is cut into windows of whole messages that overlap. A ranker puts them in order for the user's query, and for the
query alone: options are no part of a search, because a user would not type them. The best windows go back into time order,
each message once, and the model answers from them as it would from a whole chat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import bm25s
import numpy as np

from personamem_pipeline.evaluation.asked import ask, pairs
from personamem_pipeline.evaluation.records import Outputs
from personamem_pipeline.evaluation.source import Batch
from personamem_pipeline.evaluation.systems.base import Ask, Stopwatch, fitting
from personamem_pipeline.evaluation.systems.memory import Agent
from personamem_pipeline.memory.episode import question_prompt
from personamem_pipeline.presets import RetrievalConfig
from personamem_pipeline.records import Message, Question

Window = tuple[Message, ...]


@dataclass(frozen=True)
class Search:
    """A chat as it can be searched, and what is looked for in it: queries, with no place for options."""

    messages: tuple[Message, ...]
    windows: tuple[Window, ...]
    queries: tuple[str, ...]

    @cached_property
    def texts(self) -> list[str]:
        """What is searched: the contents of each window. Roles are left out; they say nothing of the subject."""
        return ["\n".join(message.content for message in window) for window in self.windows]


class Ranker(Protocol):
    """Anything that puts windows in order for a query."""

    def rank(self, searches: Sequence[Search]) -> list[list[list[int]]]:
        """Of each search, for each of its queries: the numbers of all windows, the best first, ties in time order."""
        ...


def windows(messages: Sequence[Message], window: int = 6, overlap: int = 2) -> list[Window]:
    """Runs of `window` messages, each beginning with the last `overlap` of the one before; the last may be shorter.

    Every message is in one of them. Raises `ValueError` unless 0 <= overlap < window.
    """
    if not 0 <= overlap < window:
        raise ValueError(f"overlap must be from 0 to {window - 1}, not {overlap}")
    starts = range(0, max(len(messages) - overlap, min(len(messages), 1)), window - overlap)
    return [tuple(messages[start : start + window]) for start in starts]


def retrieved(search: Search, ranking: Sequence[int], top: int) -> tuple[Message, ...]:
    """The messages of the `top` best windows in time order, each once."""
    wanted = {message.turn_id for number in ranking[:top] for message in search.windows[number]}
    return tuple(message for message in search.messages if message.turn_id in wanted)


def best_first(scores: np.ndarray) -> list[int]:
    """Places of a vector's values from the highest to the lowest; of equal ones the earlier first."""
    return [int(place) for place in np.argsort(-scores, kind="stable")]


class Bm25:
    """Okapi BM25 as Lucene computes it (k1 1.5, b 0.75), by the library bm25s (arXiv 2407.03618).

    A window's score is the sum over the query's words of idf(word) * tf / (tf + k1 * (1 - b + b * length / mean length)),
    with idf = ln(1 + (N - n + 0.5) / (n + 0.5)) for a word in n of N windows. Words are runs of two or more letters or
    digits in lower case, without the library's 33 English stop words; nothing is stemmed. The statistics are those of one
    person's chat: nobody searches other people's.
    """

    def rank(self, searches: Sequence[Search]) -> list[list[list[int]]]:
        return [self._rank(search) for search in searches]

    def _rank(self, search: Search) -> list[list[int]]:
        documents = _words(search.texts)
        if not any(documents):
            return [list(range(len(documents))) for _ in search.queries]
        index = bm25s.BM25(method="lucene", k1=1.5, b=0.75, backend="numpy")
        index.index(documents, show_progress=False)
        # Not `retrieve`: it leaves the order of ties to a partial sort.
        return [
            best_first(index.get_scores(query) if query else np.zeros(len(documents)))
            for query in _words(search.queries)
        ]


def bm25_ranker() -> Ranker:
    """Search by words."""
    return Bm25()


def _words(texts: Sequence[str]) -> list[list[str]]:
    found: list[list[str]] = bm25s.tokenize(list(texts), stopwords="english", return_ids=False, show_progress=False)
    return found


@dataclass(frozen=True)
class Retrieval(Agent):
    """A model that answers from the windows that a ranker finds.

    Where the best `top` windows do not fit into the model's context, the lowest ranked are left out, whole, until the
    prompt fits in every option order; the question is over-long only if not even the best one fits. Forget pairs are
    searched in what was said before the request. `write_seconds` is what cutting and searching took.
    """

    retrieval: RetrievalConfig
    ranker: Ranker

    def run(self, batch: Batch) -> Outputs:
        watch = Stopwatch()
        now = [(self._search(person.history.messages, person.questions), person.questions) for person in batch.people]
        then = [(self._search(messages, (question,)), (question,)) for question, messages in pairs(batch.people)]
        rankings = self.ranker.rank([search for search, _ in (*now, *then)])
        seconds = watch.lap()
        known = {
            question.question_id: self._fitting(search, ranking, question, batch)
            for (search, questions), ranked in zip(now, rankings[: len(now)], strict=True)
            for question, ranking in zip(questions, ranked, strict=True)
        }
        before = [
            Ask(found, question, ask(question, batch.seed, order, "before_forget"))
            for (search, (question,)), (ranking,) in zip(then, rankings[len(now) :], strict=True)
            for found in [self._fitting(search, ranking, question, batch)]
            for order in range(batch.orders)
        ]
        return self.outputs(batch, lambda question: known[question.question_id], write_seconds=seconds, before=before)

    def _search(self, messages: tuple[Message, ...], questions: Sequence[Question]) -> Search:
        cut = windows(messages, self.retrieval.window, self.retrieval.overlap)
        return Search(messages, tuple(cut), tuple(question.user_query for question in questions))

    def _fitting(self, search: Search, ranking: Sequence[int], question: Question, batch: Batch) -> tuple[Message, ...]:
        """What of the best windows fits, the same for all option orders."""
        forms = [ask(question, batch.seed, order).options for order in range(batch.orders)]
        found: tuple[Message, ...] = ()
        for top in range(min(self.retrieval.top, len(ranking)), 0, -1):
            found = retrieved(search, ranking, top)
            # Messages, not a memory's text: the prompt is the one for chats, whatever the preset's protocol.
            prompts = (question_prompt(self.config, found, question.user_query, options) for options in forms)
            if all(fitting(prompt, self.generator, self.config.answer_tokens) for prompt in prompts):
                break
        return found
