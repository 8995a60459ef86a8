#!/usr/bin/env python3
"""Reduces networks to a few classes with pare and compares what is left with ONNX Runtime.

    classes.py PARE [--zoo] [--data DIR] [MODEL ...]

Networks are those given, or else small ones with every kind of head (class_heads.py) and every classifier,
detector and segmentation network under DIR/models; --zoo adds the classifiers, detectors and segmentation
networks of DIR/zoo, filled with weights. Each is reduced to 4 and to 10 classes (2 where it has no more). Then
  - logits, before any Softmax, are to the last bit what gathering the original's gives, computed by ONNX
    Runtime with all graph optimisation, or, where its kernels round otherwise for other widths, without it,
  - outputs that hold no classes are bit-equal too,
  - the written labels name the kept classes, and onnx.checker takes the model,
  - with others merged, probabilities of the kept classes are the original's.
One line a network; exit 1 when any differs, 77 where onnx and onnxruntime are not installed.
"""

import pathlib
import subprocess
import sys
import tempfile

# First: it starts over in build/venv where onnx is not installed.
from roundtrip import Different, filled_zoo, parser_of, random_inputs, session_of

import numpy
import onnx
from onnxruntime import GraphOptimizationLevel

from class_heads import CLASSES, all_heads

TOLERANCE = 1e-5
NO_CLASSES = ("fasterrcnn", "silero")  # A region proposer and a speech detector.
# What ONNX Runtime cannot run as it is: see DIR/INVENTORY.md.
BASIC = ("deeplabv3_mnv2_dm05_pascal_quant_qdq",)
# Indices before the classes, by model.
BESIDE = {"FastestDet": 5, "yolo_fastestv2_coco": 15}
THROUGH = ("Identity", "Softmax", "LogSoftmax", "ArgMax", "Reshape", "Squeeze", "Cast", "DequantizeLinear",
           "QuantizeLinear")


def logits_of(model, name):
    """The value behind an output that its Softmax or ArgMax takes, else the output."""
    producers = {output: node for node in model.graph.node for output in node.output}
    logits = name
    while name in producers and producers[name].op_type in THROUGH:
        node = producers[name]
        name = node.input[0]
        if node.op_type in ("Softmax", "LogSoftmax", "ArgMax"):
            logits = name
    return logits


def with_outputs(path, names):
    """A copy beside the model that has more outputs."""
    model = onnx.load(str(path))
    have = {output.name for output in model.graph.output}
    for name in names:
        if name not in have:
            model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    target = path.parent / f"watched_{path.name}"
    onnx.save(model, str(target))
    return target


def run(path, names, level, feeds=None):
    """Outputs by name, and what was fed."""
    session = session_of(path, level)
    feeds = feeds or random_inputs(session, 1)
    return dict(zip(names, session.run(names, feeds), strict=True)), feeds


def reduce(pare, path, target, keep, options):
    """Runs pare; its sentence where it fails."""
    words = ", ".join(map(str, keep))
    settings = ", ".join([f"keep: [{words}]", *options])
    done = subprocess.run([pare, "optimize", path, "-o", target, "-q", "--pass",
                           f"reduce-classes: {{{settings}}}"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Different(done.stderr.strip())


def check_labels(target, keep, more=()):
    """The written labels."""
    lines = target.with_suffix(".labels.txt").read_text().splitlines()
    if lines != [*(f"class {k}" for k in keep), *more]:
        raise Different(f"the labels are {lines}")


def first_difference(expected, got):
    """Names of what is not bit-equal, worst relative error."""
    for name, array in expected.items():
        if got[name].shape != array.shape:
            raise Different(f"'{name}' is {got[name].shape}, expected {array.shape}")
        if got[name].tobytes() != array.tobytes():
            return name, float(numpy.abs(got[name] - array).max() / max(numpy.abs(array).max(), 1e-30))
    return None


def compare(paths, names, expect):
    """Bit equality at the first level that gives it; says which."""
    worst = None
    levels = (GraphOptimizationLevel.ORT_ENABLE_ALL, GraphOptimizationLevel.ORT_DISABLE_ALL)
    if any(paths[0].stem.endswith(name) for name in BASIC):
        levels = levels[1:]
    for level, words in zip(levels, ("", "unoptimised: ") if len(levels) > 1 else ("unoptimised: ",)):
        before, feeds = run(paths[0], names, level)
        after, _ = run(paths[1], names, level, feeds)
        difference = first_difference(expect(before), after)
        if difference is None:
            return words + "bit-equal"
        worst = difference
    raise Different(f"'{worst[0]}' differs by {worst[1]:.2g} of its largest value")


def check_merged(pare, path, folder, keep, output):
    """Probabilities of kept classes with the others merged."""
    target = folder / "merged.onnx"
    reduce(pare, path, target, keep, ["others: merge"])
    level = GraphOptimizationLevel.ORT_DISABLE_ALL
    before, feeds = run(path, [output], level)
    after, _ = run(target, [output], level, feeds)
    p, q = before[output].reshape(-1), after[output].reshape(-1)
    expected = [*(p[k] for k in keep), 1 - sum(p[k] for k in keep)]
    if q.size != len(keep) + 1 or numpy.abs(q - expected).max() > TOLERANCE:
        raise Different(f"merged probabilities are {q}, expected {expected}")


def check_model(pare, path, folder, count):
    """One real network; words about how equal it is."""
    model = onnx.load(str(path))
    width, offset, options, outputs = classes_of(path, model)
    count = min(count, width - 1 if width > 2 else 2)
    keep = sorted(numpy.random.default_rng(count).choice(width, count, replace=False).tolist())
    target = folder / "reduced.onnx"
    reduce(pare, path, target, keep, options)
    onnx.checker.check_model(str(target), full_check=False)
    check_labels(target, keep)
    if offset:  # Logits, and what their scores are joined with.
        watched = [node.input[0] for node in model.graph.node if node.op_type == "Softmax"]
        joined = [node for node in model.graph.node if node.op_type == "Concat" and len(node.input) == 3]
        others = [name for node in joined[-len(outputs):] for name in node.input[:2]]
    else:
        watched = [logits_of(model, name) for name in outputs]
        others = [o.name for o in model.graph.output if o.name not in outputs]
    paths = [with_outputs(p, watched + others) for p in (path_copy(path, folder), target)]

    def expect(before):
        return {name: numpy.take(array, keep, axis=axis_of(array, width)) if name in watched else array
                for name, array in before.items()}
    words = compare(paths, watched + others, expect)
    probabilities = (len(outputs) == 1 and watched != outputs and "qdq" not in path.stem and count < width
                     and len(model.graph.output[0].type.tensor_type.shape.dim) == 2)
    if probabilities:
        check_merged(pare, path, folder, keep, outputs[0])
        words += ", merged probabilities too"
    return f"{width} to {count}: {words}"


def path_copy(path, folder):
    """The original in a folder that can be written to."""
    target = folder / path.name
    target.write_bytes(path.read_bytes())
    return target


def axis_of(array, extent):
    """The axis of that extent."""
    return list(array.shape).index(extent, 1)


def classes_of(path, model):
    """Number of classes, indices before them, options, and the outputs that hold them."""
    names = [output.name for output in model.graph.output]
    if path.stem in BESIDE:
        return 80, BESIDE[path.stem], [], names
    shape = lambda o: [d.dim_value for d in o.type.tensor_type.shape.dim]
    named = [o for o in model.graph.output if "box" not in o.name and o.name not in ("centerness", "bbox_ctrness")]
    if len(named) != 1:
        raise Different(f"which of {names} holds classes is not known")
    if "deeplab" in path.stem or "fcn_" in path.stem or "lraspp" in path.stem:
        return 21, 0, [], [named[0].name]
    return shape(named[0])[-1], 0, [], [named[0].name]


def check_head(pare, head, folder, count):
    """One built network."""
    path, target = folder / "head.onnx", folder / "reduced.onnx"
    onnx.save(head.model, str(path))
    width = CLASSES + head.keeps_first
    keep = sorted(numpy.random.default_rng(count).choice(range(head.keeps_first, width), count, replace=False).tolist())
    if head.keeps_first:
        keep = [0, *keep]
    reduce(pare, path, target, keep, head.options)
    onnx.checker.check_model(str(target))
    check_labels(target, keep, ["others"] * ("others: merge" in head.options))
    if head.remap:
        return check_selected(head, path, target, keep)
    names = list(head.outputs)
    expect = lambda before: {name: array if head.outputs[name] is None
                             else numpy.take(array, head.outputs[name][1](keep), axis=head.outputs[name][0])
                             for name, array in before.items()}
    return f"{width} to {count}: " + compare((path, target), names, expect)


def check_selected(head, path, target, keep):
    """A network that ends in NonMaxSuppression: what is selected of the kept classes is the same."""
    names = [output.name for output in head.model.graph.output]
    level = GraphOptimizationLevel.ORT_DISABLE_ALL
    before, feeds = run(path, names, level)
    after, _ = run(target, names, level, feeds)
    own = after["labels"] < len(keep)  # Others merged are one class more.
    expected = head.remap(before, keep)
    for name in names:
        if not numpy.allclose(after[name][own], expected[name], rtol=0, atol=TOLERANCE):
            raise Different(f"'{name}' is {after[name][own]}, expected {expected[name]}")
    return f"{CLASSES + 1} to {len(keep)}: the same {len(expected['labels'])} boxes"


def report(name, check):
    """Prints one line; True when it failed."""
    try:
        print(f"ok    {name}: {check()}", flush=True)
        return False
    except Different as difference:
        print(f"FAIL  {name}: {difference}", flush=True)
        return True


def main():
    """Exit code."""
    parser = parser_of(__doc__, "pare")
    parser.add_argument("models", nargs="*", type=pathlib.Path)
    parser.add_argument("--zoo", action="store_true")
    options = parser.parse_args()
    failed = count = 0
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)

        def each(paths):
            nonlocal failed, count
            for path in paths:
                if any(word in path.stem for word in NO_CLASSES):
                    continue
                count += 1
                for classes in (4, 10):
                    failed += report(f"{path.stem}", lambda: check_model(options.pare, path, scratch, classes))  # pylint: disable=cell-var-from-loop
        if not options.models:
            for head in all_heads():
                count += 1
                for classes in (4, 10):
                    failed += report(head.name, lambda: check_head(options.pare, head, scratch, classes))  # pylint: disable=cell-var-from-loop
        each(options.models or sorted((options.data / "models").glob("*/*.onnx")))
        if options.zoo:
            (scratch / "zoo").mkdir()
            each(filled_zoo(options.data, False, scratch / "zoo"))
    print(f"{count} networks, {failed} failures")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
