"""The summary for Dagster."""

from __future__ import annotations

from personamem_pipeline.evaluation.report import summary
from tests.evaluation.report import sample


def test_it_has_the_headline_the_test_the_changes_and_the_probe() -> None:
    text = summary(sample.sample(shown=0))
    assert "+3.7 points" in text.splitlines()[0]
    assert "| after GRPO | 46.4 % | 42.8 % to 50.1 % | 74 of 240 |" in text.replace("\N{NARROW NO-BREAK SPACE}", " ")
    assert "| grpo | +1.8 |" in text
    assert "stayed the same, byte for byte" in text
    assert "- System gpt was left out" in text


def test_gaps_are_said() -> None:
    text = summary(sample.gapped())
    assert "none: one person" in text
    assert "Leak probe: not run." in text
    assert "no earlier report" in text


def test_a_leak_stands_out() -> None:
    results = sample.sample(shown=0)
    results["leak_probe"][1]["equal"] = False
    assert "**Leak probe: the question reached the memories of sft.**" in summary(results)


def test_labels_cannot_break_the_table_or_bring_markup() -> None:
    results = sample.sample(shown=0)
    results["systems"][0]["label"] = "a | b\n<img src=x> `c`"
    line = next(line for line in summary(results).splitlines() if "img" in line)
    assert line.startswith("| a \\| b &lt;img src=x> 'c' |")
