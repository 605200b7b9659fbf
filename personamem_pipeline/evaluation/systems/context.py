"""What is not read through a memory: nothing, the public profile alone, or the whole chat.

- `NoHistory`: what options and query give away by themselves.
- `PersonaOnly`: what could be guessed from who somebody is: the public profile, and not a word of the chats.
- `FullContext`: the whole chat before every question, the long-context baseline.
"""

from __future__ import annotations

from personamem_pipeline.evaluation.asked import ask, pairs
from personamem_pipeline.evaluation.records import Outputs
from personamem_pipeline.evaluation.source import Batch
from personamem_pipeline.evaluation.systems.base import Ask
from personamem_pipeline.evaluation.systems.memory import Agent
from personamem_pipeline.memory.episode import Known


class NoHistory(Agent):
    """A model, asked with its own prompt, knowing nothing."""

    def run(self, batch: Batch) -> Outputs:
        nothing: Known = () if self.config.protocol == "full_context" else ""
        return self.outputs(batch, lambda _: nothing)


class PersonaOnly(Agent):
    """A model that knows the public profile, in the place where the memory would stand."""

    def run(self, batch: Batch) -> Outputs:
        profiles = {person.person_id: person.profile for person in batch.people}
        return self.outputs(batch, lambda question: profiles[question.person_id])


class FullContext(Agent):
    """A model that reads the whole chat anew for every question."""

    def run(self, batch: Batch) -> Outputs:
        chats = {person.person_id: person.history.messages for person in batch.people}
        earlier = [
            Ask(messages, question, ask(question, batch.seed, order, "before_forget"))
            for question, messages in pairs(batch.people)
            for order in range(batch.orders)
        ]
        return self.outputs(batch, lambda question: chats[question.person_id], before=earlier)
