"""The commands about origins: prove a checkpoint's chain, trace rows and people. Only arguments; the work is in `passports`.

personamem verify grpo_checkpoint                      the newest one; exit code 0 whole, 1 broken, 3 with gaps, 4 no store
personamem verify s3://lab/checkpoints/9c41...         the address that Dagster, MLflow and cards show
personamem verify downloads/9c41... --store /mnt/store a copied directory, with only the store beside it
personamem lineage 9c41                                which rows touched this checkpoint, step by step
personamem lineage t0007                               which checkpoints must be trained again if this person withdraws
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personamem_pipeline.arguments import positive

if TYPE_CHECKING:
    from personamem_pipeline.passports.finding import FoundCheckpoint
    from personamem_pipeline.store import Store

ROWS = 20
INCOMPLETE = 3
"""Exit code where something is not stated or could not be searched; as of `verify`, and told apart from bad input."""
AWAY = "4 the store does not answer: nothing is said of what is in it"
CHECKPOINT_HELP = (
    "how its version begins, its address (.../checkpoints/VERSION), a directory, or base_model, sft_checkpoint or "
    "grpo_checkpoint for the newest of it"
)


def add_lineage_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `verify` and `lineage` to the commands of `personamem`."""
    verify = commands.add_parser(
        "verify",
        help="recompute a checkpoint's chain of digests down to the seeds",
        description="Recompute every digest of a checkpoint's chain, down to the file that the persons were drawn from, "
        "and hold what its papers say against what lies there. A making (which run, commit, image and machine) is no part "
        "of the version: that it is of this checkpoint is checked, the rest is what somebody stated. With --public-key it "
        "is shown whether the holder of the key stands for it.",
        epilog="exit code: 0 whole; 1 a link is broken; 2 bad input; 3 nothing is broken, but something is not stated "
        f"or not at hand (as with passports of format 1); {AWAY}",
    )
    verify.set_defaults(run=_verify)
    verify.add_argument("checkpoint", metavar="CHECKPOINT", help=CHECKPOINT_HELP)
    verify.add_argument("--public-key", type=Path, metavar="FILE", help="also check its signature by this key (PEM)")
    verify.add_argument("--all", action="store_true", help="a line for each shard, too")

    lineage = commands.add_parser(
        "lineage",
        help="which rows touched a checkpoint; which checkpoints saw a row or a person",
        epilog="exit code: 0; 2 bad input; 3 of a checkpoint it cannot be told which rows it saw, or data that are not "
        f"whole were not searched; {AWAY}",
    )
    lineage.set_defaults(run=_lineage)
    lineage.add_argument(
        "name",
        metavar="CHECKPOINT|ROW_ID|PERSON_ID",
        help=f"a checkpoint ({CHECKPOINT_HELP}), or a question's or person's id",
    )
    lineage.add_argument("--rows", type=positive, default=ROWS, metavar="N", help=f"rows to list; default: {ROWS}")
    lineage.add_argument(
        "--statement",
        action="store_true",
        help="a checkpoint's papers as an in-toto statement with SLSA provenance (JSON)",
    )
    for command in (verify, lineage):
        command.add_argument(
            "--store", metavar="S", help="a directory or s3://...; default: the one in CHECKPOINT's address, else ours"
        )
        command.add_argument(
            "--json", action="store_true", help="the same for programs, with everything that tables cut"
        )


def _verify(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from personamem_pipeline.passports.finding import store_of
    from personamem_pipeline.passports.reading import readable
    from personamem_pipeline.passports.shown import show_verification, verification_json
    from personamem_pipeline.passports.verify import verify

    store = store_of(arguments.store, arguments.checkpoint)
    with readable(store.url):
        result = verify(store, _checkpoint(arguments.checkpoint, store), public_key=arguments.public_key)
    if arguments.json:
        print(json.dumps(verification_json(result), indent=1))
    else:
        show_verification(result, Console(), every=arguments.all)
    return result.exit_code


def _lineage(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from personamem_pipeline.passports.finding import find_checkpoint, store_of
    from personamem_pipeline.passports.reading import readable
    from personamem_pipeline.passports.shown_lineage import rows_json, show_rows
    from personamem_pipeline.passports.trace import rows_of

    store = store_of(arguments.store, arguments.name)
    if arguments.statement:
        with readable(store.url):
            told = _statement(_checkpoint(arguments.name, store), store)
        print(json.dumps(told, indent=1))
        return 0
    with readable(store.url):
        found = find_checkpoint(arguments.name, store)
        touched = rows_of(store, found) if found else None
    if touched is None:
        return _trace(arguments, store)
    if arguments.json:
        print(json.dumps(rows_json(touched), indent=1))
    else:
        show_rows(touched, Console(), arguments.rows)
    return INCOMPLETE if any(each.problem for each in touched) else 0


def _statement(found: FoundCheckpoint, store: Store) -> dict[str, Any]:
    """A checkpoint's papers as an in-toto statement; refused where its files are not those of its version."""
    from personamem_pipeline.passports.making import makings_among
    from personamem_pipeline.passports.records import read_passport
    from personamem_pipeline.passports.statement import checkpoint_statement
    from personamem_pipeline.store import read_manifest, verify_files

    directory = found.directory(store)
    manifest = read_manifest(directory, expected_version=found.version)
    verify_files(directory, manifest)
    makings = makings_among(found.attached(store), manifest.version, directory)
    return checkpoint_statement(manifest, read_passport(directory), makings)


def _trace(arguments: argparse.Namespace, store: Store) -> int:
    from rich.console import Console

    from personamem_pipeline.errors import UserError
    from personamem_pipeline.passports.holding import behind, hold
    from personamem_pipeline.passports.reading import readable
    from personamem_pipeline.passports.shown_lineage import show_trace, trace_json
    from personamem_pipeline.passports.trace import sights

    name = arguments.name
    with readable(store.url):
        held, seen = hold(store, name), sights(store, name)
        above = behind(store, [row for row in held.holders if row.asset == "questions" and row.person != name])
    if not held.holders and not held.broken and not seen:
        raise UserError(
            "no checkpoint, row or person of that name",
            where=name,
            expected=f"what is in {store.url}",
            remedy="correct the name, or give --store",
        )
    if arguments.json:
        print(json.dumps(trace_json(name, held, above, seen), indent=1))
    else:
        show_trace(name, held, above, seen, Console())
    unknown = held.broken or above.broken or not all(sight.certain for sight in seen)
    return INCOMPLETE if unknown else 0


def _checkpoint(name: str, store: Store) -> FoundCheckpoint:
    from personamem_pipeline.errors import UserError
    from personamem_pipeline.passports.finding import find_checkpoint

    found = find_checkpoint(name, store)
    if found is None:
        raise UserError(
            "no such checkpoint",
            where=name,
            expected=CHECKPOINT_HELP,
            remedy=f"look into {store.url}/checkpoints, or give --store",
        )
    return found
