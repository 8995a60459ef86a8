#!/usr/bin/env python3
"""Quantizes networks with profile dpu and compares pare's integer simulation with ONNX Runtime.

    shifts.py PARE [--data DIR]

ONNX Runtime computes every quantized tensor of the QDQ file, with all graph optimisation (integer kernels) and
without (floats between Q and DQ); `pare verify --dump` must find every number equal, and must name the layer
whose number is changed. Networks are those of DIR/models below. Exit 1 when any differs, 77 where onnx and
onnxruntime are not installed or there is no DIR.
"""

import subprocess

# First: it starts over in build/venv where onnx is not installed.
from roundtrip import check_networks, parser_of

import numpy
import onnx
import onnxruntime
from onnxruntime import GraphOptimizationLevel

NETWORKS = ("mlperf_tiny/resnet8_cifar10_bn", "mlperf_tiny/kws_dscnn_folded")
PASSES = ("fold-constants", "fold-batch-norm", "remove-identity", "quantize-int8: {profile: dpu}")


def dump_of(path, level):
    """Every tensor that a QuantizeLinear makes, and the inputs."""
    model = onnx.load(str(path))
    stored = {node.output[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(stored))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    random = numpy.random.default_rng(0)
    given = session.get_inputs()[0]
    shape = [d if isinstance(d, int) else 1 for d in given.shape]
    dump = {given.name: random.standard_normal(shape).astype(numpy.float32)}
    dump.update(zip(sorted(stored), session.run(sorted(stored), dict(dump))))
    return dump


def verify(pare, model, dump, folder):
    """Exit code and what is printed."""
    numpy.savez(folder / "dump.npz", **dump)
    result = subprocess.run([pare, "verify", model, "--dump", folder / "dump.npz"], capture_output=True,
                            text=True, check=False)
    return result.returncode, result.stdout + result.stderr


def check(pare, model, folder):
    """What is wrong; empty when nothing is."""
    result = folder / "dpu.onnx"
    command = [pare, "optimize", model, "-o", result, "-q", "--data", "random:32"]
    for name in PASSES:
        command += ["--pass", name]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    for level in (GraphOptimizationLevel.ORT_DISABLE_ALL, GraphOptimizationLevel.ORT_ENABLE_ALL):
        dump = dump_of(result, level)
        code, text = verify(pare, result, dump, folder)
        if code != 0 or "equal the dump" not in text:
            return f"at {level}: {text}"
    last = sorted(name for name in dump if dump[name].dtype == numpy.int8)[0]
    dump[last].flat[0] = dump[last].flat[0] ^ 1
    code, text = verify(pare, result, dump, folder)
    if code != 1 or "first to differ: node " not in text:
        return f"a changed number was not named: {text}"
    return ""


if __name__ == "__main__":
    options = parser_of(__doc__, "pare").parse_args()
    check_networks(options, [(name, check) for name in NETWORKS], "every number equal")
