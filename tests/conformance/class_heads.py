"""Small networks with the heads that classes come in, for classes.py.

Each is a Head: the model, what reduce-classes is told beside what to keep, and for every output either None
(it must not change) or (axis, indices of the original that must be left, given the kept classes).
"""

import dataclasses
import typing

import numpy
from onnx import TensorProto, helper, numpy_helper

CLASSES = 20


@dataclasses.dataclass
class Head:
    """One network and what must be left of its outputs."""
    name: str
    model: object
    outputs: dict
    options: list = dataclasses.field(default_factory=list)
    keeps_first: bool = False  # Class 0 stays, a background.
    remap: typing.Callable = None  # Of the original's outputs, where a gather is not what to expect.


class Network:
    """Builds one network of seeded weights."""

    def __init__(self, seed, opset=13):
        self.random = numpy.random.default_rng(seed)
        self.nodes, self.constants, self.opset, self.count = [], [], opset, 0

    def constant(self, array, name=None):
        self.count += 1
        name = name or f"c{self.count}"
        self.constants.append(numpy_helper.from_array(numpy.asarray(array), name))
        return name

    def node(self, op, *inputs, name=None, outputs=1, **attributes):
        self.count += 1
        names = [name or f"v{self.count}"] if outputs == 1 else [f"v{self.count}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, name=f"n{self.count}", **attributes))
        return names[0] if outputs == 1 else names

    def conv(self, x, inputs, outputs, stride=1, weights=None, name=None):
        """A 3x3 convolution; `weights` shares those of another level."""
        if weights is None:
            weights = self.weights(inputs, outputs)
        return self.node("Conv", x, *weights, kernel_shape=[3, 3], pads=[1] * 4, strides=[stride] * 2, name=name)

    def weights(self, inputs, outputs):
        scale = (9 * inputs) ** -0.5
        return (self.constant((self.random.standard_normal((outputs, inputs, 3, 3)) * scale).astype("f")),
                self.constant(self.random.standard_normal(outputs).astype("f")))

    def features(self, levels=1):
        """Feature maps of 16, 8, 4 ... a side with 24 channels."""
        x, maps = "image", []
        for level in range(levels):
            x = self.node("Relu", self.conv(x, 24 if level else 3, 24, stride=2))
            maps.append(x)
        return maps

    def reshape(self, x, *shape):
        return self.node("Reshape", x, self.constant(numpy.array(shape, numpy.int64)))

    def model(self, outputs):
        """The checked model; `outputs` are (name, element type, rank)."""
        graph = helper.make_graph(
            self.nodes, "head", [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 32, 32])],
            [helper.make_tensor_value_info(name, kind, [None] * rank if shape is None else shape)
             for name, kind, rank, shape in outputs], self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)


def floats(name, rank, shape=None):
    return (name, TensorProto.FLOAT, rank, shape)


def integers(name, rank):
    return (name, TensorProto.INT64, rank, None)


def anchored(net, x, anchors, width, weights=None):
    """[N, anchors * width, H, W] to [N, boxes, width]."""
    y = net.conv(x, 24, anchors * width, weights=weights)
    y = net.reshape(y, 1, anchors, width, -1)
    return net.reshape(net.node("Transpose", y, perm=[0, 3, 1, 2]), 1, -1, width)


def ssd(seed, ending="Softmax"):
    """SSD: boxes and scores [N, boxes, C] over three levels, a background first."""
    net = Network(seed)
    maps = net.features(3)
    scores = net.node("Concat", *(anchored(net, x, a, CLASSES + 1) for x, a in zip(maps, (4, 6, 6))), axis=1,
                      name=None if ending else "scores")
    boxes = net.node("Concat", *(anchored(net, x, a, 4) for x, a in zip(maps, (4, 6, 6))), axis=1, name="boxes")
    return net, boxes, net.node(ending, scores, name="scores", **({"axis": 2} if ending == "Softmax" else {})) if ending else scores


def ssd_flat():
    """The same, with anchors and places joined in one Reshape: permute(0, 2, 3, 1).view(N, -1, C)."""
    net = Network(11)

    def flat(x, width):
        y = net.node("Transpose", net.conv(x, 24, 6 * width), perm=[0, 2, 3, 1])
        return net.reshape(y, 1, -1, width)
    maps = net.features(3)
    net.node("Concat", *(flat(x, CLASSES + 1) for x in maps), axis=1, name="scores")
    net.node("Concat", *(flat(x, 4) for x in maps), axis=1, name="boxes")
    return Head("ssd, joined at once", net.model([floats("boxes", 3), floats("scores", 3)]),
                {"boxes": None, "scores": (2, lambda keep: keep)}, keeps_first=True)


def ssd_raw():
    net, _, _ = ssd(1, ending=None)
    return Head("ssd", net.model([floats("boxes", 3), floats("scores", 3)]),
                {"boxes": None, "scores": (2, lambda keep: keep)}, keeps_first=True)


def decoded(net, boxes, count):
    """Centres and sizes to corners (y, x, y, x), against priors."""
    priors = net.constant(net.random.uniform(0.2, 0.8, (1, count, 4)).astype("f"))
    xy, wh = net.node("Split", net.node("Mul", boxes, net.constant(numpy.float32(0.1))),
                      axis=2, outputs=2)
    pxy, pwh = net.node("Split", priors, axis=2, outputs=2)
    centre = net.node("Add", net.node("Mul", xy, pwh), pxy)
    half = net.node("Mul", net.node("Mul", net.node("Exp", wh), pwh), net.constant(numpy.float32(0.5)))
    return net.node("Concat", net.node("Sub", centre, half), net.node("Add", centre, half), axis=2, name="corners")


def ssd_with_nms(ending):
    """SSD with box decode and NonMaxSuppression: boxes, labels and scores of what is selected. Scores of a
    Softmax stay what they were only with the others merged."""
    net, boxes, scores = ssd(2, ending)
    corners = decoded(net, boxes, 4 * 256 + 6 * 64 + 6 * 16)
    by_class = net.node("Transpose", scores, perm=[0, 2, 1])
    number = lambda value: net.constant(numpy.array([value]))
    selected = net.node("NonMaxSuppression", corners, by_class, number(numpy.int64(20)),
                        number(numpy.float32(0.45)), number(numpy.float32(0.12 if ending == "Softmax" else 0.7)), name="selected")
    column = lambda i: net.node("Gather", selected, net.constant(numpy.int64(i)), axis=1)
    net.node("Identity", column(1), name="labels")
    net.node("Gather", net.node("Squeeze", corners, net.constant(numpy.array([0]))), column(2), axis=0, name="found")
    net.node("GatherND", by_class, selected, name="confidence")

    def remap(outputs, keep):
        rows = numpy.isin(outputs["labels"], keep)
        new = {name: outputs[name][rows] for name in outputs}
        new["labels"] = numpy.searchsorted(keep, new["labels"])
        new["selected"] = new["selected"].copy()
        new["selected"][:, 1] = new["labels"]
        return new
    model = net.model([integers("selected", 2), integers("labels", 1), floats("found", 2), floats("confidence", 1)])
    return Head(f"ssd with NMS, {ending}", model, {}, keeps_first=True, remap=remap,
                options=["background: 0"] + ["others: merge"] * (ending == "Softmax"))


def yolo_raw():
    """Three anchors of 5 + C in one convolution, two levels."""
    net = Network(3)
    for i, x in enumerate(net.features(2)):
        net.conv(x, 24, 3 * (5 + CLASSES), name=f"level{i}")
    rows = lambda keep: [a * (5 + CLASSES) + i for a in range(3) for i in [*range(5), *(5 + k for k in keep)]]
    return Head("yolo, anchors", net.model([floats(f"level{i}", 4) for i in range(2)]),
                {"level0": (1, rows), "level1": (1, rows)}, options=[f"classes: {CLASSES}"])


def yolo_decoded():
    """YOLOv5 as exported: [1, boxes, 5 + C], decoded by a grid."""
    net = Network(4)
    levels = []
    for side, x in zip((16, 8), net.features(2)):
        y = net.reshape(net.conv(x, 24, 3 * (5 + CLASSES)), 1, 3, 5 + CLASSES, side, side)
        y = net.node("Sigmoid", net.node("Transpose", y, perm=[0, 1, 3, 4, 2]))
        xy, wh, rest = net.node("Split", y, net.constant(numpy.array([2, 2, 1 + CLASSES])), axis=4, outputs=3)
        grid = net.constant(net.random.uniform(0, 8, (1, 3, side, side, 2)).astype("f"))
        y = net.node("Concat", net.node("Add", xy, grid), net.node("Mul", wh, grid), rest, axis=4)
        levels.append(net.reshape(y, 1, -1, 5 + CLASSES))
    net.node("Concat", *levels, axis=1, name="output")
    return Head("yolo v5, decoded", net.model([floats("output", 3)]),
                {"output": (2, lambda keep: [*range(5), *(5 + k for k in keep)])}, options=[f"classes: {CLASSES}"])


def yolo_v8():
    """Decoupled, no objectness: [1, 4 + C, boxes]."""
    net = Network(5)
    levels = []
    for x in net.features(2):
        both = net.node("Concat", net.conv(x, 24, 4), net.conv(x, 24, CLASSES), axis=1)
        levels.append(net.reshape(both, 1, 4 + CLASSES, -1))
    boxes, classes = net.node("Split", net.node("Concat", *levels, axis=2),
                              net.constant(numpy.array([4, CLASSES])), axis=1, outputs=2)
    net.node("Concat", net.node("Mul", boxes, net.constant(numpy.float32(8))), net.node("Sigmoid", classes), axis=1,
             name="output0")
    return Head("yolo v8", net.model([floats("output0", 3)]),
                {"output0": (1, lambda keep: [*range(4), *(4 + k for k in keep)])})


def yolox():
    """Decoupled, with objectness, two levels: [1, boxes, 4 + 1 + C]."""
    net = Network(6)
    levels = []
    for x in net.features(2):
        parts = (net.conv(x, 24, 4), net.node("Sigmoid", net.conv(x, 24, 1)), net.node("Sigmoid", net.conv(x, 24, CLASSES)))
        levels.append(net.reshape(net.node("Concat", *parts, axis=1), 1, 5 + CLASSES, -1))
    net.node("Transpose", net.node("Concat", *levels, axis=2), perm=[0, 2, 1], name="output")
    return Head("yolox", net.model([floats("output", 3, [1, 320, 5 + CLASSES])]),
                {"output": (2, lambda keep: [*range(5), *(5 + k for k in keep)])}, options=[f"classes: {CLASSES}"])


def retina(levels_apart):
    """A head shared by the levels, sigmoid scores; joined, or an output each."""
    net = Network(7)
    maps = net.features(3)
    scores, boxes = net.weights(24, 9 * CLASSES), net.weights(24, 9 * 4)
    if levels_apart:
        for i, x in enumerate(maps):
            net.conv(x, 24, 9 * CLASSES, weights=scores, name=f"cls{i}")
            net.conv(x, 24, 9 * 4, weights=boxes, name=f"box{i}")
        rows = lambda keep: [a * CLASSES + k for a in range(9) for k in keep]
        return Head("retinanet, levels apart", net.model([floats(f"{n}{i}", 4) for i in range(3) for n in ("cls", "box")]),
                    {f"cls{i}": (1, rows) for i in range(3)} | {f"box{i}": None for i in range(3)},
                    options=[f"classes: {CLASSES}"])
    joined = lambda weights, width: net.node("Concat", *(anchored(net, x, 9, width, weights) for x in maps), axis=1)
    net.node("Sigmoid", joined(scores, CLASSES), name="scores")
    net.node("Identity", joined(boxes, 4), name="boxes")
    return Head("retinanet", net.model([floats("scores", 3), floats("boxes", 3)]),
                {"scores": (2, lambda keep: keep), "boxes": None})


def fcos():
    """Scores, boxes and centerness per place."""
    net = Network(8)
    maps = net.features(2)
    for name, width in (("scores", CLASSES), ("boxes", 4), ("centerness", 1)):
        weights = net.weights(24, width)
        net.node("Concat", *(anchored(net, x, 1, width, weights) for x in maps), axis=1, name=name)
    return Head("fcos", net.model([floats(name, 3) for name in ("scores", "boxes", "centerness")]),
                {"scores": (2, lambda keep: keep), "boxes": None, "centerness": None})


def classifier(kind):
    """Pooled features, a head, and what stands behind it."""
    net = Network(9)
    pooled = net.node("Flatten", net.node("GlobalAveragePool", net.features(1)[0]))
    weight = net.random.standard_normal((24, CLASSES)).astype("f")
    bias = net.constant(net.random.standard_normal(CLASSES).astype("f"))
    if kind == "matmul":
        net.node("Add", net.node("MatMul", pooled, net.constant(weight)), bias, name="logits")
    else:
        net.node("Gemm", pooled, net.constant(weight), bias, name="logits")
    outputs, expected = [floats("logits", 2)], {"logits": (1, lambda keep: keep)}
    if kind == "sigmoid":
        net.node("Sigmoid", "logits", name="p")
        outputs.append(floats("p", 2))
        expected["p"] = (1, lambda keep: keep)
    return Head(f"classifier, {kind}", net.model(outputs), expected)


def segmentation():
    """Logits in quarter size, scaled up, ArgMax besides."""
    net = Network(10)
    logits = net.conv(net.features(1)[0], 24, CLASSES)
    net.node("Resize", logits, "", net.constant(numpy.array([1, 1, 2, 2], numpy.float32)), mode="linear", name="logits")
    return Head("segmentation", net.model([floats("logits", 4)]), {"logits": (1, lambda keep: keep)})


def all_heads():
    """Every head, built."""
    return [classifier("gemm"), classifier("matmul"), classifier("sigmoid"), segmentation(), ssd_raw(), ssd_flat(), ssd_with_nms("Sigmoid"), ssd_with_nms("Softmax"),
            yolo_raw(), yolo_decoded(), yolo_v8(), yolox(), retina(False), retina(True), fcos()]
