#!/usr/bin/env python3
"""Reading and writing a model changes nothing, by the word of ONNX Runtime.

    roundtrip.py PROGRAM [--quick] [--zoo] [--data DIR] [MODEL ...]

PROGRAM is the `roundtrip` of this folder. Models are those given, or else the generated edge cases
(edge_models.py) and every model under DIR/models; --zoo adds the filled skeletons of DIR/zoo, and
--quick leaves out what is larger than 20 MB. For each model
  - the outputs on seeded random inputs are bit-equal in ONNX Runtime (where it runs the original),
  - inputs, outputs, metadata, opsets, functions and everything around the nodes are the same,
  - every node but Constant is byte-equal,
  - writing the result once more gives the same bytes,
  - with --external-data, in another folder, the weights are the same.
One line a model; exit 1 when any differs, 77 where onnx and onnxruntime are not installed.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
QUICK_BYTES = 20_000_000

try:
    import numpy
    import onnx
    import onnxruntime
except ImportError:
    python = ROOT / "build/venv/bin/python"
    if not python.exists() or pathlib.Path(sys.prefix) == python.parents[1]:
        print("roundtrip: onnx and onnxruntime are not installed (scripts/venv installs them)")
        sys.exit(77)
    os.execv(python, [str(python), *sys.argv])

import edge_models

DTYPES = {
    "tensor(float)": numpy.float32, "tensor(double)": numpy.float64, "tensor(float16)": numpy.float16,
    "tensor(int8)": numpy.int8, "tensor(int16)": numpy.int16, "tensor(int32)": numpy.int32,
    "tensor(int64)": numpy.int64, "tensor(uint8)": numpy.uint8, "tensor(uint16)": numpy.uint16,
    "tensor(uint32)": numpy.uint32, "tensor(uint64)": numpy.uint64, "tensor(bool)": numpy.bool_,
}


# What random numbers would not do for: extents that go together, a sample rate.
FEEDS = {
    "silero_vad_op18_ifless": {
        "input": numpy.sin(numpy.arange(512, dtype=numpy.float32) / 9)[None],
        "sr": numpy.array(16000), "state": numpy.zeros((2, 1, 128), numpy.float32)},
}


class Different(Exception):
    """What differs, for the user."""


def session_of(path, level):
    """An ONNX Runtime session that says nothing."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = level
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def random_inputs(session, dynamic):
    """Seeded inputs, `dynamic` for every extent that is not fixed."""
    generator = numpy.random.default_rng(7)
    feeds = {}
    for entry in session.get_inputs():
        shape = [d if isinstance(d, int) and d >= 0 else dynamic for d in entry.shape]
        dtype = DTYPES[entry.type]
        if numpy.issubdtype(dtype, numpy.floating):
            feeds[entry.name] = generator.standard_normal(shape).astype(dtype)
        elif dtype == numpy.bool_:
            feeds[entry.name] = generator.integers(0, 2, shape).astype(dtype)
        else:
            feeds[entry.name] = generator.integers(0, 4, shape).astype(dtype)
    return feeds


def run_original(path):
    """(optimisation level, feeds, outputs) of a model, None where ONNX Runtime cannot run it."""
    levels = onnxruntime.GraphOptimizationLevel
    for level in (levels.ORT_ENABLE_ALL, levels.ORT_ENABLE_BASIC):
        for dynamic in (2, 1):
            try:
                session = session_of(path, level)
                feeds = FEEDS.get(path.stem) or random_inputs(session, dynamic)
                return level, feeds, session.run(None, feeds)
            except Exception:  # pylint: disable=broad-except
                continue  # ONNX Runtime has no common base class; the caller counts refusals.
    return None


def check_outputs(expected, path):
    """Bit equality of what ONNX Runtime computes."""
    level, feeds, outputs = expected
    again = session_of(path, level).run(None, feeds)
    for index, (a, b) in enumerate(zip(outputs, again, strict=True)):
        a, b = numpy.asarray(a), numpy.asarray(b)
        if a.dtype != b.dtype or a.shape != b.shape:
            raise Different(f"output {index} is {b.dtype}{b.shape}, was {a.dtype}{a.shape}")
        if a.dtype == object:
            if a.tolist() != b.tolist():
                raise Different(f"output {index} has other strings")
        elif a.tobytes() != b.tobytes():
            raise Different(f"output {index} has other values")


def initializer_names(graph):
    """Names that need not be fed."""
    names = {tensor.name for tensor in graph.initializer}
    return names | {tensor.values.name for tensor in graph.sparse_initializer}


def interface(model):
    """Declarations of the inputs a caller must feed and of the outputs."""
    weights = initializer_names(model.graph)
    inputs = [info.SerializeToString() for info in model.graph.input if info.name not in weights]
    return inputs, [info.SerializeToString() for info in model.graph.output]


def frame(model):
    """All but the nodes, weights and declarations; what must survive byte by byte."""
    rest = onnx.ModelProto()
    rest.CopyFrom(model)
    for field in ("node", "initializer", "input", "output", "value_info"):
        rest.graph.ClearField(field)
    rest.ClearField("ir_version")
    return rest.SerializeToString(deterministic=True)


def subgraphs(graph):
    """A graph and those inside it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                yield from subgraphs(inner)


def load(path):
    """A model with external data in it, in the form as if it had never been elsewhere."""
    model = onnx.load(str(path))
    for graph in subgraphs(model.graph):
        for tensor in graph.initializer:
            tensor.ClearField("data_location")
    return model


def nodes(model):
    """Serialized nodes; Constant nodes become initializers."""
    return sorted(node.SerializeToString(deterministic=True) for node in model.graph.node
                  if node.op_type != "Constant" or node.attribute[0].name == "sparse_value")


def value_infos(model):
    """Serialized declarations of inner values by name."""
    return {info.name: info.SerializeToString() for info in model.graph.value_info}


def check_structure(before, after):
    """Everything a runtime does not see, or sees only in part."""
    if interface(before) != interface(after):
        raise Different("the interface changed")
    if frame(before) != frame(after):
        raise Different("metadata, functions, or something else around the nodes changed")
    if nodes(before) != nodes(after):
        raise Different("a node changed")
    if after.ir_version != before.ir_version and not before.ir_version < 4 == after.ir_version:
        raise Different(f"IR version {before.ir_version} became {after.ir_version}")
    if before.ir_version >= 4 and (
            [info.name for info in before.graph.input] != [info.name for info in after.graph.input]):
        raise Different("an initializer that is an input is no longer one")
    if list(value_infos(before)) != list(value_infos(after)):
        raise Different("value_info lists other values")


def notes(before, after):
    """What may change and is worth a word."""
    old, new = value_infos(before), value_infos(after)
    changed = sum(old[name] != new[name] for name in old)
    words = [f"{changed} value_info corrected"] if changed else []
    if before.ir_version != after.ir_version:
        words.append(f"IR {before.ir_version} -> {after.ir_version}")
    return words


def write(program, source, target, *flags):
    """Runs the program under test."""
    run = subprocess.run([program, str(source), str(target), *flags], capture_output=True, text=True,
                         check=False)
    if run.returncode != 0:
        raise Different(run.stderr.strip() or f"exit code {run.returncode}")


def load_weights(path):
    """Initializers by name, as numpy arrays' bytes."""
    graph = onnx.load(str(path)).graph
    return {tensor.name: onnx.numpy_helper.to_array(tensor).tobytes()
            for tensor in graph.initializer if tensor.data_type != onnx.TensorProto.STRING}


def check_model(program, path, folder):
    """Checks one model; returns words for its line."""
    target, again = folder / "once.onnx", folder / "twice.onnx"
    write(program, path, target)
    before, after = load(path), load(target)
    check_structure(before, after)
    words = notes(before, after)
    del before, after
    expected = run_original(path)
    if expected is None:
        words.append("not run: ONNX Runtime refuses the original")
    else:
        check_outputs(expected, target)
    write(program, target, again)
    if target.read_bytes() != again.read_bytes():
        raise Different("writing it a second time gave other bytes")
    again.unlink()
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    write(program, path, elsewhere / "external.onnx", "--external-data")
    if load_weights(target) != load_weights(elsewhere / "external.onnx"):
        raise Different("external data has other weights")
    return words


def filled_zoo(data, quick, folder):
    """Yields the zoo's models, filled one at a time."""
    for skeleton in sorted((data / "zoo").glob("*.skel.onnx")):
        subprocess.run([sys.executable, str(data / "zoo/zoo_fill.py"), str(folder), str(skeleton)],
                       check=True, stdout=subprocess.DEVNULL)
        path = folder / skeleton.name.replace(".skel", "")
        if not quick or path.stat().st_size <= QUICK_BYTES:
            yield path
        path.unlink()


def models(options, folder):
    """The models to check."""
    if options.models:
        yield from options.models
        return
    yield from edge_models.write_all(folder / "edge")
    for path in sorted((options.data / "models").rglob("*.onnx")):
        if not options.quick or path.stat().st_size <= QUICK_BYTES:
            yield path
    if options.zoo:
        yield from filled_zoo(options.data, options.quick, folder)


def parser_of(doc, program="program"):
    """The command line of a test of this folder: what it runs, and where the bench data lies."""
    parser = argparse.ArgumentParser(description=doc.split("\n", maxsplit=1)[0])
    parser.add_argument(program, type=lambda path: pathlib.Path(path).resolve())
    parser.add_argument("--data", type=pathlib.Path,
                        default=os.environ.get("PARE_BENCH_DATA", ROOT.parent / "shared/bench-data"))
    return parser


def check_networks(options, checks, good):
    """Runs check(pare, model, folder) of each (network, check), which says what is wrong; one line a network. Exits 1
    when anything is, 77 without the bench data."""
    models = [options.data / "models" / f"{name}.onnx" for name, _ in checks]
    if not all(model.exists() for model in models):
        sys.exit(77)
    failed = False
    for model, (_, check) in zip(models, checks):
        with tempfile.TemporaryDirectory() as folder:
            wrong = check(options.pare, model, pathlib.Path(folder))
        print(f"{model.stem}: {wrong or good}", flush=True)
        failed = failed or bool(wrong)
    sys.exit(1 if failed else 0)


def main():
    """Exit code."""
    parser = parser_of(__doc__)
    parser.add_argument("models", nargs="*", type=pathlib.Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--zoo", action="store_true")
    options = parser.parse_args()
    failed = count = 0
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        for path in models(options, scratch):
            count += 1
            with tempfile.TemporaryDirectory(dir=scratch) as folder:
                try:
                    words = check_model(options.program, path, pathlib.Path(folder))
                    print(f"ok   {path.stem}" + "".join(f", {word}" for word in words), flush=True)
                except Different as error:
                    failed += 1
                    print(f"FAIL {path.stem}: {error}", flush=True)
    print(f"roundtrip: {count - failed} of {count} models came through unchanged")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
