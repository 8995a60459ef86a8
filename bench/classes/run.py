#!/usr/bin/env python3
"""Keeps four of CIFAR-10's classes, prunes to several budgets, and writes what that costs to RESULTS.md.

    bench/classes/run.py [--pare build/release/cli/pare] [--setting NAME ...] [--budget 50 ...]

Every row is made twice: "classes first" reduces the network to the kept classes and then prunes it on
unlabelled training images of those classes; "ten classes" prunes the network it started from to the same
share of MACs, on as many training images of all ten classes, and drops the other classes afterwards. Both
are judged on test images of the kept classes, top-1 among the kept classes. Needs PARE_BENCH_DATA (default
../shared/bench-data), tar and zstd, and no Python package. Rows of other settings and budgets in
RESULTS.md are kept.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESULTS = pathlib.Path(__file__).parent / "RESULTS.md"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PREPROCESSING = ["--scale", "0.00392156862745098", "--mean", "0.485,0.456,0.406",
                 "--std", "0.229,0.224,0.225"]
# Name: model, images, kept classes.
SETTINGS = {
    "ResNet-56, JPEG, 0-3": ("resnet56_cifar10_op13_bn", "jpg", (0, 1, 2, 3)),
    "ResNet-20 (JPEG-tuned), JPEG, 0-3": ("resnet20_cifar10jpg_op13_bn", "jpg", (0, 1, 2, 3)),
    "ResNet-20 (JPEG-tuned), JPEG, 2 3 5 7": ("resnet20_cifar10jpg_op13_bn", "jpg", (2, 3, 5, 7)),
    "ResNet-56, lossless, 0-3": ("resnet56_cifar10_op13_bn", "npy", (0, 1, 2, 3)),
}
BUDGETS = (30, 40, 50, 60, 70, 80, 85)
CALIBRATION = 4096  # Images at most.
SAMPLES = 1024      # Of them that statistics are taken from; the rest judges candidates.
HEAD = ("| setting | MACs | classes first: top-1 | lost | KL | ten classes: top-1 | lost | KL | won |\n"
        "|---|---|---|---|---|---|---|---|---|\n")


def read_bytes(path):
    """Shape and elements of a .npy of bytes."""
    raw = path.read_bytes()
    length = struct.unpack("<H", raw[8:10])[0]
    shape = re.search(rb"'shape': \(([^)]*)\)", raw[:10 + length]).group(1)
    return [int(n) for n in shape.split(b",") if n.strip()], raw[10 + length:]


def write_bytes(path, shape, elements):
    """A .npy of uint8."""
    head = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({', '.join(map(str, shape))},), }}"
    head += " " * (-(len(head) + 11) % 64) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + elements)


class Images:
    """Training and test images of some classes, as `pare` takes them."""

    def __init__(self, data, kind, scratch):
        self.data, self.kind, self.scratch = data / "cifar10", kind, scratch

    def training(self, classes):
        """Up to CALIBRATION training images, and how to name them to `pare`."""
        if self.kind == "jpg":
            return ["--data", self.folder("train", classes, -(-CALIBRATION // len(classes)))]
        return ["--data", self.array("train4000", classes)[0]]

    def test(self, classes):
        """All test images, with their labels counted among `classes`."""
        if self.kind == "jpg":
            return ["--data", self.folder("test", classes, 1000)]
        images, labels = self.array("test1000", classes)
        return ["--data", images, "--labels", labels]

    def folder(self, part, classes, count):
        folder = self.scratch / f"{part}_{'_'.join(map(str, classes))}"
        if folder.exists():
            return folder
        folder.mkdir()
        subprocess.run(["tar", "--zstd", "-xf", self.data / f"cifar10_{part}_jpg.tar.zst", "-C", folder,
                        *(f"{part}/{CLASSES[c]}" for c in classes)], check=True)
        for c in classes:
            for file in sorted((folder / part / CLASSES[c]).iterdir())[count:]:
                file.unlink()
            (folder / part / CLASSES[c]).rename(folder / CLASSES[c])
        (folder / part).rmdir()
        return folder

    def array(self, part, classes):
        names = [self.scratch / f"{part}_{'_'.join(map(str, classes))}_{axis}.npy" for axis in "xy"]
        shape, pixels = read_bytes(self.data / f"{part}_lossless_x.npy")
        _, labels = read_bytes(self.data / f"{part}_lossless_y.npy")
        size = len(pixels) // shape[0]
        chosen = [i for i in range(shape[0]) if labels[i] in classes]
        write_bytes(names[0], [len(chosen), *shape[1:]],
                    b"".join(pixels[i * size:(i + 1) * size] for i in chosen))
        write_bytes(names[1], [len(chosen)], bytes(classes.index(labels[i]) for i in chosen))
        return names


def optimize(pare, model, small, passes, data, report=None):
    """Runs passes on a model."""
    command = [pare, "optimize", model, "-o", small, "-q", *PREPROCESSING, "--limit", str(CALIBRATION)]
    for text in passes:
        command += ["--pass", text]
    if data:
        command += data
    if report:
        command += ["--report", report]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: {done.stderr}")


def evaluate(pare, model, original, data):
    """The figures of `pare evaluate --json`."""
    command = [pare, "evaluate", model, "--against", original, "--json", *data, *PREPROCESSING]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def prune(pare, setting, percent, images, source, scratch):
    """One row of the table."""
    _, _, keep = SETTINGS[setting]
    keep_pass = f"reduce-classes: {{keep: [{', '.join(map(str, keep))}]}}"
    clean = ["fold-constants", "fold-batch-norm"]
    tag = re.sub(r"\W+", "_", setting)
    base, first, last = (scratch / f"{name}.onnx" for name in ("base", "first", "last"))
    report = scratch / "report.json"
    optimize(pare, source, base, [keep_pass, *clean], None)

    def prune_pass(kind):
        file = scratch / f"{tag}_{kind}.sens"
        return f"prune-channels: {{macs: -{percent}%, samples: {SAMPLES}, sensitivity: {file}}}"

    optimize(pare, source, first, [keep_pass, *clean, prune_pass("first")], images.training(keep), report)
    totals = json.loads(report.read_text())
    left = totals["totals_after"]["macs"] / totals["totals_before"]["macs"]
    optimize(pare, source, last, [*clean, prune_pass("ten"), keep_pass],
             images.training(tuple(range(len(CLASSES)))))
    test = images.test(keep)
    before, a, b = (evaluate(pare, model, base, test) for model in (base, first, last))
    top = [100 * figures["top1"] for figures in (before, a, b)]
    return (f"| {setting} | {100 * (left - 1):.1f} % | {top[1]:.2f} | {top[0] - top[1]:.2f} | {a['kl']:.4f} | "
            f"{top[2]:.2f} | {top[0] - top[2]:.2f} | {b['kl']:.4f} | {top[1] - top[2]:.2f} |")


def kept_rows(settings, budgets):
    """Rows of RESULTS.md that this run does not make again."""
    lines = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    rows = [line for line in lines if line.startswith("| ") and "%" in line]
    def again(row):
        name, macs = row[2:].split(" | ")[:2]
        near = min(BUDGETS, key=lambda budget: abs(budget + float(macs.split()[0])))
        return name in settings and near in budgets
    return [row for row in rows if not again(row)]


def write(rows):
    """RESULTS.md with these rows, settings together and budgets ascending."""
    rows.sort(key=lambda row: (row[2:].split(" | ")[0], -float(row.split(" | ")[1].split()[0])))
    RESULTS.write_text(
        "# Four of ten classes, without labels and without training\n\n"
        "Written by `bench/classes/run.py`, whose head says what is compared; what to make of it:\n"
        "[the page of reduce-classes](../../docs/passes/reduce-classes.md). Up to "
        f"{CALIBRATION} unlabelled training images, statistics from {SAMPLES}\nof them; top-1 among the kept "
        "classes in %; \"lost\" is against the unpruned four-class network, \"won\" is what dropping\nthe "
        "classes first buys, in points. JPEG rows rest on 4000 test images, lossless ones on about 400.\n\n"
        + HEAD + "\n".join(rows) + "\n")


def main():
    """Writes RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--pare", default=ROOT / "build/release/cli/pare", type=pathlib.Path)
    parser.add_argument("--setting", nargs="*", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--budget", nargs="*", type=int, default=BUDGETS)
    options = parser.parse_args()
    data = pathlib.Path(os.environ.get("PARE_BENCH_DATA", ROOT.parent / "shared/bench-data"))
    if not shutil.which("zstd"):
        sys.exit("tar needs the program zstd")
    with tempfile.TemporaryDirectory() as folder:
        scratch = pathlib.Path(folder)
        for setting in options.setting:
            model, kind, _ = SETTINGS[setting]
            images = Images(data, kind, scratch / kind)
            images.scratch.mkdir(exist_ok=True)
            for percent in options.budget:
                row = prune(options.pare, setting, percent, images, data / "models/cifar10" / f"{model}.onnx",
                            scratch)
                print(row, flush=True)
                write(kept_rows([setting], [percent]) + [row])


if __name__ == "__main__":
    main()
