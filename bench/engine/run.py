#!/usr/bin/env python3
"""Times pare's engine beside ONNX Runtime and writes RESULTS.md.

    bench/engine/run.py [--pare build/release/cli/pare] [--zoo FOLDER] [--only PART ...]
                        [NAME@BATCH ...]

Networks of the architecture zoo (filled with random weights in a temporary folder, or in --zoo) on
one thread, taking turns; the smallest of the medians counts. Times are processor time of the
computing thread, so that a loaded machine changes little. Parts are float, int8, import and
calibration; the last needs the program `scripts/build calibration_bench` makes. A part that is not
asked for stays in RESULTS.md as it is. Needs the Python packages numpy, onnx and onnxruntime, and
PARE_BENCH_DATA (default ../shared/bench-data).
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


def race(pare, path, batch):
    """(seconds of pare, of ONNX Runtime, pare's report) for one batch."""
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
    return min(ours), min(theirs), report


def peak_of_pare(pare, path, batch):
    """Peak memory of `pare bench` [MB]."""
    return peak_memory([pare, "bench", path, "--batch", str(batch), "--threads", "1",
                        "--seconds", "0.1"])


def measure_float(options):
    """The table of float32 networks."""
    rows = []
    for network in options.networks:
        name, batch = network.split("@")
        path = options.model(name)
        ours, theirs, report = race(options.pare, path, int(batch))
        memory = peak_of_pare(options.pare, path, int(batch))
        other = memory_of_onnxruntime(path, int(batch))
        share = report["models"][0]["flops"] / report["peak_flops"]
        rows.append(f"| {name} | {batch} | {1e3 * ours:.1f} | {1e3 * theirs:.1f} | "
                    f"{ours / theirs:.2f} | {100 * share:.0f} % | {memory:.0f} | {other:.0f} | "
                    f"{memory / other:.2f} |")
        print(rows[-1], flush=True)
    return ("Memory is the peak resident set of a process that loads the model and runs it; ONNX "
            "Runtime's includes Python (about 45 MB).\n\n"
            "| network | batch | pare [ms] | ONNX Runtime [ms] | ratio | of peak FLOP/s | "
            "pare [MB] | ONNX Runtime [MB] | ratio |\n|---|---|---|---|---|---|---|---|---|\n"
            + "\n".join(rows))


def measure_int8(options):
    """ResNet-50 quantized by pare: beside its float32 self and ONNX Runtime."""
    path = options.model("resnet50")
    small = pathlib.Path(options.scratch) / "resnet50_int8.onnx"
    subprocess.run([options.pare, "optimize", path, "-o", small, "--data", "random:8", "--pass",
                    "fold-batch-norm", "--pass", "quantize-int8: {rounding: nearest}"], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    rows = []
    for batch in (1, 8):
        full, _, _ = race(options.pare, path, batch)
        ours, theirs, _ = race(options.pare, small, batch)
        memory = peak_of_pare(options.pare, small, batch)
        other = memory_of_onnxruntime(small, batch)
        rows.append(f"| {batch} | {1e3 * ours:.1f} | {1e3 * theirs:.1f} | {ours / theirs:.2f} | "
                    f"{full / ours:.2f} | {memory:.0f} | {other:.0f} | {memory / other:.2f} |")
        print(rows[-1], flush=True)
    return ("| batch | pare [ms] | ONNX Runtime [ms] | ratio | times as fast as pare in float32 | "
            "pare [MB] | ONNX Runtime [MB] | ratio |\n|---|---|---|---|---|---|---|---|\n"
            + "\n".join(rows))


def measure_import(options):
    """Peak memory of reading a large model."""
    path = options.model("vgg16")
    size = path.stat().st_size / 1048576
    peak = peak_memory([options.pare, "inspect", path])
    idle = peak_memory([options.pare, "--version"])
    run = peak_of_pare(options.pare, path, 1)
    other = memory_of_onnxruntime(path, 1)
    return (f"`pare inspect` of VGG-16, a file of {size:.0f} MB, takes {peak:.0f} MB at the most, "
            f"`pare --version` {idle:.0f} MB:\nweights are held once. `pare bench` of it takes "
            f"{run:.0f} MB, ONNX Runtime {other:.0f} MB (ratio {run / other:.2f}).")


def measure_calibration(options):
    """Processor time beside bare forward passes."""
    program = options.pare.parents[1] / "bench/calibration_bench"
    result = json.loads(subprocess.run([program, options.model("resnet50"), "128"], check=True,
                                       capture_output=True, text=True).stdout)
    forward = result["forward"]
    return (f"{result['images']} images through ResNet-50, one thread, processor time:\n\n"
            "| work | seconds | ratio |\n|---|---|---|\n"
            f"| forward passes | {forward:.1f} | 1.00 |\n"
            f"| ranges and histograms of all operands | {result['ranges']:.1f} | "
            f"{result['ranges'] / forward:.2f} |\n"
            f"| Gram matrices of every Conv, 64 positions an image | {result['moments']:.1f} | "
            f"{result['moments'] / forward:.2f} |")


PARTS = {"float": ("float32", measure_float), "int8": ("INT8 ResNet-50", measure_int8),
         "import": ("Reading a model", measure_import),
         "calibration": ("Calibration", measure_calibration)}


def known_parts():
    """What RESULTS.md says, by title."""
    if not RESULTS.exists():
        return {}
    sections = RESULTS.read_text().split("\n## ")[1:]
    return dict(section.strip().split("\n\n", maxsplit=1) for section in sections)


def main():
    """Writes RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("networks", nargs="*", default=DEFAULT)
    parser.add_argument("--pare", default=ROOT / "build/release/cli/pare", type=pathlib.Path)
    parser.add_argument("--zoo", type=pathlib.Path)
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    options = parser.parse_args()
    data = pathlib.Path(os.environ.get("PARE_BENCH_DATA", ROOT.parent / "shared/bench-data"))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory() as scratch:
        options.scratch = scratch

        def model(name):
            path = (options.zoo or pathlib.Path(scratch)) / f"{name}_op13.onnx"
            if not path.exists():
                subprocess.run([sys.executable, data / "zoo/zoo_fill.py", path.parent,
                                data / "zoo" / f"{name}_op13.skel.onnx"], check=True,
                               stdout=subprocess.DEVNULL)
            return path

        options.model = model
        parts = known_parts()
        for part in options.only:
            title, measure = PARTS[part]
            parts[title] = measure(options)
            print(parts[title], flush=True)
    RESULTS.write_text(
        "# The engine beside ONNX Runtime\n\nWritten by `bench/engine/run.py`: one thread, "
        f"ONNX Runtime {onnxruntime.__version__} from PyPI (its default\noptimisation), processor "
        "time of the computing thread, the smaller the ratio the better.\n"
        + "".join(f"\n## {title}\n\n{parts[title]}\n"
                  for title, _ in PARTS.values() if title in parts))


if __name__ == "__main__":
    main()
