#!/usr/bin/env python3
"""Makes what ./demo works on: a trained classifier and pictures for it, all from seeds.

    make_demo.py [OUTPUT]          (default examples/demo; needs numpy and onnx; about 20 minutes)

Writes demo_cnn.onnx (residual network with BatchNormalization un-folded, opset 13, batch "N"),
calib_x.npy (256 unlabelled pictures), test_x.npy and test_y.npy (1000 pictures and classes). The
pictures are the same bytes everywhere; the weights differ in the last digits between machines,
because matrix products round differently.

The network takes (pixel / 255 - MEAN) / STD.
"""

import pathlib
import sys
import time

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

import network as net
import shapes

MEAN, STD = 0.5, 0.25
TRAIN_COUNT, EPOCHS = 10000, 14


def prepared(pixels):
    """What the network takes, as [n, h, w, c]."""
    x = (pixels.astype(numpy.float32) / 255 - MEAN) / STD
    return numpy.ascontiguousarray(x.transpose(0, 2, 3, 1)).astype(numpy.float32)


class Exporter:
    """Collects the nodes and initializers of an ONNX graph."""

    def __init__(self):
        self.nodes, self.initializers = [], []

    def weight(self, name, array):
        array = numpy.ascontiguousarray(array, numpy.float32)
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def node(self, op, inputs, name, **attributes):
        output = f"{name}_out"
        self.nodes.append(helper.make_node(op, inputs, [output], name=name, **attributes))
        return output

    def conv_norm(self, x, conv, norm, name):
        """Conv and BatchNormalization, as training left them."""
        k, s = conv.kernel, conv.stride
        weight = self.weight(f"{name}.weight", conv.parameters[0].transpose(3, 2, 0, 1))
        y = self.node("Conv", [x, weight], f"{name}.conv", kernel_shape=[k, k], strides=[s, s],
                      pads=[k // 2] * 4)
        parts = {"scale": norm.parameters[0], "bias": norm.parameters[1], "mean": norm.mean,
                 "var": norm.variance}
        operands = [self.weight(f"{name}.bn.{part}", array) for part, array in parts.items()]
        return self.node("BatchNormalization", [y, *operands], f"{name}.bn", epsilon=norm.epsilon)

    def block(self, x, block, name):
        first_conv, first_norm, _, second_conv, second_norm = block.main.layers
        y = self.node("Relu", [self.conv_norm(x, first_conv, first_norm, f"{name}.a")],
                      f"{name}.a.relu")
        y = self.conv_norm(y, second_conv, second_norm, f"{name}.b")
        if block.shortcut.layers:
            x = self.conv_norm(x, *block.shortcut.layers, f"{name}.shortcut")
        return self.node("Relu", [self.node("Add", [y, x], f"{name}.add")], f"{name}.relu")


def export(network, path):
    """Writes the trained network as ONNX."""
    graph = Exporter()
    conv, norm, _ = network.stem.layers
    y = graph.node("Relu", [graph.conv_norm("image", conv, norm, "stem")], "stem.relu")
    for i, block in enumerate(network.blocks):
        y = graph.block(y, block, f"block{i + 1}")
    y = graph.node("Flatten", [graph.node("GlobalAveragePool", [y], "pool")], "flatten")
    weight, bias = network.head.parameters
    graph.nodes.append(helper.make_node(
        "Gemm", [y, graph.weight("head.weight", weight.T), graph.weight("head.bias", bias)],
        ["scores"], name="head", transB=1))
    size = shapes.SIZE
    model = helper.make_model(
        helper.make_graph(
            graph.nodes, "demo_cnn",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, size, size])],
            [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", len(shapes.CLASSES)])],
            graph.initializers),
        producer_name="make_demo.py", ir_version=8,
        opset_imports=[helper.make_opsetid("", 13)])
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    output = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else root / "examples" / "demo"
    output.mkdir(parents=True, exist_ok=True)
    train_x, train_y = shapes.make_images(1, TRAIN_COUNT)
    calib_x, _ = shapes.make_images(2, 256)
    test_x, test_y = shapes.make_images(3, 1000)
    network, start = net.Network(4, len(shapes.CLASSES)), time.monotonic()

    def report(epoch):
        right = (network.predict(prepared(test_x)).argmax(1) == test_y).mean()
        print(f"epoch {epoch + 1}/{EPOCHS}: {right:.1%} right on the test pictures, "
              f"{time.monotonic() - start:.0f} s", flush=True)

    net.train(network, prepared(train_x), train_y, 5, EPOCHS, after_epoch=report)
    export(network, output / "demo_cnn.onnx")
    for name, array in (("calib_x", calib_x), ("test_x", test_x), ("test_y", test_y)):
        numpy.save(output / f"{name}.npy", array)
    print(f"wrote {output}")


if __name__ == "__main__":
    main()
