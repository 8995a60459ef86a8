#!/usr/bin/env python3
"""Quantizes ResNet-50 with pare and with quantize_static (entropy calibration) and writes RESNET50.md:
processor time and peak memory of either, and speed and kernels of the files in ONNX Runtime.

    bench/quantization/resnet50.py MODEL [--pare build/release/cli/pare] [--images 128] [--runs 20]

MODEL is zoo/resnet50_op13.skel.onnx filled by zoo/zoo_fill.py. Both read the same images, as one
array of float32. Each quantizes in a process of its own, on two threads; speed is processor time of
one image on one thread, the least of the runs.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy
import onnxruntime

from kernels import count, session
from networks import as_array, pictures

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESULTS = pathlib.Path(__file__).parent / "RESNET50.md"
PIPELINE = ("passes:\n  - fold-constants\n  - remove-identity\n  - fold-batch-norm\n"
            "  - quantize-int8\n  - remove-dead-nodes\n")
MEAN = numpy.array([0.485, 0.456, 0.406], numpy.float32).reshape(3, 1, 1)
STD = numpy.array([0.229, 0.224, 0.225], numpy.float32).reshape(3, 1, 1)
# Runs in a process of its own, so that its memory is counted alone.
STATIC = """
import sys, numpy
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process
model, samples, folder, result = sys.argv[1:]
class Reader(quantization.CalibrationDataReader):
    def __init__(self, name):
        x = numpy.load(samples, mmap_mode="r")
        self.batches = ({name: numpy.ascontiguousarray(x[i:i + 1])} for i in range(len(x)))
    def get_next(self):
        return next(self.batches, None)
import onnx
quant_pre_process(model, folder + "/clean.onnx", skip_symbolic_shape=True)
name = onnx.load(model, load_external_data=False).graph.input[0].name
quantization.quantize_static(folder + "/clean.onnx", result, Reader(name), per_channel=True,
    activation_type=quantization.QuantType.QUInt8, weight_type=quantization.QuantType.QInt8,
    calibrate_method=quantization.CalibrationMethod.Entropy)
"""


def measured(command):
    """Processor seconds and peak memory [MB] of a process."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{command[0]}: exit status {status}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def milliseconds(path, sample, runs):
    """Processor time of one image, the least of the runs."""
    run = session(path)
    feed, times = {run.get_inputs()[0].name: sample}, []
    for _ in range(runs):
        begun = time.process_time()
        run.run(None, feed)
        times.append(time.process_time() - begun)
    return 1000 * min(times)


def output(path, sample):
    """The first output, flat."""
    run = session(path)
    return run.run(None, {run.get_inputs()[0].name: sample})[0].astype(float).ravel()


def row(name, path, cost, sample, runs, reference):
    """One line of the table."""
    y = output(path, sample)
    cosine = y @ reference / numpy.linalg.norm(y) / numpy.linalg.norm(reference)
    kernels = count(path)
    seconds, memory = (f"{cost[0]:.0f}", f"{cost[1]:.0f}") if cost else ("", "")
    return (f"| {name} | {seconds} | {memory} | {milliseconds(path, sample, runs):.1f} | "
            f"{kernels['integer kernels']} | {kernels['weighted in float']} | "
            f"{kernels['islands']} | {kernels['Q and DQ left']} | {cosine:.4f} |")


def main():
    """Writes RESNET50.md."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--pare", default=ROOT / "build/release/cli/pare", type=pathlib.Path)
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--runs", type=int, default=20)
    options = parser.parse_args()
    data = pathlib.Path(os.environ.get("PARE_BENCH_DATA", ROOT.parent / "shared/bench-data"))
    images = pictures(data)[:: max(1, 1000 // options.images)][:options.images]
    x = numpy.stack([(as_array(i, (224, 224), True, False) / 255 - MEAN) / STD for i in images])
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        numpy.save(folder / "x.npy", x.astype(numpy.float32))
        (folder / "p.yaml").write_text(PIPELINE)
        ours, theirs = folder / "pare.onnx", folder / "static.onnx"
        cost = measured([options.pare, "optimize", options.model, "-o", ours, "-p", folder / "p.yaml",
                         "--data", folder / "x.npy", "-q", "--threads", "2"])
        other = measured([sys.executable, "-c", STATIC, options.model, folder / "x.npy", folder, theirs])
        sample = x[:1].astype(numpy.float32)
        reference = output(options.model, sample)
        rows = [row("float", options.model, None, sample, options.runs, reference),
                row("quantize_static, Entropy", theirs, other, sample, options.runs, reference),
                row("pare", ours, cost, sample, options.runs, reference)]
    RESULTS.write_text(
        "# ResNet-50 in INT8\n\nWritten by `bench/quantization/resnet50.py`: ResNet-50 with random weights, "
        f"{len(images)} images to calibrate, ONNX Runtime {onnxruntime.__version__}.\nSeconds and memory "
        "are those of the whole quantization; an image is one on one thread, all in processor time.\n\n"
        "| file | quantizing [s] | peak memory [MB] | image [ms] | integer kernels | Conv, Gemm in "
        "float | of these behind a DequantizeLinear | Q and DQ nodes left | cosine with float |\n"
        "|---|---|---|---|---|---|---|---|---|\n" + "\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
