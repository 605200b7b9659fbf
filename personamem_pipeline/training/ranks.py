"""What the processes of one run agree on. Imports only torch."""

from __future__ import annotations

import torch


def any_process(here: bool, device: torch.device) -> bool:
    """Whether it is so in any process of the run; every process has to ask, each on its own device.

    A signal reaches processes at different times, and one that stopped alone would leave the others waiting for it.
    """
    if not torch.distributed.is_initialized():
        return here
    flag = torch.tensor(int(here), device=device)
    torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
    return bool(flag.item())
