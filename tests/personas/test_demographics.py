"""Demographic tables: the two we ship, what they come to, and what is said of broken ones."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from personamem_pipeline.errors import UserError
from personamem_pipeline.llm.simulator.groups import KINDS, groups_of
from personamem_pipeline.personas.demographics import TABLES, load_tables, target_shares
from personamem_pipeline.personas.seeds import draw_seeds
from personamem_pipeline.presets import SeedsConfig
from personamem_pipeline.seeds import rng

GOOD = """
sentence: "{age} from {place}."
attributes:
  age: {values: {young: 3, older: {weight: 1, phrase: An older}}}
  place: {values: {the city: 1, "": 1}, also: {age: {older: {the coast: 2}}}}
"""


@pytest.mark.parametrize("name", sorted(file.stem for file in TABLES.glob("*.yaml")))
def test_sampled_persons_come_to_the_target_shares(name: str) -> None:
    config = SeedsConfig(tables=name, training_persons=2500, benchmark_persons=500)
    rows = draw_seeds(config, 0).rows
    for attribute, shares in target_shares(config).items():
        assert sum(shares.values()) == pytest.approx(1)
        seen = Counter(row.attributes.get(attribute, "") for row in rows)
        assert set(seen) <= set(shares)
        for value, share in shares.items():
            assert abs(seen[value] / 3000 - share) < 4 * (share * (1 - share) / 3000) ** 0.5 + 1e-3, (attribute, value)


def test_the_shares_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(GOOD)
    shares = target_shares(SeedsConfig(tables=str(path), training_persons=1, benchmark_persons=1))
    assert shares["age"] == pytest.approx({"young": 0.75, "older": 0.25})
    assert shares["place"] == pytest.approx({"the city": 0.4375, "": 0.4375, "the coast": 0.125})


def test_the_weights_of_the_paper() -> None:
    attributes = load_tables("demographics").attributes
    expected = {
        "gender": (44.5, 46.6, 3.5, 1.2, 1.0, 0.8, 1.2, 1.2),
        "sexual_orientation": (88, 8.1, 3, 0.5, 0.4),
        "race_ethnicity": (15, 18, 9, 1, 6, 16, 20, 8, 0.8, 0.5, 4.7),
    }
    for name, weights in expected.items():
        assert tuple(choice.weight for choice in attributes[name].values.values()) == weights


@pytest.mark.parametrize("name", ["simulator", "demographics"])
def test_sentence_and_attributes_agree(name: str) -> None:
    tables = load_tables(name)
    for person in range(400):
        sentence, attributes = tables.draw(rng(0, "test", person))
        assert sentence[0].isupper()
        assert sentence.endswith(".")
        assert not set("{}") & set(sentence)
        for attribute in ("age", "occupation", "location"):
            assert attributes[attribute] in sentence.replace("A ", "").replace("An ", "")
        # What the simulator reads out of the sentence is what the attributes say.
        groups = groups_of(sentence, {}, rng(0, "groups", person))
        hinted = groups_of("", attributes, rng(0, "groups", person))
        for kind in ("age", "occupation", "location"):
            assert groups.of(kind) == hinted.of(kind), (sentence, attributes)
        assert groups.of("occupation")[0] in KINDS["occupation"]


@pytest.mark.parametrize(
    ("broken", "key"),
    [
        (GOOD.replace("young: 3", "young: -3"), "attributes.age.values.young.weight"),
        (GOOD.replace("young: 3", "young: .nan"), "attributes.age.values.young.weight"),
        (GOOD.replace("young: 3", "young: .inf"), "attributes.age.values.young.weight"),
        (GOOD.replace("young: 3", "young: many"), "attributes.age.values.young.weight"),
        (GOOD.replace("young: 3", "young: true"), "attributes.age.values.young.weight"),
        (GOOD.replace("young: 3", "young:"), "attributes.age.values.young.weight"),
        (GOOD.replace("young: 3", "young: {weight: 3, phrse: Y}"), "attributes.age.values.young.phrse"),
        (GOOD.replace("young: 3", "1: 3"), "attributes.age.values.1"),
        (GOOD.replace("young: 3, older: {weight: 1, phrase: An older}", ""), "attributes.age: "),
        (GOOD.replace("young: 3", "young: 0").replace("weight: 1", "weight: 0"), "must not all be 0"),
        (GOOD.replace("{place}", "{plaice}"), "{plaice}"),
        (GOOD.replace("{place}", "{place.x}"), "{place.x}"),
        (GOOD.replace("{place}", "{place!r}"), "{place}"),
        (GOOD.replace("{place}", "{}"), "{}"),
        (GOOD.replace("{place}", "{place"), "expected '}'"),
        (GOOD.replace("also: {age:", "also: {place:"), "attributes.place.also.place"),
        (GOOD.replace("{older: {the coast", "{elder: {the coast"), "elder"),
        (GOOD.replace("{older: {the coast: 2}}", "{older: {the coast: 2}}, b: {}"), "one attribute only"),
        (GOOD + "more: 1\n", "more"),
        (GOOD.replace("young: 3", "young: 3, young: 4"), "young stands twice"),
        ("sentence: A person.\nattributes: {}\n", "attributes"),
        ("sentence: A person.\n", "attributes"),
        ("- one\n- two\n", "valid"),
        ("", "valid"),
        ("sentence: [", "not YAML"),
    ],
)
def test_a_broken_table_is_named_with_its_key(tmp_path: Path, broken: str, key: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(broken)
    with pytest.raises(UserError) as raised:
        load_tables(str(path))
    assert key in raised.value.problem
    assert raised.value.where == str(path)
    assert raised.value.remedy


def test_tables_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"sentence: caf\xe9")
    for name, problem in (("nobody", "cannot be read"), (str(tmp_path / "latin.yaml"), "not YAML")):
        with pytest.raises(UserError, match=problem):
            load_tables(name)
    with pytest.raises(UserError) as raised:
        load_tables("nobody")
    assert "demographics, simulator" in raised.value.expected
