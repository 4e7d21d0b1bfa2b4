"""The doctor always answers, also where half of everything is missing."""

import builtins
import importlib.util
import json
import sys

import pytest

from minirag import doctor

KEYS = {"versions", "system", "cpu", "memory_gib", "disk_free_gib", "devices", "openmp", "clashes"}


def test_the_report_is_complete_json_and_reads_well():
    found = doctor.report()
    assert set(found) == KEYS
    assert json.loads(json.dumps(found)) == found
    assert found["versions"]["torch"].startswith("2.")
    assert found["cpu"]["cores"] >= 1
    assert found["memory_gib"]["total"] >= found["memory_gib"]["free"] > 0
    assert found["devices"][0] == "cpu"
    text = doctor.format_report(found)
    for fact in (found["versions"]["torch"], found["system"], found["cpu"]["model"], *found["clashes"]):
        assert fact in text


def test_looking_leaves_the_environment_alone(monkeypatch):
    """In a fresh process: importing threadpoolctl sets KMP_DUPLICATE_LIB_OK, which the next report would take for a clash."""
    monkeypatch.delenv("KMP_DUPLICATE_LIB_OK", raising=False)
    look = "import os; from minirag.doctor import report; print(len(report()['openmp']), 'KMP_DUPLICATE_LIB_OK' in os.environ)"
    runtimes, left = doctor._run(sys.executable, "-W", "ignore", "-c", look).split()
    assert int(runtimes) >= 1
    assert left == "False"


def test_machine_is_what_a_bench_needs():
    machine = doctor.machine()
    assert set(machine) == {"cpu", "cores", "features", "ram_gb", "torch", "threads", "date"}
    assert machine["threads"] >= 1
    assert len(machine["date"]) == 10


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32", "plan9"])
def test_nothing_is_needed(monkeypatch, platform):
    """No package can be imported, no program run, no file of /proc read, and still there is a report."""
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.split(".")[0] in ("torch", "psutil", "threadpoolctl", "faiss"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    monkeypatch.setattr(doctor, "_version", lambda package: None)
    monkeypatch.setattr(doctor.sys, "platform", platform)
    monkeypatch.setattr(doctor, "_run", lambda *command: None)
    monkeypatch.setattr(doctor, "_proc_cpuinfo", lambda: (None, set()))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    found = doctor.report()
    assert set(found) == KEYS
    text = doctor.format_report(found)
    assert "not installed" in text
    assert "pip install minirag" in text
    assert doctor.machine()["torch"] is None


def test_cpuinfo_of_both_architectures(tmp_path):
    x86, arm = tmp_path / "x86", tmp_path / "arm"
    x86.write_text("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nflags\t\t: fpu avx2 avx512_bf16\n\nprocessor\t: 1\n")
    arm.write_text("processor\t: 0\nFeatures\t: fp asimd bf16\n")
    assert doctor._proc_cpuinfo(str(x86)) == ("Some CPU @ 2 GHz", {"fpu", "avx2", "avx512_bf16"})
    assert doctor._proc_cpuinfo(str(arm)) == (None, {"fp", "asimd", "bf16"})
    assert doctor._proc_cpuinfo(str(tmp_path / "none")) == (None, set())


def test_sysctl_of_a_mac(monkeypatch):
    answers = {"machdep.cpu.brand_string": "Apple M2", "hw.optional.arm.FEAT_BF16": "1", "hw.optional.arm.FEAT_I8MM": "0"}
    monkeypatch.setattr(doctor, "_run", lambda *command: answers.get(command[-1]))
    monkeypatch.setattr(doctor.platform, "machine", lambda: "arm64")
    assert doctor._sysctl() == ("Apple M2", {"bf16", "asimd"})


def test_a_program_that_fails_is_no_answer():
    assert doctor._run(sys.executable, "-c", "print('one ')") == "one"
    assert doctor._run(sys.executable, "-c", "raise SystemExit(1)") is None
    assert doctor._run("no-such-program-anywhere") is None


def test_known_clashes_are_told(monkeypatch):
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "KMP_DUPLICATE_LIB_OK"):
        monkeypatch.delenv(name, raising=False)
    assert doctor._clashes() == []
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert [clash.split()[0] for clash in doctor._clashes()] == ["HF_HUB_OFFLINE"]
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("KMP_DUPLICATE_LIB_OK", "TRUE")
    assert [clash.split()[0] for clash in doctor._clashes()] == ["KMP_DUPLICATE_LIB_OK"]
    monkeypatch.delenv("KMP_DUPLICATE_LIB_OK")
    monkeypatch.setattr(doctor, "_version", lambda package: {"numpy": "1.26.4"}.get(package, "9"))
    monkeypatch.setattr(doctor.sys, "platform", "darwin")
    told = " ".join(doctor._clashes())
    assert "conda-forge" in told
    assert "numpy 1.26.4 is older than 2" in told
