#!/usr/bin/env python3
"""Runs real models through pare's interpreter and plan and ONNX Runtime and compares what comes out.

    models.py PROGRAM [--all] [--data DIR] [MODEL ...]

PROGRAM is the `run_model` of this folder. Models are those given, or else the demo's, every model
under DIR/models, and the small architectures of DIR/zoo, filled with weights (--all: every one).
For each model
  - outputs on seeded random inputs agree with ONNX Runtime without graph optimisation within
    TOLERANCE of the output's largest value; in quantized models, where one rounding that falls the
    other way spreads, within QUANTIZED_TOLERANCE; in models that amplify rounding (deep ones with
    random weights do), twice as far as ONNX Runtime itself moves when its graph is optimised or
    its inputs change by one part in ten million,
  - every shape onnx.shape_inference knows, pare inferred alike,
  - every computed value has the type that was inferred for it.
One line a model; exit 1 when any differs, 77 where onnx and onnxruntime are not installed.
"""

import pathlib
import subprocess
import sys
import tempfile
import time

# First: it starts over in build/venv where onnx is not installed.
from roundtrip import ROOT, Different, filled_zoo, parser_of, random_inputs, session_of

import numpy
import onnx
from onnxruntime import GraphOptimizationLevel

TOLERANCE, QUANTIZED_TOLERANCE = 1e-4, 1e-2
SMALL_ZOO = ("alexnet", "mnasnet0_5", "mobilenet_v3_small", "shufflenet_v2_x0_5", "squeezenet1_1")
# Larger models run at batch 1 only, the others at 2 where the batch is free.
BATCH_BYTES = 20_000_000
UNSUPPORTED = 4
# Where random numbers will not do: the inputs in order, by model.
SPECIAL_INPUTS = {
    "silero_vad_op18_ifless": {"input": numpy.zeros((1, 512), numpy.float32),
                               "sr": numpy.array(16000, numpy.int64),
                               "state": numpy.zeros((2, 1, 128), numpy.float32)},
}
SHORT_TYPES = {
    "FLOAT": "f32", "DOUBLE": "f64", "FLOAT16": "f16", "BFLOAT16": "bf16", "INT8": "i8",
    "INT16": "i16", "INT32": "i32", "INT64": "i64", "UINT8": "u8", "UINT16": "u16", "UINT32": "u32",
    "UINT64": "u64", "BOOL": "bool", "STRING": "string", "INT4": "i4", "UINT4": "u4",
}


def known_types(path):
    """Types onnx.shape_inference finds with every symbolic dim bound to 1, as pare writes them."""
    model = onnx.load(str(path))
    for info in model.graph.input:
        for dim in info.type.tensor_type.shape.dim:
            if not dim.HasField("dim_value"):
                dim.dim_value = 1
    del model.graph.value_info[:]  # The file's own may hold other batches.
    for info in model.graph.output:
        info.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    types = {}
    for info in [*inferred.graph.value_info, *inferred.graph.output]:
        tensor = info.type.tensor_type
        extents = [dim.dim_value for dim in tensor.shape.dim]
        if tensor.HasField("shape") and all(d.HasField("dim_value") for d in tensor.shape.dim):
            dtype = SHORT_TYPES.get(onnx.TensorProto.DataType.Name(tensor.elem_type))
            types[info.name] = f"{dtype}[{','.join(map(str, extents))}]"
    return types


def check_types(path, table):
    """Holds pare's inferred types against onnx's; returns how many were compared and unknown."""
    ours = dict(line.split("\t")[:2] for line in table.read_text().splitlines())
    theirs = known_types(path)
    for name, expected in theirs.items():
        if name in ours and ours[name] != expected:
            raise Different(f"'{name}' was inferred as {ours[name]}, onnx says {expected}")
    unknown = sum("?" in text or "..." in text for text in ours.values())
    return len(theirs.keys() & ours.keys()), unknown


def error_of(ours, theirs):
    """Largest difference relative to the largest value; integers: share that differs."""
    if ours.dtype != theirs.dtype or ours.shape != theirs.shape:
        raise Different(f"an output is {ours.dtype}{ours.shape}, expected "
                        f"{theirs.dtype}{theirs.shape}")
    if theirs.size == 0:
        return 0.0
    if not numpy.issubdtype(theirs.dtype, numpy.floating):
        return float((ours != theirs).mean())
    scale = numpy.abs(theirs).max() or 1.0
    return float(numpy.abs(ours.astype(numpy.float64) - theirs).max() / scale)


def is_quantized(path):
    """Whether rounding to integers happens inside."""
    nodes = onnx.load(str(path), load_external_data=False).graph.node
    return any(node.op_type in ("QuantizeLinear", "DynamicQuantizeLinear") for node in nodes)


def reference(path, batch, level):
    """(feeds, outputs) of ONNX Runtime, None where it refuses."""
    try:
        session = session_of(path, level)
        feeds = SPECIAL_INPUTS.get(path.stem) or random_inputs(session, batch)
        return feeds, session.run(None, feeds)
    except Exception:  # pylint: disable=broad-except
        return None  # ONNX Runtime has no common base class.


def largest_error(ours, theirs):
    """Over all outputs."""
    return max(error_of(a, b) for a, b in zip(ours, theirs))


def own_spread(path, batch, feeds, expected):
    """How far ONNX Runtime's outputs move for reasons that mean nothing."""
    optimized = reference(path, batch, GraphOptimizationLevel.ORT_ENABLE_ALL)
    nudged = {name: (tensor * (1 + 1e-7)).astype(tensor.dtype)
              if numpy.issubdtype(tensor.dtype, numpy.floating) else tensor
              for name, tensor in feeds.items()}
    session = session_of(path, GraphOptimizationLevel.ORT_DISABLE_ALL)
    return max(largest_error(optimized[1], expected) if optimized else 0.0,
               largest_error(session.run(None, nudged), expected))


def compare_outputs(path, folder, batch, feeds, expected):
    """Raises Different when an output is too far; returns words."""
    def error_from(prefix):
        return largest_error([numpy.load(folder / f"{prefix}_{i}.npy")
                              for i in range(len(expected))], expected)
    by_plan, note = error_from("plan"), ""
    error = max(error_from("output"), by_plan)
    limit = QUANTIZED_TOLERANCE if is_quantized(path) else TOLERANCE
    if error > limit:
        spread = own_spread(path, batch, feeds, expected)
        limit = max(limit, 2 * spread)  # Ours and theirs move each on its own.
        note = f" (ONNX Runtime itself moves by {spread:.1e})"
    if not error <= limit:
        raise Different(f"error {error:.1e}{note}, allowed is {limit:.1e}")
    return f"error {error:.1e} (plan {by_plan:.1e}){note}"


def check_model(program, path, folder):
    """Checks one model; returns (status, words)."""
    batch = 2 if path.stat().st_size <= BATCH_BYTES else 1
    level = GraphOptimizationLevel.ORT_DISABLE_ALL
    result = reference(path, batch, level)
    if result is None:
        batch = 1
        result = reference(path, batch, level)
    if result is None:
        return "skip", "ONNX Runtime refuses the model"
    feeds, expected = result
    for index, tensor in enumerate(feeds.values()):
        numpy.save(folder / f"input_{index}.npy", tensor)
    start = time.monotonic()
    run = subprocess.run([program, str(path), str(folder)], capture_output=True, text=True,
                         check=False)
    seconds = time.monotonic() - start
    if run.returncode not in (0, UNSUPPORTED):
        raise Different(run.stderr.strip() or f"exit code {run.returncode}")
    compared, unknown = check_types(path, folder / "values.tsv")
    types = f"{compared} types alike, {unknown} open"
    if run.returncode == UNSUPPORTED:
        return "pass-through", f"{types}; {run.stderr.strip()}"
    return "ok", f"{compare_outputs(path, folder, batch, feeds, expected)}, {types}, {seconds:.1f} s"


def models(options, folder):
    """The models to check."""
    if options.models:
        yield from options.models
        return
    yield ROOT / "examples/demo/demo_cnn.onnx"
    yield from sorted((options.data / "models").rglob("*.onnx"))
    if options.all:
        yield from filled_zoo(options.data, False, folder)
        return
    for name in SMALL_ZOO:
        skeleton = options.data / "zoo" / f"{name}_op13.skel.onnx"
        if skeleton.exists():
            subprocess.run([sys.executable, str(options.data / "zoo/zoo_fill.py"), str(folder),
                            str(skeleton)], check=True, stdout=subprocess.DEVNULL)
            yield folder / f"{name}_op13.onnx"


def main():
    """Exit code."""
    parser = parser_of(__doc__)
    parser.add_argument("models", nargs="*", type=pathlib.Path)
    parser.add_argument("--all", action="store_true", help="every model of the zoo")
    options = parser.parse_args()
    count = {"ok": 0, "FAIL": 0, "pass-through": 0, "skip": 0}
    with tempfile.TemporaryDirectory() as scratch:
        for path in models(options, pathlib.Path(scratch)):
            with tempfile.TemporaryDirectory(dir=scratch) as folder:
                try:
                    status, words = check_model(options.program, path, pathlib.Path(folder))
                except Different as error:
                    status, words = "FAIL", str(error)
            count[status] += 1
            print(f"{status} {path.stem}: {words}", flush=True)
    print(f"models: {count['ok']} passed, {count['FAIL']} failed, "
          f"{count['pass-through'] + count['skip']} skipped")
    return 1 if count["FAIL"] else 0


if __name__ == "__main__":
    sys.exit(main())
