"""The commit of the code: that of its own working tree and no other, told dirty when what runs was changed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from personamem_pipeline.errors import UserError
from personamem_pipeline.passports.code import CODE, NoCommit, git_of

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def git(project: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "init.defaultBranch=main")
    command = ["git", *identity, "-C", str(project), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with a file in each package."""
    root = tmp_path / "project"
    for name in CODE:
        (root / name).mkdir(parents=True)
        (root / name / "__init__.py").write_text("")
    git(root, "init", "--quiet")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message", "first")
    return root


def test_a_clean_tree_is_at_its_commit(project: Path) -> None:
    found = git_of(project)
    assert found.commit == git(project, "rev-parse", "HEAD") and not found.dirty


@pytest.mark.parametrize(
    ("file", "dirty"),
    [("personamem_pipeline/__init__.py", True), ("assets/new.py", True), ("notes.txt", False)],
)
def test_only_changed_code_is_dirty(file: str, dirty: bool, project: Path) -> None:
    (project / file).write_text("changed = True\n")
    assert git_of(project).dirty == dirty


def test_a_copy_inside_another_repository_is_not_at_its_commit(project: Path, tmp_path: Path) -> None:
    inner = project / "venv" / "site-packages"
    for name in CODE:
        (inner / name).mkdir(parents=True)
        (inner / name / "__init__.py").write_text("")
    with pytest.raises(NoCommit, match="git says"):
        git_of(inner)
    assert git_of(inner, stated=COMMIT).commit == COMMIT


def test_variables_of_another_repository_do_not_mislead(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = git(project, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert git_of(project).commit == commit


def test_without_git_there_is_no_commit(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(NoCommit, match="not installed"):
        git_of(project)


def test_a_repository_without_a_commit_has_none(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    with pytest.raises(NoCommit):
        git_of(tmp_path)


def test_an_image_states_its_commit(tmp_path: Path, project: Path) -> None:
    assert git_of(tmp_path, stated=f"{COMMIT}-dirty").dirty and not git_of(tmp_path, stated=COMMIT).dirty
    assert git_of(project, stated=COMMIT).commit != COMMIT, "a working tree knows better"
    with pytest.raises(UserError, match="no commit"):
        git_of(tmp_path, stated="latest")
