#!/usr/bin/env python3
"""Writes quantized networks in other forms with pare and compares what ONNX Runtime makes of them.

    quantized_forms.py PARE RUN_MODEL [--data DIR]

- `format: qoperator` loads, holds no QDQ pair inside, and gives the outputs of `format: qdq` but for steps where
  a rounding is on the edge (cosine over 0.9999); so does pare's own plan of it, which RUN_MODEL of this folder runs.
- `dequantize` takes quantized networks of other tools (DIR/models/*_qdq.onnx) to float ones: no QuantizeLinear is
  left but of the outputs, and the outputs stay close (cosine over 0.98); quantized anew they stay so (over 0.95).
One line a network; exit 1 when any fails, 77 where onnx and onnxruntime are not installed or there is no DIR.
"""

import functools
import pathlib
import subprocess

# First: it starts over in build/venv where onnx is not installed.
from roundtrip import check_networks, parser_of

import numpy
import onnx
import onnxruntime

FLOAT = ("mlperf_tiny/resnet8_cifar10_bn", "mlperf_tiny/kws_dscnn_folded")
# Network: a file of samples; noise where there is none.
QUANTIZED = {"mlperf_tiny/resnet8_cifar10_qdq": None, "mlperf_tiny/kws_dscnn_qdq": "kws/test1000_x_f32.npy",
             "mlperf_tiny/vww_mobilenetv1_025_96_qdq": None, "imagenet/mobilenet_v1_0.25_128_quant_qdq": None}
SAMPLES = 32
CLEAN = ("fold-constants", "fold-batch-norm", "remove-identity")


def optimize(pare, model, result, passes, data="random:32"):
    """The file that passes make of a model."""
    command = [pare, "optimize", model, "-o", result, "-q", "--data", data]
    for name in passes:
        command += ["--pass", name]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return result


def session_of(path):
    """On one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def samples_of(model, file):
    """What a network can be run on: samples of a file, else noise in the middle third of what its first
    QuantizeLinear can hold, or from -3 to 3 where it has none."""
    shape = [SAMPLES, *(d if isinstance(d, int) else 1 for d in session_of(model).get_inputs()[0].shape[1:])]
    if file:
        return numpy.load(file)[:SAMPLES].reshape(shape).astype(numpy.float32)
    graph = onnx.load(str(model)).graph
    constants = {c.name: onnx.numpy_helper.to_array(c) for c in graph.initializer}
    low, high = -9, 9
    for node in graph.node:
        if node.op_type == "QuantizeLinear":
            scale, zero = (constants[name] for name in node.input[1:3])
            limits = numpy.iinfo(zero.dtype)
            low, high = ((float(bound) - float(zero)) * float(scale) for bound in (limits.min, limits.max))
            break
    third = (high - low) / 3
    return numpy.random.default_rng(0).uniform(low + third, high - third, shape).astype(numpy.float32)


def outputs(path, samples):
    """Of the samples, one after the other."""
    session = session_of(path)
    name = session.get_inputs()[0].name
    results = [session.run(None, {name: samples[i:i + 1]}) for i in range(len(samples))]
    return numpy.concatenate([r.astype(numpy.float64).ravel() for result in results for r in result])


def plan_outputs(run_model, path, samples, folder):
    """The same of pare's plan."""
    results = []
    for i in range(len(samples)):
        numpy.save(folder / "input_0.npy", samples[i:i + 1])
        subprocess.run([run_model, path, folder], check=True)
        results += [numpy.load(file).astype(numpy.float64).ravel() for file in sorted(folder.glob("plan_*.npy"))]
    return numpy.concatenate(results)


def cosine(a, b):
    """1 where they are the same but for a factor."""
    return float(a @ b / max(numpy.linalg.norm(a) * numpy.linalg.norm(b), 1e-30))


def operators(path):
    """Names, with their number."""
    ops = [node.op_type for node in onnx.load(str(path)).graph.node]
    return {op: ops.count(op) for op in ops}


def check_qoperator(pare, model, folder, run_model):
    """What is wrong; empty when nothing is."""
    pairs = optimize(pare, model, folder / "qdq.onnx", (*CLEAN, "quantize-int8"))
    result = optimize(pare, model, folder / "qop.onnx", (*CLEAN, "quantize-int8: {format: qoperator}"))
    found = operators(result)
    if "Conv" in found or found.get("QuantizeLinear", 0) > 1:
        return f"is left in pairs: {found}"
    samples = samples_of(model, None)
    expected = outputs(result, samples)
    close = cosine(outputs(pairs, samples), expected)
    if not close > 0.9999:
        return f"cosine with the pairs {close}"
    close = cosine(plan_outputs(run_model, result, samples, folder), expected)
    return "" if close > 0.9999 else f"cosine of the plan with ONNX Runtime {close}"


def check_dequantize(pare, model, folder, file):
    """What is wrong; empty when nothing is."""
    samples = samples_of(model, file)
    plain = optimize(pare, model, folder / "float.onnx", ("dequantize",))
    found = operators(plain)
    if found.get("QuantizeLinear", 0) > len(onnx.load(str(plain)).graph.output):
        return f"is not all float: {found}"
    expected = outputs(model, samples)
    close = cosine(expected, outputs(plain, samples))
    if close < 0.98:
        return f"cosine in float {close}"
    numpy.save(folder / "samples.npy", samples)
    again = optimize(pare, model, folder / "again.onnx", ("dequantize", "quantize-int8"), folder / "samples.npy")
    if operators(again).get("QuantizeLinear", 0) < 5:
        return f"is hardly quantized anew: {operators(again)}"
    close = cosine(expected, outputs(again, samples))
    return "" if close > 0.95 else f"cosine quantized anew {close}"


def main():
    """One line a network."""
    parser = parser_of(__doc__, "pare")
    parser.add_argument("run_model", type=pathlib.Path)
    options = parser.parse_args()
    checks = [(name, functools.partial(check_qoperator, run_model=options.run_model.resolve())) for name in FLOAT]
    for name, file in QUANTIZED.items():
        checks.append((name, functools.partial(check_dequantize, file=file and options.data / file)))
    check_networks(options, checks, "as it should be")


if __name__ == "__main__":
    main()
