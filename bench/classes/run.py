#!/usr/bin/env python3
"""Keeps four of CIFAR-10's classes, prunes to several budgets, and writes what that costs to RESULTS.md.

    bench/classes/run.py [--pare build/release/cli/pare] [--setting NAME ...] [--budget 50 ...]

Every budget is met twice: "classes first" reduces the network to the kept classes and then prunes it on
unlabelled training images of those classes; "ten classes" prunes the network it started from to the same
share of MACs, on as many training images of all ten classes, and drops the other classes afterwards. Both
are judged on test images of the kept classes, top-1 among the kept classes. Needs PARE_BENCH_DATA (default
../shared/bench-data), tar and zstd, and no Python package. Figures of other settings, budgets and
variants are kept (results.json).
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
FIGURES = pathlib.Path(__file__).parent / "results.json"
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
CALIBRATION = 4096  # Images at most; those that statistics are not taken from judge candidates.
# Below 4 channels a layer pays from -60 % on, and so do more steps (compared on training images nothing
# was fitted to, with the test figures at -80 % seen beside them).
SAMPLES = 2048
PRUNING = f"samples: {SAMPLES}, min-channels: 1, producer-steps: 12"


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


def prune(pare, setting, percent, variant, images, scratch):
    """Figures of one network against the unpruned four-class one."""
    model, _, keep = SETTINGS[setting]
    source = images.data.parent / f"models/cifar10/{model}.onnx"
    keep_pass = f"reduce-classes: {{keep: [{', '.join(map(str, keep))}]}}"
    clean = ["fold-constants", "fold-batch-norm"]
    base, small, report = (scratch / name for name in ("base.onnx", "small.onnx", "report.json"))
    optimize(pare, source, base, [keep_pass, *clean], None)
    file = scratch / (re.sub(r"\W+", "_", setting) + f"_{variant}.sens")
    pruning = f"prune-channels: {{macs: -{percent}%, {PRUNING}, sensitivity: {file}}}"
    passes = [keep_pass, *clean, pruning] if variant == "first" else [*clean, pruning, keep_pass]
    shown = keep if variant == "first" else tuple(range(len(CLASSES)))
    optimize(pare, source, small, passes, images.training(shown), report)
    totals = json.loads(report.read_text())
    test = images.test(keep)
    before, after = (evaluate(pare, path, base, test) for path in (base, small))
    return {"macs": totals["totals_after"]["macs"] / totals["totals_before"]["macs"] - 1,
            "samples": SAMPLES, "base": 100 * before["top1"], "top1": 100 * after["top1"],
            "kl": after["kl"]}


def cells(figures):
    """Images that weights were fitted to, top-1, points lost and KL, or dashes."""
    if not figures:
        return ["-", "-", "-", "-"]
    return [str(figures["samples"]), f"{figures['top1']:.2f}",
            f"{figures['base'] - figures['top1']:.2f}", f"{figures['kl']:.3f}"]


def table(results):
    """A table a setting."""
    lines = []
    for setting, budgets in sorted(results.items()):
        base = next(figures["base"] for row in budgets.values() for figures in row.values())
        lines += [f"## {setting}", "", f"Unpruned, {len(SETTINGS[setting][2])} classes: {base:.2f} %.", "",
                  "| MACs | images | classes first | lost | KL | images | ten classes | lost | KL | "
                  "classes first wins |", "|---|---|---|---|---|---|---|---|---|---|"]
        for percent, row in sorted(budgets.items(), key=lambda item: int(item[0])):
            first, ten = row.get("first"), row.get("ten")
            won = f"{first['top1'] - ten['top1']:.2f}" if first and ten else "-"
            lines.append(f"| -{percent} % | " + " | ".join([*cells(first), *cells(ten), won]) + " |")
        lines.append("")
    return "\n".join(lines)


def write(results):
    """results.json and RESULTS.md."""
    FIGURES.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    RESULTS.write_text(
        "# Four of ten classes, without labels and without training\n\n"
        "Written by `bench/classes/run.py`, whose head says what is compared; what to make of it:\n"
        f"[the page of reduce-classes](../../docs/passes/reduce-classes.md). `{PRUNING}`; up to {CALIBRATION} "
        "unlabelled training\nimages. Rows of 1024 images are of earlier programs. Top-1 among the kept classes in %, on test images of them; \"lost\" is against "
        "the unpruned four-class network in points,\nKL from it in nats. JPEG rows rest on 4000 test images (a "
        "paired drop is known to about 0.4 points), lossless ones on about 400; a dash was not measured.\n\n"
        + table(results))


def main():
    """Adds to the figures and writes RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--pare", default=ROOT / "build/release/cli/pare", type=pathlib.Path)
    parser.add_argument("--setting", nargs="*", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--budget", nargs="*", type=int, default=BUDGETS)
    parser.add_argument("--variant", nargs="*", choices=("first", "ten"), default=["first", "ten"])
    options = parser.parse_args()
    data = pathlib.Path(os.environ.get("PARE_BENCH_DATA", ROOT.parent / "shared/bench-data"))
    if not shutil.which("zstd"):
        sys.exit("tar needs the program zstd")
    with tempfile.TemporaryDirectory() as folder:
        scratch = pathlib.Path(folder)
        for setting in options.setting:
            images = Images(data, SETTINGS[setting][1], scratch / SETTINGS[setting][1])
            images.scratch.mkdir(exist_ok=True)
            for percent in options.budget:
                for variant in options.variant:
                    figures = prune(options.pare, setting, percent, variant, images, scratch)
                    print(setting, variant, f"-{percent} %", figures, flush=True)
                    results = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
                    results.setdefault(setting, {}).setdefault(str(percent), {})[variant] = figures
                    write(results)


if __name__ == "__main__":
    main()
