#!/usr/bin/env python3
"""Prunes real networks to several budgets and writes what that costs to RESULTS.md.

    bench/pruning/run.py [--pare build/release/cli/pare] [--network NAME ...] [--method obs ...]

Calibrates on 512 training images, spread over the first 4000, and judges on 1000
test images that nothing else sees. Needs PARE_BENCH_DATA (default ../shared/bench-data) and no
Python package. Rows already in RESULTS.md for other networks or methods are kept.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESULTS = pathlib.Path(__file__).parent / "RESULTS.md"
CIFAR = ["--scale", "0.00392156862745098", "--mean", "0.485,0.456,0.406",
         "--std", "0.229,0.224,0.225"]
CIFAR_DATA = ("cifar10/train4000_lossless_x.npy", "cifar10/test1000_lossless_x.npy",
              "cifar10/test1000_lossless_y.npy")
# Name: model, (calibration, test, labels), preprocessing.
NETWORKS = {
    "ResNet-56": ("cifar10/resnet56_cifar10_op13_bn.onnx", CIFAR_DATA, CIFAR),
    "ResNet-20": ("cifar10/resnet20_cifar10_op13_bn.onnx", CIFAR_DATA, CIFAR),
    "ResNet-8 (MLPerf Tiny)": ("mlperf_tiny/resnet8_cifar10_bn.onnx", CIFAR_DATA, []),
}
BUDGETS = (20, 30, 40, 50, 60)
HEAD = ("| network | method | MACs | top-1 before | top-1 after | agreement | KL | seconds | MB |\n"
        "|---|---|---|---|---|---|---|---|---|\n")


def evaluate(pare, data, model, original, files, preprocessing):
    """The figures of `pare evaluate --json`."""
    command = [pare, "evaluate", str(model), "--against", str(original), "--data",
               str(data / files[1]), "--labels", str(data / files[2]), "--json", *preprocessing]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def prune(pare, data, network, method, percent, folder):
    """One row of the table."""
    file, files, preprocessing = NETWORKS[network]
    original, small = data / "models" / file, folder / "small.onnx"
    pipeline, report = folder / "pipeline.yaml", folder / "report.json"
    pipeline.write_text("passes:\n  - fold-constants\n  - fold-batch-norm\n"
                        f"  - prune-channels: {{macs: -{percent}%, method: {method}}}\n")
    small.unlink(missing_ok=True)
    start = time.monotonic()
    process = subprocess.Popen([pare, "optimize", original, "-o", small, "-p", pipeline, "--data",
                                data / files[0], *preprocessing, "--report", report, "-q"],
                               stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - start
    if status:
        sys.exit(f"{network} {method} -{percent} %: exit status {status}")
    totals = json.loads(report.read_text())
    left = totals["totals_after"]["macs"] / totals["totals_before"]["macs"]
    before = evaluate(pare, data, original, original, files, preprocessing)
    after = evaluate(pare, data, small, original, files, preprocessing)
    return (f"| {network} | {method} | {100 * (left - 1):.1f} % | {100 * before['top1']:.1f} | "
            f"{100 * after['top1']:.1f} | {100 * after['agreement']:.1f} | {after['kl']:.4f} | "
            f"{seconds:.0f} | {usage.ru_maxrss / 1024:.0f} |")


def kept_rows(networks, methods):
    """Rows of RESULTS.md that this run does not make again."""
    rows = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    cells = [row.split(" | ") for row in rows if row.startswith("| ")]
    return [" | ".join(row) for row in cells[1:]
            if row[0][2:] not in networks or row[1] not in methods]


def main():
    """Writes RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--pare", default=ROOT / "build/release/cli/pare", type=pathlib.Path)
    parser.add_argument("--network", nargs="*", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--method", nargs="*", default=["obs", "l2", "l1"])
    parser.add_argument("--budget", nargs="*", type=int, default=BUDGETS)
    options = parser.parse_args()
    data = pathlib.Path(os.environ.get("PARE_BENCH_DATA", ROOT.parent / "shared/bench-data"))
    rows = kept_rows(options.network, options.method)
    with tempfile.TemporaryDirectory() as scratch:
        for network in options.network:
            for method in options.method:
                for percent in options.budget:
                    rows.append(prune(options.pare, data, network, method, percent,
                                      pathlib.Path(scratch)))
                    print(rows[-1], flush=True)
    RESULTS.write_text("# Pruning without retraining\n\nWritten by `bench/pruning/run.py`: 512 of "
                       "4000 CIFAR-10 training images to calibrate, 1000 lossless\ntest images to "
                       "judge (one figure is known to about 0.8 points, KL compares better). How knobs "
                       "were chosen:\n[NOTES.md](NOTES.md). Seconds are "
                       "wall-clock.\n\n" + HEAD + "\n".join(sorted(rows)) + "\n")


if __name__ == "__main__":
    main()
