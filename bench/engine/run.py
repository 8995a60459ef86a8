#!/usr/bin/env python3
"""Times pare's engine beside ONNX Runtime and writes RESULTS.md.

    bench/engine/run.py [--pare build/release/cli/pare] [NAME@BATCH ...]

Networks of the architecture zoo (filled with random weights in a temporary folder) on one thread,
taking turns three times; the smallest of the three medians counts. Times are processor time of the
computing thread, so that a loaded machine changes little. Needs the Python packages numpy, onnx and
onnxruntime, and PARE_BENCH_DATA (default ../shared/bench-data).
"""

import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import numpy
import onnxruntime

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESULTS = pathlib.Path(__file__).parent / "RESULTS.md"
DEFAULT = ["resnet50@1", "resnet50@8", "mobilenet_v2@1", "efficientnet_b0@1", "densenet121@1",
           "vit_b_16@1"]
ROUNDS, SECONDS = 3, 2.0

sys.path.insert(0, str(ROOT / "tests/conformance"))
from roundtrip import random_inputs  # pylint: disable=wrong-import-position


def time_onnxruntime(session, feeds):
    """Median processor time of a run [s]."""
    times, start = [], time.monotonic()
    while len(times) < 3 or time.monotonic() - start < SECONDS:
        begun = time.thread_time()
        session.run(None, feeds)
        times.append(time.thread_time() - begun)
    return float(numpy.median(times))


def time_pare(pare, path, batch):
    """(median processor time of a run [s], the report)."""
    report = json.loads(subprocess.run(
        [pare, "bench", path, "--batch", str(batch), "--threads", "1", "--seconds", str(SECONDS),
         "--json"], check=True, capture_output=True, text=True).stdout)
    return report["models"][0]["cpu_seconds"], report


def peak_memory(command):
    """Largest resident set of a child process [MB], started from a small one: a child begins with
    the size of its parent."""
    code = ("import os, subprocess, sys; p = subprocess.Popen(sys.argv[1:], stdout=-3); "
            "_, status, usage = os.wait4(p.pid, 0); print(usage.ru_maxrss); sys.exit(status != 0)")
    result = subprocess.run([sys.executable, "-c", code, *map(str, command)], check=True,
                            capture_output=True, text=True)
    return int(result.stdout) / 1024


def memory_of_onnxruntime(path, batch):
    """Loads the model and runs it once, in a process of its own."""
    code = ("import sys, numpy, onnxruntime as o; s = o.SessionOptions(); "
            "s.intra_op_num_threads = 1; r = o.InferenceSession(sys.argv[1], s); "
            "x = r.get_inputs()[0]; b = int(sys.argv[2]); "
            "r.run(None, {x.name: numpy.zeros([d if isinstance(d, int) else b for d in x.shape], "
            "numpy.float32)})")
    return peak_memory([sys.executable, "-c", code, str(path), str(batch)])


def measure(pare, path, batch):
    """One row of the table."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feeds = random_inputs(session, batch)
    session.run(None, feeds)
    ours, theirs, report = [], [], None
    for _ in range(ROUNDS):
        theirs.append(time_onnxruntime(session, feeds))
        seconds, report = time_pare(pare, path, batch)
        ours.append(seconds)
    memory = peak_memory([pare, "bench", path, "--batch", str(batch), "--threads", "1",
                          "--seconds", "0.1"])
    other = memory_of_onnxruntime(path, batch)
    a, b = min(ours), min(theirs)
    share = report["models"][0]["flops"] / report["peak_flops"]
    name = path.name.removesuffix("_op13.onnx")
    return (f"| {name} | {batch} | {1e3 * a:.1f} | {1e3 * b:.1f} | {a / b:.2f} | "
            f"{100 * share:.0f} % | {memory:.0f} | {other:.0f} | {memory / other:.2f} |")


def main():
    """Writes RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("networks", nargs="*", default=DEFAULT)
    parser.add_argument("--pare", default=ROOT / "build/release/cli/pare", type=pathlib.Path)
    options = parser.parse_args()
    data = pathlib.Path(os.environ.get("PARE_BENCH_DATA", ROOT.parent / "shared/bench-data"))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for network in options.networks:
            name, batch = network.split("@")
            path = pathlib.Path(scratch) / f"{name}_op13.onnx"
            if not path.exists():
                subprocess.run([sys.executable, data / "zoo/zoo_fill.py", scratch,
                                data / "zoo" / f"{name}_op13.skel.onnx"], check=True,
                               stdout=subprocess.DEVNULL)
            rows.append(measure(options.pare, path, int(batch)))
            print(rows[-1], flush=True)
    RESULTS.write_text(
        "# The engine beside ONNX Runtime\n\nWritten by `bench/engine/run.py`: float32, one thread, "
        f"ONNX Runtime {onnxruntime.__version__} from PyPI (its default\noptimisation), processor "
        "time of the computing thread, the smaller the ratio the better. Memory is the peak resident "
        "set of\na process that loads the model and runs it; ONNX Runtime's includes Python (about "
        "45 MB).\n\n| network | batch | pare [ms] | ONNX Runtime [ms] | ratio | of peak FLOP/s | "
        "pare [MB] | ONNX Runtime [MB] | ratio |\n|---|---|---|---|---|---|---|---|---|\n"
        + "\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
