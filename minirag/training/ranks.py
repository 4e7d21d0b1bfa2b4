"""Several processes that train one model (`torchrun`): who this one is, its part of a batch, and in-batch negatives from all.

Every process holds the whole model and a part of each batch, and their gradients are added up. (PyTorch's
DistributedDataParallel does so while the gradients come in; but its threads outlive the group of processes, and with gloo one
process in a few dozen then died when Python ended: "terminate called without an active exception".)

    torchrun --nproc-per-node 2 my_training.py

where the script begins with `with processes(): …`. Started without torchrun, it is one process and nothing is exchanged.

With `--max-restarts` torchrun starts a script anew when one of its processes died, and the training goes on where it was. That
needs TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 in the environment: otherwise the new processes look for each other at the old ones'
addresses (PyTorch's issue 135712).
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch import distributed as dist

from minirag.errors import MiniragError

T = TypeVar("T")
AT_ONCE = 2**23  # numbers in a message: few messages, and little memory for them


@contextlib.contextmanager
def processes() -> Iterator[torch.device]:
    """Join the processes that torchrun started, and leave them at the end; yields the device of this one."""
    started = "WORLD_SIZE" in os.environ and "RANK" in os.environ
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # processes on this machine: a GPU for each, or none
    cuda = torch.cuda.is_available() and torch.cuda.device_count() >= here
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    if started:
        dist.init_process_group("nccl" if cuda else "gloo")
    try:
        yield device
    finally:
        if started:
            dist.destroy_process_group()


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def ranks() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def share_of(examples: Sequence[T], rank: int, ranks: int) -> Sequence[T]:
    """The part of a batch that one of several processes computes.

    >>> share_of(["a", "b", "c", "d"], rank=1, ranks=2)
    ['c', 'd']
    """
    size, rest = divmod(len(examples), ranks)
    if rest or not size:
        raise MiniragError(f"{len(examples)} examples cannot be shared by {ranks} processes evenly; change the batch's size")
    return examples[rank * size : (rank + 1) * size]


def begin_alike(module: nn.Module) -> None:
    """Give every process the first one's weights, whatever it began with."""
    if ranks() > 1:
        for tensor in module.state_dict().values():
            dist.broadcast(tensor, 0)


def exchange(weights: Sequence[nn.Parameter]) -> None:
    """Put into each gradient its sum over all processes; a weight that no process used is left without one."""
    if ranks() == 1:
        return
    used = torch.tensor([weight.grad is not None for weight in weights], dtype=torch.int32, device=weights[0].device)
    dist.all_reduce(used)
    grads = []
    for weight, count in zip(weights, used.tolist(), strict=True):
        if count:
            weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
            grads.append(weight.grad)
    for some in _sent_together(grads):
        flat = torch.cat([grad.flatten() for grad in some])
        dist.all_reduce(flat)
        for grad, total in zip(some, flat.split([grad.numel() for grad in some]), strict=True):
            grad.copy_(total.view_as(grad))


def _sent_together(grads: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """The gradients in order, as many at once as come to `AT_ONCE` numbers of one type."""
    some: list[Tensor] = []
    for grad in grads:
        if some and (grad.dtype != some[0].dtype or sum(one.numel() for one in some) >= AT_ONCE):
            yield some
            some = []
        some.append(grad)
    if some:
        yield some


def gathered(vectors: Tensor) -> Tensor:
    """The vectors `[N, D]` of all processes, in their order, `[ranks · N, D]`: what in-batch negatives are taken from.

    Its derivative is exact: each process gets back what all of them found out about its vectors. (DPR's own code gathers
    without derivatives, and lets every process compute all losses instead.)
    """
    return vectors if ranks() == 1 else _Gather.apply(vectors)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, vectors: Tensor) -> Tensor:
        parts = [torch.empty_like(vectors) for _ in range(ranks())]
        dist.all_gather(parts, vectors.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        grad = grads[0].clone(memory_format=torch.contiguous_format)  # what autograd hands over may be another's, too
        dist.all_reduce(grad)
        return grad.chunk(ranks())[rank()]
