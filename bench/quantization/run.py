#!/usr/bin/env python3
"""Quantizes real networks with pare and with ONNX Runtime's quantize_static and writes RESULTS.md.

    bench/quantization/run.py [--pare build/release/cli/pare] [--network NAME ...] [--cache DIR]
                              [--variant NAME ...]

Both get the same samples; ONNX Runtime its own pre-processing, weights per channel and each of its
three calibrations. Every file is judged by ONNX Runtime on samples nothing else saw. With --cache
samples and files of ONNX Runtime are kept between runs. Needs the Python packages numpy, onnx,
onnxruntime and pillow, and PARE_BENCH_DATA (default ../shared/bench-data). Rows of RESULTS.md for
other networks are kept; with --variant only pare's rows of these are made anew.
"""

import argparse
import logging
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy
import onnx
import onnx.version_converter
import onnxruntime
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process

from networks import NETWORKS

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESULTS = pathlib.Path(__file__).parent / "RESULTS.md"
CLEAN = "passes:\n  - fold-constants\n  - fold-batch-norm\n  - remove-identity\n"
# Name: the passes behind those that clean.
VARIANTS = {"W8A8": "  - quantize-int8\n",
            "dpu": "  - equalize-layers: {reach: measured}\n"
                   "  - quantize-int8: {profile: dpu}\n",
            "W4A8": "  - quantize-int8: {weights: int4}\n",
            "W3A8": "  - quantize-int8: {weights: int3}\n",
            "mixed, 4 bits": "  - quantize-mixed: {average-bits: 4}\n"}
METHODS = ("MinMax", "Entropy", "Percentile")
# The rows of a network.
ORDER = ["float", *(f"ONNX Runtime {m}" for m in METHODS), *(f"pare {v}" for v in VARIANTS)]
HEAD = ("| network | by | top-1 | drop | agreement | KL | SQNR [dB] | score error | seconds |\n"
        "|---|---|---|---|---|---|---|---|---|\n")


class Reader(quantization.CalibrationDataReader):
    """Hands ONNX Runtime samples, in stretches so that it need not hold all activations."""

    def __init__(self, name, samples, batch):
        super().__init__()
        self.name, self.samples, self.batch = name, samples, batch
        self.next, self.end = 0, len(samples)

    def __len__(self):
        return len(self.samples)

    def set_range(self, start_index, end_index):
        """Which samples come next."""
        self.next, self.end = start_index, end_index

    def get_next(self):
        if self.next >= self.end:
            return None
        begin, self.next = self.next, min(self.next + self.batch, self.end)
        return {self.name: self.samples[begin:self.next]}


def session_of(path):
    """A session on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def batch_of(session):
    """As many samples as the model takes at once, 8 at most."""
    first = session.get_inputs()[0].shape[0]
    return first if isinstance(first, int) else 8


def run(path, samples):
    """All outputs, samples along the first axis."""
    session = session_of(path)
    batch, name = batch_of(session), session.get_inputs()[0].name
    parts = [session.run(None, {name: samples[i:i + batch]})
             for i in range(0, len(samples), batch)]
    return [numpy.concatenate(column) for column in zip(*parts)]


def upgraded(path, folder):
    """The model at opset 13 at least, which scales per channel need; ONNX Runtime does not do that."""
    model = onnx.load(path)
    if model.opset_import[0].version >= 13:
        return path
    onnx.save(onnx.version_converter.convert_version(model, 13), folder / "upgraded.onnx")
    return str(folder / "upgraded.onnx")


def quantize_static(model, samples, method, folder):
    """The file quantize_static writes, and the seconds it takes (its pre-processing too)."""
    clean, result = folder / f"clean-{method}.onnx", folder / f"ort-{method}.onnx"
    begun = time.process_time()
    model = upgraded(model, folder)
    quant_pre_process(model, str(clean), skip_symbolic_shape=True)
    session = session_of(clean)
    stride = max(d for d in range(1, 17) if len(samples) % d == 0)
    batch = max(d for d in range(1, batch_of(session) + 1) if stride % d == 0)
    reader = Reader(session.get_inputs()[0].name, samples, batch)
    quantization.quantize_static(
        str(clean), str(result), reader, per_channel=True,
        activation_type=quantization.QuantType.QUInt8, weight_type=quantization.QuantType.QInt8,
        calibrate_method=getattr(quantization.CalibrationMethod, method),
        extra_options={"CalibStridedMinMax": stride})
    return result, time.process_time() - begun


def quantize_pare(pare, model, samples, passes, folder):
    """The file pare writes, and its processor seconds."""
    data, pipeline = folder / "samples.npy", folder / "pipeline.yaml"
    result = folder / "pare.onnx"
    numpy.save(data, samples)
    pipeline.write_text(CLEAN + passes + "  - remove-dead-nodes\n")
    result.unlink(missing_ok=True)
    process = subprocess.Popen([pare, "optimize", model, "-o", result, "-p", pipeline, "--data",
                                data, "-q"], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{model}: exit status {status}")
    return result, usage.ru_utime + usage.ru_stime


def probabilities(x, given):
    """Of the classes, at least 1e-4: an output that is quantized itself holds exact zeros. `given`
    says that `x` are probabilities already."""
    if not given:
        x = numpy.exp(x - x.max(-1, keepdims=True))
    x = numpy.maximum(x / x.sum(-1, keepdims=True), 1e-4)
    return x / x.sum(-1, keepdims=True)


def sqnr(reference, outputs):
    """Decibels over all outputs."""
    signal = sum(float((r.astype(float) ** 2).sum()) for r in reference)
    noise = sum(float(((r.astype(float) - o) ** 2).sum()) for r, o in zip(reference, outputs))
    return 10 * numpy.log10(signal / noise) if noise else float("inf")


def figures(kind, labels, reference, outputs):
    """Cells of the table, from top-1 to score error."""
    top, drop, agreement, kl, db, error = "", "", "", "", "", ""
    if kind == "map":
        agreement = f"{100 * (reference[0] == outputs[0]).mean():.2f}"
    else:
        db = f"{sqnr(reference, outputs):.1f}"
    if kind == "classes":
        a, b = reference[0].argmax(-1), outputs[0].argmax(-1)
        given = reference[0].min() >= 0 and abs(reference[0].sum(-1) - 1).max() < 1e-3
        p, q = (probabilities(x[0].astype(float), given) for x in (reference, outputs))
        agreement = f"{100 * (a == b).mean():.2f}"
        kl = f"{(p * numpy.log(p / q)).sum(-1).mean():.5f}"
        if labels is not None:
            top = f"{100 * (b == labels).mean():.2f}"
            drop = f"{100 * ((a == labels).mean() - (b == labels).mean()):.2f}"
    if callable(kind):
        scores, other = kind(reference), kind(outputs)
        found = scores > 0.05
        error = f"{abs(scores - other)[found].mean():.4f}"
    return f"{top} | {drop} | {agreement} | {kl} | {db} | {error}"


def samples_of(name, data, cache):
    """Calibration samples, samples to judge by, labels."""
    kept = cache / f"{name}.npz" if cache else None
    if kept and kept.exists():
        arrays = numpy.load(kept)
        return arrays["calibrate"], arrays["judge"], arrays["labels"] if "labels" in arrays else None
    calibrate, judge, labels = NETWORKS[name][1](data)
    calibrate, judge = (numpy.ascontiguousarray(x, numpy.float32) for x in (calibrate, judge))
    if kept:
        numpy.savez(kept, calibrate=calibrate, judge=judge,
                    **({} if labels is None else {"labels": labels}))
    return calibrate, judge, labels


def reference_rows(name, model, samples, judge, folder, cache):
    """Rows of quantize_static, computed or kept in the cache."""
    kept = cache / f"{name}-ort.md" if cache else None
    if kept and kept.exists():
        return kept.read_text().splitlines()
    rows = []
    for method in METHODS:
        path, seconds = quantize_static(model, samples, method, folder)
        rows.append(f"| {name} | ONNX Runtime {method} | {judge(path)} | {seconds:.0f} |")
        print(rows[-1], flush=True)
        if cache:
            path.rename(cache / f"{name}-{method}.onnx")
    if kept:
        kept.write_text("\n".join(rows) + "\n")
    return rows


def key_of(row):
    """Network and maker of a row."""
    return tuple(cell.strip() for cell in row.split("|")[1:3])


def measure(name, options, data, folder):
    """The rows of one network."""
    file, _, kind = NETWORKS[name]
    model = str(data / "models" / f"{file}.onnx")
    calibrate, judged, labels = samples_of(name, data, options.cache)
    reference = run(model, judged)

    def judge(path):
        return figures(kind, labels, reference, run(path, judged))

    rows = [f"| {name} | float | {judge(model)} | |"]
    if not options.variant:
        rows += reference_rows(name, model, calibrate, judge, folder, options.cache)
    for variant in options.variant or VARIANTS:
        path, seconds = quantize_pare(options.pare, model, calibrate, VARIANTS[variant], folder)
        rows.append(f"| {name} | pare {variant} | {judge(path)} | {seconds:.0f} |")
        print(rows[-1], flush=True)
    return rows


def main():
    """Writes RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--pare", default=ROOT / "build/release/cli/pare", type=pathlib.Path)
    parser.add_argument("--network", nargs="*", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--variant", nargs="*", choices=VARIANTS, default=[])
    parser.add_argument("--cache", type=pathlib.Path)
    parser.add_argument("--results", type=pathlib.Path, default=RESULTS)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    data = pathlib.Path(os.environ.get("PARE_BENCH_DATA", ROOT.parent / "shared/bench-data"))
    old = options.results.read_text().splitlines() if options.results.exists() else []
    rows = {key_of(row): row for row in old if row.startswith("| ")}
    for name in options.network:
        with tempfile.TemporaryDirectory() as folder:
            made = measure(name, options, data, pathlib.Path(folder))
        rows.update((key_of(row), row) for row in made)
    kept = [rows[name, by] for name in NETWORKS for by in ORDER if (name, by) in rows]
    options.results.write_text(
        "# Quantization without retraining\n\nWritten by `bench/quantization/run.py`, beside "
        f"`quantize_static` of ONNX Runtime {onnxruntime.__version__} (per channel, after its\n"
        "`quant_pre_process`), on the same calibration samples; every file is run by ONNX Runtime on "
        "samples that calibrated nothing.\nAgreement is the share of samples (DeepLab: pixels) with "
        "the float network's best class, score error the mean absolute\nerror of a detector's scores "
        "where the float network's is over 0.05, seconds are processor time.\n\n"
        + HEAD + "\n".join(kept) + "\n")


if __name__ == "__main__":
    main()
