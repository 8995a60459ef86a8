#!/usr/bin/env python3
"""Prunes detectors, DeepLab and a keyword transformer and writes what that costs to DETECTORS.md.

    bench/pruning/detectors.py [--pare build/release/cli/pare] [--network NAME ...] [--budget 10 ...]
                               [--method obs ...]

Detectors calibrate on every fourth ImageNet image and are judged by the 13 photos: how far scores
and boxes are off where the original scores more than a half. DeepLab calibrates on 96 images and is
judged by the pixels of 32 others. The transformer has no recordings but four, which are shifted and
mixed to 256 samples to calibrate and 256 to judge; its rows say little. Every file is run by ONNX
Runtime. Needs the Python packages numpy, onnx, onnxruntime and pillow, and PARE_BENCH_DATA (default
../shared/bench-data). Rows of DETECTORS.md for other networks, methods and budgets are kept.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESULTS = pathlib.Path(__file__).parent / "DETECTORS.md"
sys.path.insert(0, str(ROOT / "bench/quantization"))
import networks  # pylint: disable=wrong-import-position
import run as quantization  # pylint: disable=wrong-import-position

STRIDE = 4


def yolo(outputs):
    """Scores and boxes of every anchor, at both scales, places last."""
    return (networks.yolo_scores(outputs),
            numpy.concatenate([o[..., :12].reshape(-1, 4) for o in outputs]))


# Name: samples, what picks (scores, boxes) from the outputs of a detector.
NETWORKS = {
    "RFB-320": (lambda d: networks.detector(d, (240, 320), lambda x: (x - 127) / 128, False, STRIDE),
                lambda o: (o[0][..., 1].ravel(), o[1].reshape(-1, 4))),
    "FastestDet": (lambda d: networks.detector(d, (352, 352), lambda x: x / 255, True, STRIDE),
                   lambda o: (o[0][:, 0].ravel(),
                              o[0][:, 1:5].transpose(0, 2, 3, 1).reshape(-1, 4))),
    "YOLO-FastestV2": (lambda d: networks.detector(d, (352, 352), lambda x: x / 255, True, STRIDE),
                       yolo),
    "DeepLab": (lambda d: networks.segments(d, 3), None),
    "KWT-1": (networks.transformer, None),
}
HEAD = ("| network | method | MACs | score error | box error | found | agreement | SQNR dB | user s | "
        "MB |\n|---|---|---|---|---|---|---|---|---|---|\n")


def figures(name, reference, outputs):
    """The cells of the table from score error to SQNR."""
    pick = NETWORKS[name][1]
    if pick is None:
        best = [x[0] if networks.NETWORKS[name][2] == "map" else x[0].argmax(-1)
                for x in (reference, outputs)]
        db = "" if networks.NETWORKS[name][2] == "map" else f"{quantization.sqnr(reference, outputs):.1f}"
        return f" | | | {100 * (best[0] == best[1]).mean():.1f} | {db}"
    (scores, boxes), (other, moved) = pick(reference), pick(outputs)
    sure = scores > 0.5
    return (f"{abs(scores - other)[sure].mean():.3f} | {abs(boxes - moved)[sure].mean():.3f} | "
            f"{100 * (other[sure] > 0.5).mean():.0f} % | | {quantization.sqnr(reference, outputs):.1f}")


def measure(options, name, data, folder):
    """Prints and writes the rows of one network."""
    model = data / "models" / f"{networks.NETWORKS[name][0]}.onnx"
    calibrate, judged, _ = NETWORKS[name][0](data)
    samples = folder / "samples.npy"
    numpy.save(samples, numpy.ascontiguousarray(calibrate, numpy.float32))
    judged = numpy.ascontiguousarray(judged, numpy.float32)
    reference = quantization.run(model, judged)
    for method in options.method:
        for percent in options.budget:
            small, report, pipeline = (folder / x for x in ("small.onnx", "report.json", "p.yaml"))
            small.unlink(missing_ok=True)
            pipeline.write_text("passes:\n  - fold-constants\n  - fold-batch-norm\n"
                                f"  - prune-channels: {{macs: -{percent}%, method: {method}, "
                                f"sensitivity: {folder / 'measured.sens'}}}\n")
            process = subprocess.Popen(
                [options.pare, "optimize", model, "-o", small, "-p", pipeline, "--data", samples,
                 "--report", report, "-q"], stdout=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            if status:
                print(f"{name} {method} -{percent} %: exit status {status}", file=sys.stderr)
                continue
            totals = json.loads(report.read_text())
            left = totals["totals_after"]["macs"] / totals["totals_before"]["macs"]
            row = (f"| {name} | {method} | {100 * (left - 1):.1f} % | "
                   f"{figures(name, reference, quantization.run(small, judged))} | "
                   f"{usage.ru_utime:.0f} | {usage.ru_maxrss / 1024:.0f} |")
            print(row, flush=True)
            write(row)


def key(row):
    """Network, method and the budget, to ten per cent."""
    cells = row.split(" | ")
    return cells[0], cells[1], round(float(cells[2].rstrip(" %")) / 10)


def write(row):
    """DETECTORS.md with this row and those that were there."""
    rows = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    rows = [x for x in rows if x.startswith("| ") and not x.startswith("| network")]
    rows = sorted([row, *(x for x in rows if key(x) != key(row))])
    RESULTS.write_text(
        "# Detectors, segmentation and a transformer, pruned without retraining\n\nWritten by "
        "`bench/pruning/detectors.py`, which says what data is used. Score and box error: mean "
        "absolute error where\nthe original scores more than 0.5, boxes in the units of the network's "
        "own output; found: the share of these that still score\nmore than 0.5. Agreement: the share "
        "of samples (DeepLab: of pixels) with the same best class. Sensitivities are measured once a "
        "network and kept, so later\nbudgets take less time than the first.\n\n" + HEAD + "\n".join(rows) + "\n")


def main():
    """Writes DETECTORS.md."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--pare", default=ROOT / "build/release/cli/pare", type=pathlib.Path)
    parser.add_argument("--network", nargs="*", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--method", nargs="*", default=["obs", "l2"])
    parser.add_argument("--budget", nargs="*", type=int, default=[10, 20, 30, 40, 50])
    options = parser.parse_args()
    data = pathlib.Path(os.environ.get("PARE_BENCH_DATA", ROOT.parent / "shared/bench-data"))
    for name in options.network:
        with tempfile.TemporaryDirectory() as folder:
            measure(options, name, data, pathlib.Path(folder))


if __name__ == "__main__":
    main()
