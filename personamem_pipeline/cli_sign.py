"""`personamem sign`: put a signature beside a checkpoint. Only arguments; the work is in `passports.signing`."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_sign_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `sign` to the commands of `personamem`."""
    sign = commands.add_parser(
        "sign",
        help="sign a checkpoint with a private key (OpenSSF model signing; needs the extra `sign`)",
        description="Hash every file of a checkpoint in the store and attach a signature of them, and one of each of its "
        "makings: what those state of run, commit, image and machine, nothing else proves. "
        "`personamem verify CHECKPOINT --public-key FILE` checks it.",
    )
    sign.set_defaults(run=_sign)
    sign.add_argument(
        "checkpoint",
        metavar="CHECKPOINT",
        help="how its version begins, its address, or an asset's name for the newest",
    )
    sign.add_argument("--key", type=Path, required=True, metavar="FILE", help="an EC private key in PEM")
    sign.add_argument(
        "--store", metavar="S", help="a directory or s3://...; default: the one in CHECKPOINT's address, else ours"
    )


def _sign(arguments: argparse.Namespace) -> None:
    from getpass import getpass

    from personamem_pipeline.errors import UserError
    from personamem_pipeline.passports.finding import find_checkpoint, store_of
    from personamem_pipeline.passports.signing import encrypted, sign

    store = store_of(arguments.store, arguments.checkpoint)
    found = find_checkpoint(arguments.checkpoint, store)
    if found is None or found.version is None or found.copy is not None:
        raise UserError(
            "no checkpoint of that name in the store",
            where=arguments.checkpoint,
            expected=f"one in {store.url}/checkpoints",
            remedy="name its version, or base_model, sft_checkpoint or grpo_checkpoint; or give --store",
        )
    password = getpass(f"Password of {arguments.key}: ").encode() if encrypted(arguments.key) else None
    name = sign(store, found.version, arguments.key, password)
    print(f"{store.address('checkpoints', found.version)}: {name} attached")
