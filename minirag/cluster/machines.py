"""Ray, connected: to which cluster, who can reach it, whether it has room, and its errors in one sentence."""

import contextlib
import logging
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

from minirag.errors import MiniragError

# Ray reads this when it is imported: where it is 0, a machine's address is 127.0.0.1, and no other machine can reach what runs
# there. That is Ray's own choice on macOS and Windows; on Linux it would listen to the whole network.
LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


def room(ray: Any, threads: int, gpus: int) -> int:
    """How many actors the cluster has room for."""
    asked = {"CPU": threads, "GPU": gpus}
    machines = [machine["Resources"] for machine in ray.nodes() if machine["Alive"]]
    fit = [min(int(machine.get(kind, 0) // n) for kind, n in asked.items() if n) for machine in machines]
    if not sum(fit):
        raise MiniragError(
            f"no machine of the Ray cluster has {threads} CPUs and {gpus} GPUs for a worker; ask for fewer, or add machines"
        )
    return sum(fit)


@contextlib.contextmanager
def connected() -> Iterator[Any]:
    """Ray, connected; what was not connected before is so until the end."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anyone
    address = os.environ.get("RAY_ADDRESS", "local")
    if address == "local" and "ray" not in sys.modules:
        os.environ.setdefault(LOOPBACK, "0")
    try:
        import ray
        import ray.data
    except ImportError:
        raise MiniragError("encoding on a cluster needs Ray Data; run `pip install minirag[cluster]`") from None
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # it tells at length what becomes one sentence here
    ours = not ray.is_initialized()
    if ours:
        alone = {"include_dashboard": False} if address == "local" else {}
        ray.init(address, log_to_driver=False, logging_level="error", **alone)
    try:
        yield ray
    finally:
        if ours:
            ray.shutdown()


@contextlib.contextmanager
def one_line_errors(ray: Any) -> Iterator[None]:
    """Whatever befell the workers, and is no error of ours, becomes one sentence."""
    try:
        yield
    except ray.exceptions.RayError as error:
        told = [line.strip() for line in str(error).strip().splitlines()]
        reason = next((line for line in told if re.match(r"[\w.]+(Error|Exception): ", line)), told[0])  # what came first
        raise MiniragError(f"the workers failed ({reason}); look at Ray's logs, and run this again to go on") from error
