"""What lies beside a chain and must agree with it: makings, and the files that the seeds came from.

None of it is covered by the checkpoint's version. A making is bound to the checkpoint by what it names: that it agrees with
the passport shows that nobody mixed papers up, and nothing proves the rest (commit, image, machine, run), which whoever may
write there may state, unless it was signed; so it is a note. A source file is bound by the digest in a shard's producer.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from personamem_pipeline.errors import IntegrityError
from personamem_pipeline.lineage import PASSPORT
from personamem_pipeline.passports.chain import SHORT
from personamem_pipeline.passports.code import CODE
from personamem_pipeline.passports.examine import Look, Looks
from personamem_pipeline.passports.links import Link
from personamem_pipeline.passports.reading import readable
from personamem_pipeline.passports.records import FILE, MAKINGS, Making, Passport, read_passport
from personamem_pipeline.passports.statement import last_trained
from personamem_pipeline.seeds import digest
from personamem_pipeline.store import sha256_file


def making_links(look: Look, attached: Mapping[str, bytes], signed: Container[str] = ()) -> Iterator[Link]:
    """One link for each making among a checkpoint's attachments (name -> content); somebody stands for those `signed`."""
    label = look.thing.label
    trained = False
    for name, content in sorted(attached.items()):
        if not name.startswith(f"{MAKINGS}/"):
            continue
        what = f"making {Path(name).stem}"
        if problems := _making_problems(Path(name).stem, content, look):
            means = "this record is not of the checkpoint that it lies beside, or somebody edited it; the others stand"
            yield Link(label, what, "BROKEN", problems[0], means)
            continue
        making = Making.model_validate_json(content)
        trained = trained or not making.answered
        if name in signed:
            yield Link(label, what, "ok", f"{_outcome(making)}; signed")
        else:
            means = "a making agrees with the passport; its commit, image, machine and run are stated, not proven"
            yield Link(label, what, "note", _outcome(making), means)
    if not trained:
        means = "which run made it, on what machine and with which commit, is not recorded here"
        yield Link(label, "has a making", "gap", "none of a run that trained it is attached", means)


def _outcome(making: Making) -> str:
    run = f"Dagster run {making.dagster.run_id[:8]}" if making.dagster else "a run outside Dagster"
    if making.answered:
        return f"answered by {run} at {making.finished}, trained nothing"
    return f"finished {making.finished}, {run}"


def _making_problems(name: str, content: bytes, look: Look) -> list[str]:
    """What is wrong with a making; its name ends with how the digest of its content begins (`making.attach_making`)."""
    try:
        making = Making.model_validate_json(content)
        datetime.fromisoformat(making.finished)
    except (ValidationError, ValueError) as error:
        return [f"not a making: {str(error).splitlines()[0]}"]
    problems = []
    begins = name.rpartition("-")[2]
    if not begins or not digest(content).startswith(begins):
        problems.append(f"its sha256 begins with {digest(content)[:SHORT]}, its name says {begins}")
    if making.checkpoint != look.thing.version:
        problems.append(f"it is about checkpoint {making.checkpoint[:SHORT]}")
    if making.passport != look.listed.get(PASSPORT):
        problems.append(f"it is about a passport with sha256 {making.passport[:SHORT]}")
    if making.dagster and making.dagster.asset != look.thing.name:
        problems.append(f"it is about the asset {making.dagster.asset}")
    if look.whole(PASSPORT):
        with suppress(IntegrityError):  # one that is no passport is a broken link of its own
            problems += _unlike(making, read_passport(look.directory))
    return problems


def _unlike(making: Making, passport: Passport) -> list[str]:
    """Where a making tells another story than the passport: the packages, unless they trained nothing, and the parents that
    Dagster read."""
    problems = [
        f"{name} was {making.packages.get(name, 'not installed')}, the passport says {version}"
        for name, version in sorted(passport.packages.items())
        if making.packages.get(name) != version and not making.answered
    ]
    if making.dagster:
        read = {key.partition("/")[0] for key in making.dagster.parents}
        if strange := sorted(read ^ set(passport.inputs)):
            problems.append(f"it and the passport name different parents: {', '.join(strange)}")
    return problems


def commit_of(look: Look, attached: Mapping[str, bytes]) -> str | None:
    """The commit that the making of the last run that trained a checkpoint states; None where there is no such making of
    it, or it states none."""
    whole = (
        Making.model_validate_json(content)
        for name, content in sorted(attached.items())
        if name.startswith(f"{MAKINGS}/") and not _making_problems(Path(name).stem, content, look)
    )
    making = last_trained(list(whole))
    return making.git.commit if making and making.git else None


def source_links(looks: Looks, project: Path, commit: str | None = None) -> list[Link]:
    """One link for each file that rows of the chain came from (the seeds' file or tables, released tables, padding), those
    that differ first. `commit` is where the checkpoint's making says that the program was."""
    return sorted(_source_links(looks, project, commit), key=lambda link: ("BROKEN", "gap", "ok").index(link.status))


def _source_links(looks: Looks, project: Path, commit: str | None) -> Iterator[Link]:
    users: dict[tuple[str, str], list[str]] = {}
    for look in looks.values():
        if look.manifest is None:
            continue
        named = _source_files(look.manifest.producer)
        if look.thing.name == "persona_seeds" and not named:
            means = "which file or tables the persons were drawn from is not stated: the chain ends at the stored seeds"
            yield Link(look.thing.label, "names its source", "gap", "its producer names no file", means)
        for source in named.items():
            users.setdefault(source, []).append(look.thing.label)
    for (path, sha256), labels in sorted(users.items()):
        about = labels[0] + (f" and {len(labels) - 1} more" if len(labels) > 1 else "")
        yield _source(about, path, sha256, project / Path(path).expanduser(), commit)


def _source_files(producer: Mapping[str, str]) -> dict[str, str]:
    """Path, relative to the project -> SHA-256 of the files that a shard's rows come from, as its producer states them."""
    return {key.removeprefix(FILE): value for key, value in sorted(producer.items()) if key.startswith(FILE)}


def _source(about: str, path: str, sha256: str, file: Path, commit: str | None) -> Link:
    what = f"source {path}"
    try:
        with readable(file):
            found = sha256_file(file) if file.is_file() else None
        unread = "is not here"
    except IntegrityError as error:
        found, unread = None, error.problem
    if found is None:
        means = "the stored rows are whole, but that they came from this file cannot be shown here"
        return Link(about, what, "gap", f"{file} {unread}; its sha256 was {sha256}", means)
    if found != sha256 and Path(path).parts[0] in CODE:
        where = f"of commit {commit[:SHORT]}" if commit else "of another commit, which no making names"
        means = f"the file belongs to the program and has another digest today; the one that was read is that {where}"
        return Link(about, what, "gap", f"sha256 is {found}, named is {sha256}", means)
    if found != sha256:
        means = "the file was changed since: drawn from it as it is now, the rows would be others than the stored ones"
        return Link(about, what, "BROKEN", f"sha256 is {found}, named is {sha256}", means)
    return Link(about, what, "ok", f"{file.stat().st_size:,} bytes hashed")
