"""The processes of one computation: on one machine or several, started here, by torchrun or by SLURM."""

from __future__ import annotations

import atexit
import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from celloquy.checks import check_whole_number
from celloquy.errors import ArgumentError
from celloquy.runtime.arrays import RowArray, runs

if TYPE_CHECKING:
    from lightning_fabric import Fabric

LONGEST_WAIT = timedelta(days=1)
"""Time after which a process that waits for the others gives up: the first one may check or write files for hours."""
ROWS_SENT = 65536
"""Rows of a process that are sent to the others at a time."""


def start_processes(device: torch.device, devices: int | None = None, num_nodes: int | None = None) -> Fabric:
    """Return the processes of a computation, this one among them; each has a device of its own.

    Where torchrun or SLURM has started this process, its fellows are those that it has started. Otherwise the same
    script is started once more for each further device of this machine.

    Parameters
    ----------
    device
        Device of the computation; its kind is that of all processes.
    devices
        Number of processes on each machine; by default as many as torchrun or SLURM has started, or 1.
    num_nodes
        Number of machines; by default likewise.

    Raises
    ------
    ArgumentError
        If a number is unfit, or is not that of the processes that were started.
    """
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
    from lightning_fabric.strategies.ddp import DDPStrategy

    for name, value in (("devices", devices), ("num_nodes", num_nodes)):
        if value is not None:
            check_whole_number(name, value, least=1)
    started = None
    if TorchElasticEnvironment.detect():
        here = int(os.environ["LOCAL_WORLD_SIZE"])
        started = here, int(os.environ["WORLD_SIZE"]) // here
    elif SLURMEnvironment.detect() and "SLURM_STEP_ID" in os.environ:
        # A batch script that does not use srun is one process, whatever it has asked for.
        nodes = int(os.environ.get("SLURM_NNODES", "1"))
        started = int(os.environ["SLURM_NTASKS"]) // nodes, nodes
    n_devices, n_nodes = started or (devices or 1, num_nodes or 1)
    for name, asked, found in (("devices", devices, n_devices), ("num_nodes", num_nodes, n_nodes)):
        if asked is not None and asked != found:
            raise ArgumentError(
                f"`{name}` is not what was started.",
                found=f"{asked}, where torchrun or SLURM has started {n_devices} processes on {n_nodes} machines",
                remedy=f"leave `{name}` out, or start as many.",
                argument=name,
            )
    if n_nodes > 1 and started is None:
        raise ArgumentError(
            "Several machines need a process on each of them.",
            found=f"num_nodes={n_nodes} in a process that neither torchrun nor SLURM has started",
            remedy="start the same call with torchrun or srun on every machine, see docs/clusters.md.",
            argument="num_nodes",
        )
    several = n_devices * n_nodes > 1
    # The index of a single device is that which was asked for.
    places: list[int] | int = [device.index or 0] if device.type == "cuda" and not several else n_devices
    strategy = DDPStrategy(timeout=LONGEST_WAIT) if several else "auto"
    # Otherwise lightning finds SLURM wherever a batch script runs.
    plugins = None if started else LightningEnvironment()
    fabric = Fabric(
        accelerator=device.type, devices=places, num_nodes=n_nodes, strategy=strategy, plugins=plugins
    )  # fmt: skip
    if several:
        fabric.launch()
        # Their connections have threads, on which a process may crash that ends with them.
        atexit.register(_leave_processes)
    return fabric


def _leave_processes() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def check_alike(processes: Fabric, described: dict[str, Any]) -> None:
    """Check that all processes do the same.

    Raises
    ------
    ArgumentError
        If their descriptions differ, for example because a machine has other files.
    """
    if processes.world_size == 1:
        return
    everyone: list[dict[str, Any]] = [{}] * processes.world_size
    torch.distributed.all_gather_object(everyone, described)
    if other := sorted({name for one in everyone for name in one if one[name] != everyone[0].get(name)}):
        raise ArgumentError(
            "The processes differ.",
            found=f"differences in {', '.join(other)}",
            expected="the same call, the same files and the same versions in every process",
            remedy="check that all machines see the same files, at the same paths.",
        )


def sum_over(*sums: Tensor) -> None:
    """Replace sums of each process by those over all; all processes must call this alike."""
    for one in sums:
        torch.distributed.all_reduce(one)


def least_of(processes: Fabric, number: int) -> int:
    """Return the least of the processes' numbers."""
    if processes.world_size == 1:
        return number
    least = torch.tensor(number, device=processes.device)
    torch.distributed.all_reduce(least, torch.distributed.ReduceOp.MIN)
    return int(least)


def collect_rows(processes: Fabric, owner: np.ndarray, own: RowArray, whole: RowArray | None) -> None:
    """Send the rows of every process to all others.

    Parameters
    ----------
    processes
        The processes.
    owner
        ``(cells,)``, the process of each row.
    own
        Rows of this process.
    whole
        Array to fill with the rows of all; None keeps none.
    """
    for number in range(processes.world_size):
        rows = np.flatnonzero(owner == number)
        for part in runs(0, len(rows), ROWS_SENT):
            sent = torch.empty(part.stop - part.start, own.shape[1], dtype=own.precision, device=processes.device)
            if number == processes.global_rank:
                sent.copy_(own.read(part))
            torch.distributed.broadcast(sent, number)
            if whole is not None:
                whole.write(rows[part], sent)
