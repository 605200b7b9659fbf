"""Inspect's task gives what the report gives on the same outputs: samples, memories, parsing, accuracy and its error."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("inspect_ai", reason="Inspect is not installed: it comes with the extra `inspect`")

from inspect_ai import Task, score
from inspect_ai import eval as inspect_eval
from inspect_ai.log import EvalLog, EvalSample, read_eval_log
from inspect_ai.model import ChatMessage, ChatMessageSystem, GenerateConfig, ModelOutput, ModelUsage, get_model
from inspect_ai.model import Model as InspectModel

from personamem_pipeline.errors import UserError
from personamem_pipeline.evaluation.inspect import tasks
from personamem_pipeline.evaluation.inspect.provider import PersonaMemAPI
from personamem_pipeline.evaluation.inspect.scorer import choice
from personamem_pipeline.evaluation.inspect.solver import PUBLISHED, how_to_read
from personamem_pipeline.evaluation.judging.briefs import evidence_turns
from personamem_pipeline.evaluation.judging.panel import Panel
from personamem_pipeline.evaluation.records import Answer, MemoryStep, Outputs, Reply
from personamem_pipeline.evaluation.scoring.answers import answer_key, answers, open_answers
from personamem_pipeline.evaluation.scoring.rows import Rows
from personamem_pipeline.evaluation.source import Source, benchmark_source
from personamem_pipeline.evaluation.statistics.clusters import cluster_sandwich_se
from personamem_pipeline.evaluation.systems.base import Named, System
from personamem_pipeline.evaluation.systems.context import FullContext, NoHistory
from personamem_pipeline.evaluation.systems.memory import MemorySystem, Oracle
from personamem_pipeline.memory.generators.base import Generation, Generator
from personamem_pipeline.memory.generators.scripted import ScriptedGenerator
from personamem_pipeline.presets import EvaluationConfig, MemoryConfig
from personamem_pipeline.seeds import stable_int
from personamem_pipeline.store import Store
from tests.tiny_model import save_tiny

PEOPLE = 4
PROTOCOLS: dict[str, type[Any]] = {
    "memory": MemorySystem, "oracle": Oracle, "no_history": NoHistory, "full_context": FullContext
}  # fmt: skip
Model = Callable[[float], ScriptedGenerator]


@pytest.fixture(autouse=True)
def nothing_of_ours_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PERSONAMEM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    yield


@pytest.fixture
def benchmark(tmp_path: Path, put_dataset: Callable[..., str], make_people: Callable[..., list]) -> Path:
    """A stored benchmark of `PEOPLE` people with four questions each."""
    store = Store(tmp_path / "store")
    return store.path("benchmark", put_dataset(store, "benchmark", make_people(PEOPLE), tmp_path / "files"))


@pytest.fixture
def preset(tmp_path: Path, memory: MemoryConfig) -> str:
    """The scripted model's prompts and sizes as a preset."""
    lines = [f"  {name}: {str(value).lower()}" for name, value in memory.model_dump().items()]
    path = tmp_path / "scripted.yaml"
    path.write_text("\n".join(["extends: demo", "memory:", *lines]))
    return str(path)


def source_of(benchmark: Path, people: int = PEOPLE) -> Source:
    store, version = Store(benchmark.parent.parent), benchmark.name
    return benchmark_source(store, version, orders=2, seed=0, people_per_batch=people)


def ours(kind: type[Any], source: Source, generator: Generator, memory: MemoryConfig, *, open: bool = False) -> Outputs:
    config = memory.model_copy(update={"protocol": "full_context"}) if kind is FullContext else memory
    system: System = kind(Named("x", "X", "model", open), generator, config)
    outputs = [system.run(batch) for batch in source.batches()]
    return Outputs(
        replies=tuple(reply for part in outputs for reply in part.replies if reply.moment == "end"),
        steps=tuple(step for part in outputs for step in part.steps),
    )


def run(task: Task, answering: Generator | InspectModel, **more: Any) -> EvalLog:
    own = isinstance(answering, InspectModel)
    model = answering if own else get_model("personamem/scripted", memoize=False, generator=answering)
    (log,) = inspect_eval(task, model=model, display="none", log_dir="logs", **more)
    assert log.status == "success", log.error
    return read_eval_log(log.location)  # as the viewer reads it


def samples(log: EvalLog) -> dict[str, EvalSample]:
    return {str(sample.id): sample for sample in log.samples or []}


def metrics(log: EvalLog, name: str) -> dict[str, float]:
    assert log.results
    (found,) = [scored for scored in log.results.scores if scored.name == name]
    # Installed, our metrics' names begin with the package's.
    return {key.removeprefix("personamem_pipeline/"): metric.value for key, metric in found.metrics.items()}


def place(answer: Answer | Reply) -> str:
    return f"{answer.question_id}/{answer.order}"


def assert_equal_scores(log: EvalLog, expected: list[Answer]) -> None:
    found = samples(log)
    assert found.keys() == {place(answer) for answer in expected}
    for answer in expected:
        sample = found[place(answer)]
        (scored,) = (sample.scores or {}).values()
        assert sample.output.completion == answer.output
        assert sample.target == answer.right
        assert scored.answer == answer.picked
        assert scored.value == {
            "strict": "C" if answer.correct else "I",
            "lenient": "C" if answer.correct_leniently else "I",
            "unparseable": float(answer.picked is None),
        }
        assert scored.metadata == {
            "picked_leniently": answer.picked_leniently, "leaks": answer.leaks, "finished": answer.finished,
            "problem": answer.problem,
        }  # fmt: skip
        labels = answer.model_dump(include={"person_id", "pref_type", "who", "updated", "topic", "distance", "order"})
        assert labels.items() <= sample.metadata.items()
    data = Rows.of(expected).totals()
    strict = metrics(log, "strict")
    assert strict["accuracy"] == pytest.approx(data.mean, abs=1e-12)
    assert strict["person_stderr"] == pytest.approx(cluster_sandwich_se(data), abs=1e-12)
    assert metrics(log, "lenient")["accuracy"] == pytest.approx(
        sum(answer.correct_leniently for answer in expected) / len(expected)
    )
    for kind in {answer.pref_type for answer in expected}:
        own = [answer.correct for answer in expected if answer.pref_type == kind]
        assert strict[f"by_label_pref_type={kind}"] == pytest.approx(sum(own) / len(own))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_equal_scores_on_the_same_outputs(
    protocol: Any, benchmark: Path, preset: str, memory: MemoryConfig, model: Model
) -> None:
    source = source_of(benchmark)
    outputs = ours(PROTOCOLS[protocol], source, model(0.5), memory)
    expected = answers("x", answer_key(source), outputs.replies)
    assert 0 < sum(answer.correct for answer in expected) < len(expected) or protocol == "full_context"
    asked = model(0.5)
    log = run(tasks.personamem(str(benchmark), protocol, preset=preset), asked)
    assert_equal_scores(log, expected)
    usage = Counter({place(reply): reply.input_tokens for reply in outputs.replies})
    assert all(sample.output.usage.input_tokens == usage[name] for name, sample in samples(log).items())
    assert len(asked.prompts) == len(outputs.replies) + len(outputs.steps), "a memory is written once"


def test_memories_are_the_reports(benchmark: Path, preset: str, memory: MemoryConfig, model: Model) -> None:
    steps = ours(MemorySystem, source_of(benchmark), model(0.7), memory).steps
    log = run(tasks.personamem(str(benchmark), "memory", preset=preset), model(0.7))
    for sample in samples(log).values():
        own = [step for step in steps if step.subject == sample.metadata["person_id"]]
        assert sample.store["write_turns"] == [told(step) for step in own]
        assert sample.store["memory"] == own[-1].memory
        assert len(sample.messages) == 2, "the answer is given from the memory alone"


def told(step: MemoryStep) -> dict[str, Any]:
    return {"turns": list(step.turns), "memory": step.memory, "kept": step.kept}


def test_the_writer_sees_no_question(benchmark: Path, preset: str, model: Model) -> None:
    generator = model(1.0)
    run(tasks.personamem(str(benchmark), "memory", preset=preset), generator)
    written = [prompt for prompt in generator.prompts if prompt.startswith("What does the user like?")]
    assert written
    texts = [text for question in source_of(benchmark).questions for text in (question.user_query, *question.options)]
    assert not [text for text in texts for prompt in written if text in prompt]


def test_replies_of_any_shape_are_read_alike(benchmark: Path, preset: str) -> None:
    said = ["\\boxed{a}", "The answer is (b).", "c", "", "<think>\\boxed{a}", "You could try green tea.", "(a) or (b)"]
    stops = ("stop", "stop", "stop", "content_filter", "max_tokens", "stop", "model_length")

    def number(prompt: str) -> int:
        return stable_int("a reply of any shape", prompt) % len(said)

    def output(messages: list[ChatMessage], *_: object) -> ModelOutput:
        index = number(messages[-1].text)
        found = ModelOutput.from_content("mock", said[index], stop_reason=stops[index])
        found.usage = ModelUsage(input_tokens=5, input_tokens_cache_read=2, output_tokens=3)
        return found

    mock = get_model("mockllm/model", memoize=False, custom_outputs=output)
    log = run(tasks.personamem(str(benchmark), "no_history", preset=preset), mock)
    shapes = {name: number(sample.messages[0].text) for name, sample in samples(log).items()}
    assert set(shapes.values()) == set(range(len(said)))
    source = source_of(benchmark)
    replies = [
        Reply(
            question_id=question.question_id, order=order, output=said[index],
            finished=stops[index] in ("stop", "content_filter"),
            problem="refused" if stops[index] == "content_filter" else "", input_tokens=7, output_tokens=3,
        )
        for question in source.questions for order in range(2)
        for index in [shapes[f"{question.question_id}/{order}"]]
    ]  # fmt: skip
    assert_equal_scores(log, answers("x", answer_key(source), replies))


def test_a_log_is_scored_again_without_the_benchmark(
    benchmark: Path, preset: str, memory: MemoryConfig, model: Model
) -> None:
    source = source_of(benchmark)
    expected = answers("x", answer_key(source), ours(FullContext, source, model(1.0), memory).replies)
    log = run(tasks.personamem(str(benchmark), "full_context", preset=preset), model(1.0))
    again = score(log, choice(), action="overwrite", display="none")
    assert_equal_scores(again, expected)


def test_a_prompt_over_the_context_is_not_asked(
    benchmark: Path, preset: str, memory: MemoryConfig, model: Model
) -> None:
    class Letters(ScriptedGenerator):
        def count(self, text: str) -> int:
            return len(text)

    source = source_of(benchmark)
    lengths = [reply.input_tokens for reply in ours(FullContext, source, Letters(model(1.0).reply), memory).replies]
    limit = max(lengths) + memory.answer_tokens - 1
    small, same = (Letters(model(1.0).reply, context=limit) for _ in range(2))
    expected = answers("x", answer_key(source), ours(FullContext, source, small, memory).replies)
    log = run(tasks.personamem(str(benchmark), "full_context", preset=preset), same)
    assert {answer.problem for answer in expected} == {"", "over_long"}
    assert_equal_scores(log, expected)
    assert len(same.prompts) == sum(not answer.problem for answer in expected)


def test_a_checkpoint_by_its_own_protocol(benchmark: Path, tmp_path: Path) -> None:
    directory = save_tiny(tmp_path / "tiny")
    api = get_model(f"personamem/{directory}", memoize=False).api
    assert isinstance(api, PersonaMemAPI)
    assert api.memory is not None
    source = source_of(benchmark)
    expected = answers("x", answer_key(source), ours(MemorySystem, source, api.generator, api.memory).replies)
    log = run(tasks.personamem(str(benchmark)), get_model(f"personamem/{directory}"))
    found = samples(log)
    assert [found[place(answer)].output.completion for answer in expected] == [answer.output for answer in expected]
    assert_equal_scores(log, expected)


def test_prompts_that_wait_together_are_one_batch(benchmark: Path, preset: str, model: Model) -> None:
    class Counting(ScriptedGenerator):
        calls = 0

        def generate(self, prompts: Any, **how: Any) -> list[Generation]:
            self.calls += 1
            return super().generate(prompts, **how)

    generator = Counting(model(1.0).reply)
    run(tasks.personamem(str(benchmark), "full_context", preset=preset), generator, max_samples=32)
    assert len(generator.prompts) == 32
    assert generator.calls < 16


def test_open_answers_are_judged_as_in_the_report(
    benchmark: Path, preset: str, memory: MemoryConfig, model: Model
) -> None:
    source, config = source_of(benchmark), EvaluationConfig()
    replies = ours(FullContext, source, model(0.9), memory, open=True).replies
    panel = Panel.configured(config.judges, config.seed)
    said = open_answers("x", answer_key(source), replies)
    expected = {row.question_id: row for row in panel.judge(said, source.questions, evidence_turns(source.people()))}
    log = run(tasks.personamem_open(str(benchmark), "full_context", preset=preset), model(0.9))
    found = samples(log)
    assert found.keys() == {f"{name}/open" for name in expected}
    for name, row in expected.items():
        (scored,) = (found[f"{name}/open"].scores or {}).values()
        assert scored.answer == row.answer
        assert isinstance(scored.value, dict)
        assert scored.value["score"] == row.score
        assert (scored.value["right"] == "C") == (row.score is not None and row.score >= config.open_threshold)
    given = [row.score for row in expected.values() if row.score is not None]
    assert metrics(log, "score")["mean"] == pytest.approx(sum(given) / len(given))


def test_no_verdict_is_no_score(benchmark: Path, preset: str, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def mute(self: Any, briefs: Any, tell: Any = None) -> list[Any]:
        return [self._judgement(Refused("x", "nonsense: not JSON")) for _ in briefs]

    from personamem_pipeline.errors import Refused
    from personamem_pipeline.evaluation.judging.panel import RubricJudge

    monkeypatch.setattr(RubricJudge, "judgements", mute)
    log = run(tasks.personamem_open(str(benchmark), "no_history", persons=1, preset=preset), model(1.0))
    for sample in samples(log).values():
        (scored,) = (sample.scores or {}).values()
        assert "no verdict" in (scored.explanation or "")
    assert math.isnan(metrics(log, "score")["mean"])


def test_one_person_has_no_clustered_error(benchmark: Path, preset: str, model: Model) -> None:
    log = run(tasks.personamem(str(benchmark), "no_history", persons=1, preset=preset), model(1.0))
    assert len({sample.metadata["person_id"] for sample in samples(log).values()}) == 1
    assert math.isnan(metrics(log, "strict")["person_stderr"])


def test_everybody_is_asked_once_before_anybody_twice(benchmark: Path, preset: str) -> None:
    people = [
        (sample.metadata or {})["person_id"] for sample in tasks.personamem(str(benchmark), preset=preset).dataset
    ]
    assert len(people) == PEOPLE * 4 * 2
    assert all(len(set(people[start : start + PEOPLE])) == PEOPLE for start in range(0, len(people), PEOPLE))


def test_other_models_read_as_the_paper_does(memory: MemoryConfig) -> None:
    model = get_model("mockllm/model", memoize=False)
    assert how_to_read(model, None, "memory") == PUBLISHED
    assert how_to_read(model, None, "full_context").protocol == "full_context"
    assert how_to_read(model, memory, "memory") == memory


def test_bad_input_is_told(benchmark: Path) -> None:
    with pytest.raises(UserError, match="there is no benchmark"):
        tasks.personamem()
    with pytest.raises(UserError, match="no protocol is called 'psychic'"):
        tasks.personamem(str(benchmark), "psychic")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="no such preset"):
        tasks.personamem(str(benchmark), preset="frugal")


async def refuse(api: PersonaMemAPI) -> None:
    with pytest.raises(UserError, match="2 messages and 0 tools"):
        await api.generate([ChatMessageSystem(content="a")] * 2, [], "auto", GenerateConfig())


def test_only_single_turns(model: Model) -> None:
    import anyio

    anyio.run(refuse, PersonaMemAPI("x", generator=model(1.0)))
