#!/usr/bin/env python3
"""Quantizes networks with profile dpu and compares pare's integer simulation with ONNX Runtime.

    shifts.py PARE [--data DIR]

ONNX Runtime computes every quantized tensor of the QDQ file, with all graph optimisation (integer kernels) and
without (floats between Q and DQ); `pare verify --dump` must find every number equal, and must name the layer
whose number is changed. Networks are those of DIR/models below. Exit 1 when any differs, 77 where onnx and
onnxruntime are not installed or there is no DIR.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

# First: it starts over in build/venv where onnx is not installed.
from roundtrip import ROOT

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


def main():
    """One line a network."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("pare", type=pathlib.Path)
    parser.add_argument("--data", type=pathlib.Path,
                        default=os.environ.get("PARE_BENCH_DATA", ROOT.parent / "shared/bench-data"))
    options = parser.parse_args()
    models = [options.data / "models" / f"{name}.onnx" for name in NETWORKS]
    if not all(model.exists() for model in models):
        sys.exit(77)
    failed = False
    for model in models:
        with tempfile.TemporaryDirectory() as folder:
            wrong = check(options.pare, model, pathlib.Path(folder))
        print(f"{model.stem}: {wrong or 'every number equal'}")
        failed = failed or bool(wrong)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
