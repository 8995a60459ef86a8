#!/usr/bin/env python3
"""Prunes real networks to several budgets and writes what that costs to RESULTS.md.

    bench/pruning/run.py [--pare build/release/cli/pare] [--network NAME ...] [--method obs ...]

Calibrates on training images and judges on others that nothing else sees: CIFAR-10 on 512 of the
first 4000 training images, ImageNet networks, detectors and DeepLab on one half of 1000 ImageNet
images (which behave like training images: differences count), keyword spotting on one half of 1000
maps. Needs PARE_BENCH_DATA (default ../shared/bench-data) and no Python package. Rows already in
RESULTS.md for other networks, methods or budgets are kept.
"""

import argparse
import ast
import json
import os
import pathlib
import struct
import subprocess
import sys
import tarfile
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESULTS = pathlib.Path(__file__).parent / "RESULTS.md"
CIFAR = ["--scale", "0.00392156862745098", "--mean", "0.485,0.456,0.406",
         "--std", "0.229,0.224,0.225"]
CIFAR_DATA = ("cifar10/train4000_lossless_x.npy", "cifar10/test1000_lossless_x.npy",
              "cifar10/test1000_lossless_y.npy")
JPEG_DATA = ("cifar10/cifar10_train_jpg.tar.zst", "cifar10/cifar10_test_jpg.tar.zst", None)
IMAGENET = ("imagenet1000/crop256_q95.tar", "halves", "labels")
PHOTOS = ("imagenet1000/crop256_q95.tar", "halves", None)
KWS = ("kws/test1000_x_f32.npy", "halves", "kws/test1000_y.npy")
# Name: model, (calibration, test, labels), preprocessing, options of evaluate.
NETWORKS = {
    "ResNet-56": ("cifar10/resnet56_cifar10_op13_bn.onnx", CIFAR_DATA, CIFAR, []),
    "ResNet-20": ("cifar10/resnet20_cifar10_op13_bn.onnx", CIFAR_DATA, CIFAR, []),
    "ResNet-20, JPEG": ("cifar10/resnet20_cifar10jpg_op13_bn.onnx", JPEG_DATA,
                        ["--preset", "imagenet", "--crop-ratio", "1"], []),
    "ResNet-8": ("mlperf_tiny/resnet8_cifar10_bn.onnx", CIFAR_DATA, [], []),
    "MobileNetV1 0.25": ("imagenet/mobilenet_v1_0.25_224_keras_bn.onnx", IMAGENET,
                         ["--preset", "imagenet-tf"], []),
    "SqueezeNet 1.1": ("imagenet/squeezenet_v1.1_ncnnfp16.onnx", IMAGENET,
                       ["--preset", "caffe"], []),
    "MobileNetV2": ("imagenet/tf2_mobilenet_v2_1.0_224_ptq_float.onnx", IMAGENET,
                    ["--preset", "imagenet-tf"], ["--label-offset", "1"]),
    "DS-CNN": ("mlperf_tiny/kws_dscnn_folded.onnx", KWS, [], []),
    "FastestDet": ("detect/FastestDet.onnx", PHOTOS,
                   ["--scale", "0.00392156862745098", "--channels", "bgr", "--resize", "stretch"],
                   []),
    "Yolo-FastestV2": ("detect/yolo_fastestv2_coco.onnx", PHOTOS,
                       ["--scale", "0.00392156862745098", "--channels", "bgr", "--resize",
                        "stretch"], []),
    "DeepLabV3 MobileNetV2 0.5": ("segment/deeplabv3_mnv2_dm05_pascal_quant_float.onnx", PHOTOS,
                                  ["--preset", "imagenet-tf", "--crop-ratio", "1"], []),
    "RFB-320": ("detect/version-RFB-320.onnx", PHOTOS,
                ["--scale", "0.0078125", "--mean", "0.9921875", "--resize", "stretch"], []),
}
BUDGETS = (10, 20, 30, 40, 50, 60)
HEAD = ("| network | method | MACs | top-1 before | top-1 after | agreement | KL | SQNR dB | "
        "user s | MB |\n|---|---|---|---|---|---|---|---|---|---|\n")


def npy_halves(file, folder):
    """The even and the odd rows of an .npy file as two files."""
    raw = file.read_bytes()
    length, = struct.unpack("<H", raw[8:10])
    header = ast.literal_eval(raw[10:10 + length].decode())
    rows, body = header["shape"][0], raw[10 + length:]
    row = len(body) // rows
    halves = []
    for i in (0, 1):
        part = b"".join(body[k * row:(k + 1) * row] for k in range(i, rows, 2))
        shape = (len(range(i, rows, 2)), *header["shape"][1:])
        text = str({**header, "shape": shape}).encode()
        text += b" " * (63 - (10 + len(text)) % 64) + b"\n"
        halves.append(folder / f"{file.stem}.{i}.npy")
        halves[-1].write_bytes(raw[:8] + struct.pack("<H", len(text)) + text + part)
    return halves


def tar_halves(file, folder):
    """The even and the odd images of a .tar as two, and the labels that begin the second's names."""
    halves = [folder / f"half{i}.tar" for i in (0, 1)]
    labels = folder / "labels.csv"
    if labels.exists():
        return halves, labels
    lines = []
    with tarfile.open(file) as source, tarfile.open(halves[0], "w") as even, \
            tarfile.open(halves[1], "w") as odd:
        images = sorted((m for m in source.getmembers() if m.isfile()), key=lambda m: m.name)
        for i, image in enumerate(images):
            (odd if i % 2 else even).addfile(image, source.extractfile(image))
            if i % 2:
                name = image.name.rsplit("/", 1)[-1]
                lines.append(f"{name},{int(name.split('_')[0])}\n")
    labels.write_text("".join(lines))
    return halves, labels


def files_of(data, names, folder):
    """Paths of calibration data, test data and labels (None: none, or in the names of folders)."""
    calibration, test, labels = names
    if test != "halves":
        return data / calibration, data / test, labels and data / labels
    if calibration.endswith(".npy"):
        x, y = (npy_halves(data / name, folder) for name in (calibration, labels))
        return x[0], x[1], y[1]
    halves, csv = tar_halves(data / calibration, folder)
    return halves[0], halves[1], csv if labels else None


def evaluate(pare, model, original, files, options):
    """The figures of `pare evaluate --json`."""
    command = [pare, "evaluate", model, "--against", original, "--data", files[1], "--limit", "0",
               "--json", *options]
    if files[2]:
        command += ["--labels", files[2]]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def macs_left(report):
    """The share of the MACs that a report of `pare optimize` leaves."""
    totals = json.loads(report.read_text())
    return totals["totals_after"]["macs"] / totals["totals_before"]["macs"]


def prune(pare, data, network, method, percent, folder):
    """One row of the table."""
    file, names, preprocessing, judging = NETWORKS[network]
    files = files_of(data, names, folder)
    original, small = data / "models" / file, folder / "small.onnx"
    pipeline, report = folder / "pipeline.yaml", folder / "report.json"
    pipeline.write_text("passes:\n  - fold-constants\n  - fold-batch-norm\n"
                        f"  - prune-channels: {{macs: -{percent}%, method: {method}}}\n")
    small.unlink(missing_ok=True)
    process = subprocess.Popen([pare, "optimize", original, "-o", small, "-p", pipeline, "--data",
                                files[0], *preprocessing, "--report", report, "-q"],
                               stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        print(f"{network} {method} -{percent} %: exit status {status}", file=sys.stderr)
        return None
    left = macs_left(report)
    options = [*preprocessing, *judging]
    before = evaluate(pare, original, original, files, options)
    after = evaluate(pare, small, original, files, options)

    def percentage(figures, key):
        return f"{100 * figures[key]:.1f}" if figures.get(key) is not None else ""

    classes = "top1" in after and after["top1"] is not None
    return (f"| {network} | {method} | {100 * (left - 1):.1f} % | {percentage(before, 'top1')} | "
            f"{percentage(after, 'top1')} | {percentage(after, 'agreement')} | "
            f"{format(after['kl'], '.4f') if classes else ''} | {after['sqnr_db']:.1f} | "
            f"{usage.ru_utime:.0f} | {usage.ru_maxrss / 1024:.0f} |")


def kept_rows(made):
    """Rows of RESULTS.md that this run did not make again."""
    rows = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    keys = {key(row) for row in made}
    return [row for row in rows
            if row.startswith("| ") and row.count("|") == HEAD.splitlines()[0].count("|") and
            not row.startswith("| network") and key(row) not in keys]


def key(row):
    """Network, method and the budget, to ten per cent."""
    cells = row.split(" | ")
    return cells[0], cells[1], round(float(cells[2].rstrip(" %")) / 10)


def write(rows):
    """RESULTS.md with these rows and those that were there."""
    RESULTS.write_text(
        "# Pruning without retraining\n\nWritten by `bench/pruning/run.py`, which says what data is "
        "used: to calibrate 512 CIFAR-10 training images, or\n400 of 500 ImageNet images or keyword "
        "maps; other images to judge (one figure of 1000 images is known to about 0.8 points,\nKL "
        "compares better; SQNR is of the outputs, all of them). ImageNet samples behave like training "
        "images: differences count.\nHow knobs were chosen: [NOTES.md](NOTES.md). Seconds are "
        "processor time, of all threads.\n\n" + HEAD +
        "\n".join(sorted([*rows, *kept_rows(rows)])) + "\n")


def main():
    """Writes RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--pare", default=ROOT / "build/release/cli/pare", type=pathlib.Path)
    parser.add_argument("--network", nargs="*", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--method", nargs="*", default=["obs", "l2", "l1"])
    parser.add_argument("--budget", nargs="*", type=int, default=BUDGETS)
    options = parser.parse_args()
    data = pathlib.Path(os.environ.get("PARE_BENCH_DATA", ROOT.parent / "shared/bench-data"))
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for network in options.network:
            for method in options.method:
                for percent in options.budget:
                    row = prune(options.pare, data, network, method, percent,
                                pathlib.Path(scratch))
                    if row:
                        rows.append(row)
                        write(rows)
                        print(row, flush=True)


if __name__ == "__main__":
    main()
