"""(b) and (c): what journal, records, parsing and scoring cost beside the model's own time, and once all is answered."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from statistics import median
from typing import NoReturn

from benchmarks.evaluation_setup import NAME, Bench, Part, Recorded, same, timed
from personamem_pipeline.evaluation import results
from personamem_pipeline.evaluation.journal import Journal
from personamem_pipeline.evaluation.runner import Runner
from personamem_pipeline.evaluation.scoring.answers import AnswerKey, answer_key, answers
from personamem_pipeline.evaluation.scoring.runs import SystemRun
from personamem_pipeline.evaluation.source import Source
from personamem_pipeline.evaluation.systems.base import System
from personamem_pipeline.memory.generators.base import Generator
from personamem_pipeline.presets import EvaluationConfig
from personamem_pipeline.progress import Progress

GOAL = 0.10
ORDERS = 2
WHAT = {
    "alone": "the same generation calls alone",
    "calls": "generation calls",
    "asking": "runner, histories, chunks, prompts, journal",
    "scoring": "parsers, labels, intervals, slices",
    "asking_next": "runner to journal, a further system",
    "scoring_next": "parsers to slices, a further system",
}


def measure(bench: Bench) -> Part:
    """What asking and scoring take beside the generation calls within them.

    That is measured inside of one run: the difference of two runs would be noise, where a call takes a second. Benchmark
    and model are opened anew in every round, so that nothing is found read, lettered or counted; then a second system of
    the same model is asked, which finds what all systems share. The same calls are made alone besides, for their time and
    to see that the replies are the same.
    """
    bench.system(bench.generator()).run(next(iter(bench.source(ORDERS).batches())))  # first allocations
    seconds: dict[str, list[float]] = {name: [] for name in WHAT}
    for _ in range(bench.rounds):
        source, models = bench.source(ORDERS), bench.models()
        generator = models.generator(NAME)
        with tempfile.TemporaryDirectory(prefix="evaluation-") as scratch:
            spent, recorded, journal = _round(bench, source, generator, Path(scratch) / "first")
            further, _, _ = _round(bench, source, generator, Path(scratch) / "next", answer_key(source))
            (outputs,) = journal
        texts, spent["alone"] = timed(recorded.again)
        replies = [row.output for row in outputs.replies]
        same("the harness against the calls alone", replies, texts[len(outputs.steps) :])
        spent |= {"asking_next": further["asking"], "scoring_next": further["scoring"]}
        for name, value in spent.items():
            seconds[name].append(value)
        models.close()
    middle = {name: median(own) for name, own in seconds.items()}
    calls = len(outputs.replies) + len(outputs.steps)
    share = (middle["asking"] + middle["scoring"]) / middle["calls"]
    further_share = (middle["asking_next"] + middle["scoring_next"]) / middle["calls"]
    return Part(
        f"(b) {len(outputs.replies)} replies and {len(outputs.steps)} write turns",
        [
            ["what", "s", "ms a call", "of the calls"],
            *(
                [text, f"{middle[name]:.2f}", f"{1000 * middle[name] / calls:.3f}", f"{middle[name] / middle['calls']:.1%}"]
                for name, text in WHAT.items()
            ),
        ],
        {"seconds": seconds, "calls": calls, "share": share, "share_of_a_further_system": further_share, "goal": GOAL},
        (
            f"Harness over generation: {share:.1%}, of every further system of a report {further_share:.1%}. The goal is "
            f"under {GOAL:.0%}: {'met' if share < GOAL else 'missed'} with this model, whose calls take "
            f"{1000 * middle['calls'] / calls:.1f} ms each.",
        ),
    )  # fmt: skip


def _round(
    bench: Bench, source: Source, generator: Generator, scratch: Path, key: AnswerKey | None = None
) -> tuple[dict[str, float], Recorded, Journal]:
    """One system asked and scored: seconds of its parts, what it asked the model, and its journal."""
    recorded, journal = Recorded(generator), Journal.of(scratch, NAME, {})
    _, asking = timed(partial(ask, source, journal, bench.system(recorded)))
    _, scoring = timed(partial(score, source, journal, key))
    return (
        {"calls": recorded.seconds, "asking": asking - recorded.seconds, "scoring": scoring},
        recorded,
        journal,
    )


def measure_warm(bench: Bench) -> Part:
    """Evaluating again what the journal holds: no model is loaded, and only scoring is left."""
    source = bench.source(ORDERS)
    with tempfile.TemporaryDirectory(prefix="evaluation-") as scratch:
        journal = Journal.of(Path(scratch), NAME, {})
        first, cold = timed(lambda: (ask(source, journal, bench.system(bench.generator())), score(source, journal))[1])
        again, spent = [], []
        for _ in range(bench.rounds):
            fresh = bench.source(ORDERS)
            found, seconds = timed(partial(_from_the_journal, fresh, journal))
            again.append(found)
            spent.append(seconds)
    if any(found != (0, first) for found in again):
        raise SystemExit("the second evaluation gave other figures than the first")
    warm = median(spent)
    return Part(
        "(c) the same again, from the journal",
        [
            ["run", "s", "times as fast"],
            ["cold: model loaded, all asked, scored", f"{cold:.2f}", ""],
            ["warm: scored again", f"{warm:.3f}", f"{cold / warm:.0f}"],
        ],
        {"cold": cold, "warm": spent},
        ("No model was loaded and none was asked; the figures are equal.",),
    )


def _from_the_journal(source: Source, journal: Journal) -> tuple[int, results.Results]:
    return Runner(source, Progress()).run(NAME, journal, _never), score(source, journal)


def ask(source: Source, journal: Journal, system: System) -> int:
    return Runner(source, Progress()).run(NAME, journal, lambda: system)


def score(source: Source, journal: Journal, key: AnswerKey | None = None) -> results.Results:
    """What the report computes of one system; `key` where another system had it made."""
    config = EvaluationConfig()
    outputs = list(journal)
    replies = [reply for batch in outputs for reply in batch.replies]
    rows = answers(NAME, key or answer_key(source), replies)
    steps = [step for batch in outputs for step in batch.steps]
    run = SystemRun(NAME, "measured", "model", "memory", NAME, rows, steps=steps)
    return results.build(
        source, {NAME: run}, resamples=config.bootstrap, open_threshold=config.open_threshold, shown_questions=0
    )


def _never() -> NoReturn:
    raise SystemExit("a full journal must not need the model")
