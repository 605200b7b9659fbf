"""Certifying questions: does this one test memory, and can it be answered from its evidence?

A third of the released PersonaMem-v2 questions can be answered without any history, and nobody had looked whether the
others can be answered with it. Here every question carries what was measured:

- *blind*: readers (one or two) who see no turns should be near chance, the worse one counts;
- *oracle*: a reader of the evidence turns alone should be right; of an *updated* preference also a reader of the updating
  turns alone, whose evidence must entail the change;
- *swapped*: with other evidence the answer should change. For a preference of the user's it is another person's
  evidence, for a forgotten one its own without the request to forget (before and after). Where somebody else's taste or
  private data are concerned it is measured and not bound: leaving both alone is right for a stranger, too;
- *leak*: the query does not say the preference, by its words or so that a reader could state it;
- *implicitness*: from no single turn that should only hint could a reader quote it (and from a control text it could);
- by *length* alone: what picking the longest or the shortest option scores (bound over a dataset, not here).

A row is admitted only when every bound holds. A reader that gives no usable answer counts against the question, and so
does evidence that is not there to be swapped in. Refused questions keep their certificate, with the reasons: `reader`,
`blind`, `oracle`, `update`, `swapped`, `leak`, `implicitness`, `options`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from personamem_pipeline.errors import UserError
from personamem_pipeline.llm.client import Endpoint
from personamem_pipeline.presets import QuestionsConfig
from personamem_pipeline.questions.outcomes import Hits, Outcomes, ask, noticed, outcomes
from personamem_pipeline.questions.shape import guess_score, longest, shortest
from personamem_pipeline.questions.stating import names, same_preference
from personamem_pipeline.questions.trials import (
    CHOOSE,
    STATE,
    Evidence,
    Hint,
    control,
    donors,
    hints,
    trials,
)
from personamem_pipeline.records import Certificate, History, Message, Question

INSTRUCTIONS = f"{CHOOSE}\n\n{STATE}"
"""All that readers are told: part of the stage's code version."""


def certify(
    questions: Sequence[Question],
    histories: Sequence[History],
    config: QuestionsConfig,
    readers: Sequence[Endpoint],
    seed: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Question]:
    """The same questions in the same order, each with its measured certificate.

    The first reader makes every trial, the others only the blind one. `questions` are also where evidence to be swapped
    in is taken from. `on_progress(done, all)` counts the requests of all readers.
    """
    if not readers:
        raise UserError("there is no reader", expected="one or two endpoints that try the questions")
    history_of = {history.person_id: history for history in histories}
    evidence_of = {q.question_id: Evidence.of(q, history_of[q.person_id]) for q in questions}
    donor_of = donors(questions, seed)

    def swapped_in(question: Question) -> Sequence[Message]:
        donor = donor_of[question.question_id]
        return evidence_of[donor.question_id].turns if donor else ()

    tried = [trials(q, evidence_of[q.question_id], swapped_in(q), config, seed) for q in questions]
    checked = control(questions, seed)
    answers = ask(readers, tried, [checked[0]] if checked else [], on_progress)
    careless = checked is not None and not noticed(*checked, answers)
    names_of_readers = tuple(reader.model for reader in readers)
    certified = []
    for question, trial in zip(questions, tried, strict=True):
        own_hints = hints(question, evidence_of[question.question_id])
        certificate = judge(question, own_hints, config, names_of_readers, outcomes(trial, answers), careless=careless)
        certified.append(question.model_copy(update={"certificate": certificate}))
    return certified


def judge(
    question: Question,
    own_hints: Sequence[Hint],
    config: QuestionsConfig,
    readers: Sequence[str],
    found: Outcomes,
    *,
    careless: bool = False,
) -> Certificate:
    """The certificate that these outcomes amount to; every bound of `config` that does not hold is a reason. `careless`:
    the reader did not notice a preference that was said outright, so its silence about this question's texts is none."""
    blind_by_reader = tuple(_share(hits, unusable=True) for hits in found.blind)
    blind, oracle = max(blind_by_reader), _share(found.oracle, unusable=False)
    changes = question.updated and question.pref_type != "ask_to_forget"
    update = (_share(found.update, unusable=False) if found.update else 0.0) if changes else None
    swapped = _share(found.swapped, unusable=True) if found.swapped else 1.0
    bound = question.who == "self" and question.pref_type != "sensitive_info"
    leak = _says(question.user_query, found.query_stated, (question.preference,))
    said = [_says(hint.text, stated, hint.labels) for hint, stated in zip(own_hints, found.hints_stated, strict=True)]
    implicitness = 1 - sum(said) / len(said) if said else 1.0
    reasons = []
    if found.unusable:
        reasons.append(f"reader: {found.errors[0] if found.errors else 'no usable answer'}")
    if careless:
        reasons.append("reader: it does not notice a preference that is said outright, so leaks cannot be ruled out")
    if blind > config.max_blind_accuracy:
        reasons.append(f"blind: {blind:.2f} without any history, over {config.max_blind_accuracy:.2f}")
    if oracle < config.min_oracle_accuracy:
        reasons.append(f"oracle: {oracle:.2f} from the evidence, under {config.min_oracle_accuracy:.2f}")
    if update is not None and update < config.min_oracle_accuracy:
        reasons.append(f"update: {update:.2f} from the updating turns, under {config.min_oracle_accuracy:.2f}")
    if not found.swapped:
        reasons.append("swapped: there is no other evidence to read instead, as nobody else is in the shard")
    elif bound and swapped > config.max_swapped_accuracy:
        reasons.append(f"swapped: {swapped:.2f} from other evidence, over {config.max_swapped_accuracy:.2f}")
    if leak:
        reasons.append("leak: the query says the preference")
    if implicitness < config.min_implicitness:
        reasons.append(f"implicitness: {implicitness:.2f} of the turns only hint, under {config.min_implicitness:.2f}")
    if len({" ".join(text.casefold().split()) for text in question.options} | {""}) <= len(question.options):
        reasons.append("options: one is empty or two are the same")
    return Certificate(
        readers=tuple(readers), blind_accuracy=blind, blind_by_reader=blind_by_reader, oracle_accuracy=oracle,
        update_accuracy=update, swapped_accuracy=swapped, query_leak=leak, implicitness=implicitness,
        longest_guess=guess_score(longest, question.options), shortest_guess=guess_score(shortest, question.options),
        admitted=not reasons, reasons=tuple(reasons),
    )  # fmt: skip


def _share(hits: Hits, *, unusable: bool) -> float:
    """The share of right answers; what could not be used counts as `unusable`, always against the question."""
    return sum(unusable if hit is None else hit for hit in hits) / len(hits)


def _says(text: str, stated: str | None, labels: Sequence[str]) -> bool:
    """Whether a text says one of the labels; when the reader gave no usable answer, it does."""
    if stated is None:
        return True
    return any(label and (names(text, label) or same_preference(stated, label)) for label in labels)
