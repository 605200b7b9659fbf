"""Demographic tables: what a person may be, with weights, as a YAML file that anybody can replace.

    sentence: "{age} {occupation} from {location}."     # the seed of a person for whom no file gives one
    attributes:                                         # drawn in this order
      age: {values: {young: 3, older: {weight: 2, phrase: An older}}}
      occupation:
        values: {office worker: 3}
        also: {age: {older: {retired person: 4}}}       # further values, or other weights, where age is `older`
      location: {values: {the city: 1}}

A value's `phrase` is how the sentence says it (by default the value itself). The value "" leaves the attribute open: the
person has none, and whoever writes the person decides.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from random import Random
from string import Formatter
from typing import Annotated, Any

import yaml
from pydantic import BeforeValidator, Field, ValidationError, model_validator

from personamem_pipeline.errors import UserError
from personamem_pipeline.presets import Section, SeedsConfig
from personamem_pipeline.settings import PROJECT

TABLES = Path(__file__).parent / "tables"


class Choice(Section):
    """One value of an attribute."""

    weight: float = Field(ge=0, strict=True, allow_inf_nan=False)
    phrase: str | None = None


Choices = dict[str, Annotated[Choice, BeforeValidator(lambda raw: raw if isinstance(raw, dict) else {"weight": raw})]]


class Attribute(Section):
    """The values of one attribute; `also` adds to them (or replaces them) by the value of one earlier attribute."""

    values: Choices
    also: dict[str, dict[str, Choices]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _drawable(self) -> Attribute:
        if len(self.also) > 1:
            raise ValueError("`also` may depend on one attribute only")
        for given in ("", *self.conditions):
            if sum(choice.weight for choice in self.choices(given).values()) <= 0:
                raise ValueError("the weights" + (f" where it is {given!r}" if given else "") + " must not all be 0")
        return self

    @property
    def depends_on(self) -> str | None:
        """The earlier attribute on whose value the weights depend."""
        return next(iter(self.also), None)

    @property
    def conditions(self) -> Mapping[str, Choices]:
        """Value of that attribute -> the choices it adds."""
        return next(iter(self.also.values()), {})

    def choices(self, given: str) -> Choices:
        """What can be drawn where the attribute it depends on has the value `given`."""
        return self.values | self.conditions.get(given, {})


class Tables(Section):
    """One file of tables."""

    sentence: str = Field(min_length=1)
    attributes: dict[str, Attribute] = Field(min_length=1)

    @model_validator(mode="after")
    def _closed(self) -> Tables:
        for _, name, spec, conversion in Formatter().parse(self.sentence):  # raises ValueError for a single brace
            if name is not None and (name not in self.attributes or spec or conversion):
                raise ValueError(f"`sentence` asks for {{{name}}}, but the attributes are {', '.join(self.attributes)}")
        earlier: dict[str, set[str]] = {}
        for name, attribute in self.attributes.items():
            if attribute.depends_on is not None:
                if attribute.depends_on not in earlier:
                    raise ValueError(f"attributes.{name}.also.{attribute.depends_on} is no earlier attribute")
                if strange := set(attribute.conditions) - earlier[attribute.depends_on]:
                    raise ValueError(f"attributes.{name}.also: no such {attribute.depends_on}: {sorted(strange)}")
            earlier[name] = set(attribute.values).union(*attribute.conditions.values())
        return self

    def draw(self, rng: Random) -> tuple[str, dict[str, str]]:
        """A sentence and the attributes it was made from; attributes left open are not among them."""
        drawn: dict[str, str] = {}
        phrases: dict[str, str] = {}
        for name, attribute in self.attributes.items():
            choices = attribute.choices(drawn[attribute.depends_on] if attribute.depends_on else "")
            value = rng.choices(list(choices), [choice.weight for choice in choices.values()])[0]
            drawn[name], phrase = value, choices[value].phrase
            phrases[name] = value if phrase is None else phrase
        return self.sentence.format_map(phrases), {name: value for name, value in drawn.items() if value}

    def shares(self) -> dict[str, dict[str, float]]:
        """Attribute -> value -> expected share of all persons; the share of "" leaves it open. Each sums to 1."""
        shares: dict[str, dict[str, float]] = {}
        for name, attribute in self.attributes.items():
            own = shares[name] = dict.fromkeys(dict.fromkeys([*attribute.values, *_added(attribute)]), 0.0)
            for given, probability in (shares[attribute.depends_on] if attribute.depends_on else {"": 1.0}).items():
                choices = attribute.choices(given)
                total = sum(choice.weight for choice in choices.values())
                for value, choice in choices.items():
                    own[value] += probability * choice.weight / total
        return shares


def target_shares(config: SeedsConfig) -> dict[str, dict[str, float]]:
    """What `PersonaSeed.attributes` should come to: attribute -> value -> share; "" stands for an attribute left open."""
    return load_tables(config.tables).shares()


def tables_path(name: str) -> Path:
    """Where tables are: `tables/<name>.yaml`, or the file at that path, relative to the project."""
    return PROJECT / name if name.endswith((".yaml", ".yml")) else TABLES / f"{name}.yaml"


def load_tables(name: str) -> Tables:
    """The tables of a preset (`tables_path`). `UserError` names the file and the key that is wrong."""
    path = tables_path(name)
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except OSError as error:
        known = ", ".join(sorted(file.stem for file in TABLES.glob("*.yaml")))
        raise UserError(
            f"cannot be read: {error.strerror}",
            where=path,
            expected=f"one of {known}, or a path to a .yaml file like them",
            remedy="correct data.seeds.tables in the preset",
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise _broken(f"not YAML: {error}", path) from error
    try:
        return Tables.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise _broken(f"{key}: {first['msg']}" if key else first["msg"], path) from error


def _added(attribute: Attribute) -> list[str]:
    return [value for choices in attribute.conditions.values() for value in choices]


def _broken(problem: str, path: Path) -> UserError:
    return UserError(
        problem,
        where=path,
        expected="`sentence` and `attributes` with weights of 0 or more, as in personas/tables/simulator.yaml",
        remedy="correct the file, or name another one in data.seeds.tables of the preset",
    )


class _Loader(yaml.SafeLoader):
    """YAML in which a key that stands twice is an error; PyYAML keeps the last one, so that a weight would be lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if twice := sorted({key for key in keys if keys.count(key) > 1}):
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {', '.join(twice)} stands twice", node.start_mark
            )
        return super().construct_mapping(node, deep)
