#!/usr/bin/env python3
"""Prunes ResNet-56 and says how much faster it is in ONNX Runtime, beside what it saves in MACs.

    bench/pruning/latency.py [--pare build/release/cli/pare] [--multiple 8] [--budget 30 40 50]

Writes LATENCY.md. One thread; original and pruned networks take turns, a hundred times over, and
the smallest processor time of each counts, so that a loaded machine changes little. BatchNorm is
folded in the original too. Needs the Python packages numpy, onnx and onnxruntime, and
PARE_BENCH_DATA (default ../shared/bench-data).
"""

import argparse
import os
import pathlib
import subprocess
import tempfile
import time

import numpy
import onnxruntime

import run

RESULTS = pathlib.Path(__file__).parent / "LATENCY.md"
TURNS = 100
BATCHES = (1, 32)


def optimize(options, passes, folder, name):
    """(the written model, its share of the original's MACs)."""
    file, data, preprocessing, _ = run.NETWORKS["ResNet-56"]
    pipeline, model, report = (folder / f"{name}.{end}" for end in ("yaml", "onnx", "json"))
    pipeline.write_text("passes:\n" + "".join(f"  - {line}\n" for line in passes))
    subprocess.run([options.pare, "optimize", options.data / "models" / file, "-o", model, "-p",
                    pipeline, "--data", options.data / data[0], *preprocessing, "--report", report,
                    "-q"], check=True, stdout=subprocess.DEVNULL)
    return model, run.macs_left(report)


def session_of(model):
    """An ONNX Runtime session on one thread."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(model), settings, providers=["CPUExecutionProvider"])


def race(models, batch):
    """The smallest processor time of a run [s], by model."""
    sessions = [session_of(model) for model in models]
    name = sessions[0].get_inputs()[0].name
    feed = {name: numpy.random.default_rng(0).standard_normal((batch, 3, 32, 32), numpy.float32)}
    best = [float("inf")] * len(models)
    for _ in range(TURNS):
        for i, session in enumerate(sessions):
            begun = time.thread_time()
            session.run(None, feed)
            best[i] = min(best[i], time.thread_time() - begun)
    return best


def main():
    """Writes LATENCY.md."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--pare", default=run.ROOT / "build/release/cli/pare", type=pathlib.Path)
    parser.add_argument("--budget", nargs="*", type=int, default=[30, 40, 50])
    parser.add_argument("--multiple", nargs="*", type=int, default=[1, 8])
    options = parser.parse_args()
    options.data = pathlib.Path(os.environ.get("PARE_BENCH_DATA",
                                               run.ROOT.parent / "shared/bench-data"))
    clean = ["fold-constants", "fold-batch-norm"]
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        models, shares, names = [], [], []
        for multiple in options.multiple:
            for percent in options.budget:
                prune = f"prune-channels: {{macs: -{percent}%, multiple: {multiple}}}"
                model, left = optimize(options, [*clean, prune], folder, f"{percent}_{multiple}")
                models.append(model)
                shares.append(left)
                names.append((percent, multiple))
        original, _ = optimize(options, clean, folder, "original")
        times = {batch: race([original, *models], batch) for batch in BATCHES}
        for i, ((percent, multiple), left) in enumerate(zip(names, shares), start=1):
            ratios = " | ".join(f"{times[batch][i] / times[batch][0]:.2f}" for batch in BATCHES)
            rows.append(f"| -{percent} % | {multiple} | {left:.3f} | {ratios} |")
            print(rows[-1], flush=True)
    RESULTS.write_text(
        "# Time of pruned networks\n\nWritten by `bench/pruning/latency.py`: ResNet-56 in ONNX "
        f"Runtime {onnxruntime.__version__}, one thread, time as a share of the\noriginal's (with "
        "BatchNorm folded, as in the pruned ones), beside the share of its MACs. A `multiple` "
        "keeps channels that fill the\nregisters of the machine; what a multiple costs in accuracy "
        "is seen with `pare evaluate`.\n\n| budget | multiple | MACs | "
        + " | ".join(f"time, batch {batch}" for batch in BATCHES) + " |\n|---|---|---|"
        + "---|" * len(BATCHES) + "\n" + "\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
