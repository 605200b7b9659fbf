"""The pod template: one file, typed; what is wrong in it is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from assets.checkpoints import COMMANDS
from personamem_pipeline.errors import UserError
from personamem_pipeline.settings import POD_TEMPLATE
from resources.pods.fields import SECRET_NAME
from resources.pods.template import STAGES, PodTemplate, load_template


def default(**more: Any) -> dict[str, Any]:
    return {**yaml.safe_load(POD_TEMPLATE.read_text()), **more}


def test_the_default_explains_every_field() -> None:
    text = POD_TEMPLATE.read_text()
    missing = [name for name in PodTemplate.model_fields if f"{name}:" not in text]
    # Escape hatches and names that hardly ever differ are left to the types.
    assert set(missing) <= {"python", "gpu_resource"}
    assert load_template(POD_TEMPLATE).gpus == 8


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"gpu": 8}, "gpu"),
        ({"gpus": -1}, "gpus"),
        ({"memory": "1200 GB"}, "memory"),
        ({"image": "personamem/trainer:latest"}, "no digest"),
        ({"grace_seconds": 5}, "grace_seconds"),
        ({"tolerations": [{"key": "a", "effect": "Never"}]}, "tolerations.0.effect"),
        ({"scratch": {"claim": "a", "host_path": "/b"}}, "scratch"),
        ({"scratch": {"host_path": "/b", "size_limit": "5Gi"}}, "scratch"),
        ({"stages": {"base_model": {"gpu": 0}}}, "stages.base_model.gpu"),
        ({"stages": {"base_model": {"gpus": None}}}, "stages.base_model.gpus"),
        ({"stages": {"grpo_chekpoint": {"gpus": 4}}}, "no stage is called grpo_chekpoint; there are base_model"),
        ({"env": {"PERSONAMEM_LLM_API_KEY": "sk-1"}}, "looks like a secret"),
        ({"stages": {"base_model": {"env": {"HF_TOKEN": "hf"}}}}, "looks like a secret"),
        ({"artifacts": {"claim": "a", "mount_path": "data"}}, "artifacts.mount_path"),
    ],
)
def test_a_mistake_is_named_with_file_and_field(values: dict[str, Any], field: str, tmp_path: Path) -> None:
    path = tmp_path / "pod.yaml"
    path.write_text(yaml.safe_dump(default(**values)))
    with pytest.raises(UserError) as told:
        load_template(path)
    assert field in str(told.value)
    assert told.value.where == str(path)


@pytest.mark.parametrize("text", ["[1, 2]", "image: [", ""])
def test_what_is_no_template_is_said_to_be_none(text: str, tmp_path: Path) -> None:
    path = tmp_path / "pod.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"pod\.yaml"):
        load_template(path)
    with pytest.raises(UserError, match="no such pod template"):
        load_template(tmp_path / "absent.yaml")


def test_a_stage_has_its_own_values_and_the_template_s_others() -> None:
    template = PodTemplate.model_validate(
        default(env={"A": "1", "B": "1"}, stages={"base_model": {"gpus": 0, "node_selector": {}, "env": {"B": "2"}}})
    )
    base, grpo = template.for_stage("base_model"), template.for_stage("grpo_checkpoint")
    assert (base.gpus, base.node_selector, base.env) == (0, {}, {"A": "1", "B": "2"})
    assert base.memory == template.memory
    assert (grpo.gpus, grpo.env) == (8, {"A": "1", "B": "1"})


def test_the_stages_are_those_that_are_commands() -> None:
    assert set(STAGES) == set(COMMANDS)


@pytest.mark.parametrize(
    ("own", "expected"), [({}, "urgent"), ({"priority_class": None}, None), ({"priority_class": "lazy"}, "lazy")]
)
def test_a_stage_may_have_no_priority_class(own: dict[str, Any], expected: str | None) -> None:
    template = PodTemplate.model_validate(default(priority_class="urgent", stages={"base_model": own}))
    assert template.for_stage("base_model").priority_class == expected


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("PERSONAMEM_LLM_API_KEY", True),
        ("AWS_ACCESS_KEY_ID", True),
        ("AWS_SECRET_ACCESS_KEY", True),
        ("HF_TOKEN", True),
        ("MLFLOW_TRACKING_PASSWORD", True),
        ("PERSONAMEM_LLM_MAX_TOKENS", False),
        ("TOKENIZERS_PARALLELISM", False),
        ("KEYRING", False),
    ],
)
def test_secrets_are_known_by_their_names(name: str, secret: bool) -> None:
    assert bool(SECRET_NAME.search(name)) is secret
