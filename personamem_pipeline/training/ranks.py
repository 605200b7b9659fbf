"""What the processes of one run agree on. Imports only torch."""

from __future__ import annotations

from typing import Any

import torch


def plain_cpu(arguments: Any) -> None:
    """Make the device of transformers' `arguments` `cpu` where it is `cpu:0`, as it is with several processes.

    Its trainer maps what it resumes from to that device, and torch knows no numbered CPU to load to.
    """
    if arguments.device.type == "cpu":
        arguments.__dict__["_setup_devices"] = torch.device("cpu")


def any_process(here: bool, device: torch.device) -> bool:
    """Whether it is so in any process of the run; every process has to ask, each on its own device.

    A signal reaches processes at different times, and one that stopped alone would leave the others waiting for it.
    """
    if not torch.distributed.is_initialized():
        return here
    flag = torch.tensor(int(here), device=device)
    torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
    return bool(flag.item())
