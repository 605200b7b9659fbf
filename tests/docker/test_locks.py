"""The locks hold what pyproject.toml asks for, in the versions of constraints.txt, with the hash of every file."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from personamem_pipeline.settings import PROJECT
from tests.docker.files import DOCKER

EXTRAS = {"orchestrator": ("k8s", "postgres", "attest", "sign"), "trainer": ("gpu", "mem0")}
TARGET = {
    "python_version": "3.11",
    "python_full_version": "3.11.9",
    "sys_platform": "linux",
    "platform_machine": "x86_64",
}
PROJECT_TABLE = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]


def pins(path: str) -> dict[str, Version]:
    """name -> version of a file of exact pins."""
    found = re.findall(r"^([A-Za-z0-9_.-]+)==([^\s\\;]+)", (PROJECT / path).read_text(), re.MULTILINE)
    return {canonicalize_name(name): Version(version) for name, version in found}


def lock(image: str) -> dict[str, Version]:
    return pins(f"docker/locks/{image}.txt")


def asked(extras: tuple[str, ...]) -> list[Requirement]:
    """What the project and its extras require, extras of its own resolved."""
    found = [Requirement(text) for text in PROJECT_TABLE["dependencies"]]
    open_, seen = [*extras], set()
    while open_:
        extra = open_.pop()
        if extra not in seen:
            seen.add(extra)
            for requirement in map(Requirement, PROJECT_TABLE["optional-dependencies"][extra]):
                if requirement.name == PROJECT_TABLE["name"]:
                    open_ += requirement.extras
                else:
                    found.append(requirement)
    return [one for one in found if one.marker is None or one.marker.evaluate(TARGET)]


@pytest.mark.parametrize("image", EXTRAS)
def test_a_lock_satisfies_the_project(image: str) -> None:
    left_out = (DOCKER / "locks" / "without-dagster.txt").read_text().split() if image == "trainer" else []
    locked = lock(image)
    for requirement in asked(EXTRAS[image]):
        name = canonicalize_name(requirement.name)
        if name in left_out:
            assert name not in locked
        else:
            assert requirement.specifier.contains(locked[name], prereleases=True), (
                f"docker/locks/lock.sh: {requirement}"
            )


@pytest.mark.parametrize("image", EXTRAS)
def test_a_lock_has_the_versions_that_were_tested(image: str) -> None:
    tested = pins("constraints.txt")
    assert {name: version for name, version in lock(image).items() if tested.get(name, version) != version} == {}


@pytest.mark.parametrize("image", EXTRAS)
def test_every_pin_has_hashes(image: str) -> None:
    text = (DOCKER / "locks" / f"{image}.txt").read_text()
    entries = re.split(r"\n(?=[a-z0-9])", text[text.index("\n" + min(lock(image))) + 1 :])
    assert len(entries) == len(lock(image)) > 100
    assert all("--hash=sha256:" in entry for entry in entries)


def test_the_images_share_no_burden() -> None:
    assert not {"torch", "transformers", "vllm", "trl", "datasets"} & lock("orchestrator").keys()
    assert {name for name in lock("trainer") if name.startswith("dagster")} == {"dagster-pipes"}
    assert not {"kubernetes", "psycopg2-binary", "graphql-core-next"} & lock("trainer").keys()
    assert {"dagster-k8s", "dagster-postgres", "psycopg2-binary", "kubernetes"} <= lock("orchestrator").keys()
    assert {"torch", "vllm", "trl", "peft", "sentence-transformers", "nvidia-nccl-cu13"} <= lock("trainer").keys()


def test_both_sides_of_a_session_agree() -> None:
    """The workstation's image installs one lock over the other, and Pipes' messages go from one image to the other."""
    left, right = lock("orchestrator"), lock("trainer")
    assert {name: (left[name], right[name]) for name in left.keys() & right.keys() if left[name] != right[name]} == {}
