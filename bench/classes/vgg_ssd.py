#!/usr/bin/env python3
"""Builds a VGG-SSD for 480x360 images and 21 classes, keeps four classes and prunes it to 17 GOP.

    bench/classes/vgg_ssd.py [--pare build/release/cli/pare] [--model OUT.onnx]

Liu et al., "SSD: Single Shot MultiBox Detector", 2016: VGG-16 with fc6 and fc7 as convolutions, four extra
stages, heads of 4, 6, 6, 6, 4, 4 anchors, Softmax scores [1, B, 21] with a background first and boxes
[1, B, 4]. Weights are random (He et al., 2015, with a fixed seed), so only work and power mean anything here:
channels go by the size of their filters, without calibration. Writes VGG_SSD.md. Needs numpy and onnx.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESULTS = pathlib.Path(__file__).parent / "VGG_SSD.md"
CLASSES, HEIGHT, WIDTH = 21, 360, 480
KEEP = (6, 7, 14, 15)  # bus, car, motorbike, person of Pascal VOC
TARGET_GOP = 17
STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
EXTRAS = ((256, 512, 2, 1), (128, 256, 2, 1), (128, 256, 1, 0), (128, 256, 1, 0))
ANCHORS = (4, 6, 6, 6, 4, 4)


class Builder:
    """Collects nodes and seeded weights."""

    def __init__(self):
        self.random = numpy.random.default_rng(20160916)
        self.nodes, self.constants = [], []

    def node(self, op, *inputs, **attributes):
        name = f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def constant(self, name, array):
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def conv(self, x, channels, kernel=3, stride=1, pad=1, dilation=1, relu=True):
        """x is (name, channels); a convolution with bias, and a Relu."""
        name, inputs = x
        scale = (2 / (inputs * kernel * kernel)) ** 0.5
        index = len(self.nodes)
        weight = (self.random.standard_normal((channels, inputs, kernel, kernel)) * scale).astype("f")
        y = self.node("Conv", name, self.constant(f"w{index}", weight),
                      self.constant(f"b{index}", numpy.zeros(channels, "f")), kernel_shape=[kernel] * 2,
                      strides=[stride] * 2, pads=[pad] * 4, dilations=[dilation] * 2)
        return (self.node("Relu", y) if relu else y, channels)

    def head(self, x, anchors, width):
        """[1, anchors * width, H, W] as [1, boxes, width]."""
        y, _ = self.conv(x, anchors * width, relu=False)
        y = self.node("Transpose", y, perm=[0, 2, 3, 1])
        shape = self.constant(f"shape{len(self.nodes)}", numpy.array([1, -1, width]))
        return self.node("Reshape", y, shape)


def build(path):
    """Writes the network."""
    net = Builder()
    x, maps = ("image", 3), []
    for stage, widths in enumerate(STAGES):
        for channels in widths:
            x = net.conv(x, channels)
        if stage == 3:
            scale = net.constant("l2_scale", numpy.full((1, x[1], 1, 1), 20, "f"))
            norm = net.node("LpNormalization", x[0], axis=1, p=2)
            maps.append((net.node("Mul", norm, scale), x[1]))
        last = stage == len(STAGES) - 1
        x = (net.node("MaxPool", x[0], kernel_shape=[3, 3] if last else [2, 2], strides=[1, 1] if last else [2, 2],
                      pads=[1] * 4 if last else [0] * 4, ceil_mode=1), x[1])
    x = net.conv(net.conv(x, 1024, pad=6, dilation=6), 1024, kernel=1, pad=0)
    maps.append(x)
    for narrow, wide, stride, pad in EXTRAS:
        x = net.conv(net.conv(x, narrow, kernel=1, pad=0), wide, stride=stride, pad=pad)
        maps.append(x)
    scores = [net.head(x, anchors, CLASSES) for x, anchors in zip(maps, ANCHORS)]
    boxes = [net.head(x, anchors, 4) for x, anchors in zip(maps, ANCHORS)]
    net.nodes.append(helper.make_node("Softmax", [net.node("Concat", *scores, axis=1)], ["scores"], axis=2))
    net.nodes.append(helper.make_node("Concat", boxes, ["boxes"], axis=1))
    graph = helper.make_graph(
        net.nodes, "vgg_ssd", [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, None, CLASSES]),
         helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, None, 4])], net.constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))


def optimize(pare, path, scratch, convention):
    """The ledger as printed."""
    text = subprocess.run(
        [pare, "optimize", path, "-o", scratch / "small.onnx", "-q", "--keep-classes", ",".join(map(str, KEEP)),
         "--background", "0", "--pass", f"prune-channels: {{macs: {TARGET_GOP / 2}G, method: l2}}", "--fps", "30",
         "--convention", convention, "--report", scratch / "report.json"],
        check=True, capture_output=True, text=True).stdout
    return text.split("\n\n")[0], json.loads((scratch / "report.json").read_text())


def main():
    """Writes VGG_SSD.md."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--pare", default=ROOT / "build/release/cli/pare", type=pathlib.Path)
    parser.add_argument("--model", type=pathlib.Path, help="keep the network that was built here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = pathlib.Path(folder)
        path = options.model or scratch / "vgg_ssd.onnx"
        build(path)
        sections = []
        for convention, words in (("mac", "arithmetic and memory"), ("article", "4.4 pJ an operation, no memory")):
            ledger, report = optimize(options.pare, path, scratch, convention)
            sections.append(f"Convention `{convention}` ({words}):\n\n```\n{ledger}\n```\n")
        before, after = (2 * report[key]["macs"] / 1e9 for key in ("totals_before", "totals_after"))
        RESULTS.write_text(
            "# VGG-SSD, 21 classes to 4\n\nWritten by `bench/classes/vgg_ssd.py`: VGG-16 SSD at 480 x 360, "
            f"{before:.1f} GOP, keeps four of 20 classes and the background,\nthen loses channels down to "
            f"{after:.1f} GOP; power at 30 images a second. Weights are random: work and power are what "
            "they would be, accuracy is not shown.\n\n" + "\n".join(sections))
        print(RESULTS.read_text())


if __name__ == "__main__":
    main()
