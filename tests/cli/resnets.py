"""Residual networks at their real depth and width, with made-up weights: reports of their size.

resnet50() takes [N, 3, 64, 64], resnet56() [N, 3, 32, 32]; BatchNormalization is not folded.
"""

import math
import random
import struct

import tiny_onnx as tiny

BLOCK = 1 << 12  # Different weights before they repeat.


class Network:
    def __init__(self):
        self.nodes, self.weights = [], []
        self.random = random.Random(1)

    def weight(self, name, dims, fan_in):
        count, deviation = math.prod(dims), math.sqrt(2 / fan_in)
        block = [self.random.gauss(0, deviation) for _ in range(min(count, BLOCK))]
        data = struct.pack(f"<{len(block)}f", *block)
        data = (data * (count // len(block) + 1))[:4 * count]
        body = b"".join(tiny.field(1, dim) for dim in dims)
        self.weights.append(body + tiny.field(2, tiny.FLOAT) + tiny.field(8, name) +
                            tiny.field(9, data))
        return name

    def node(self, op, inputs, name, **ints):
        body = tiny.node(op, inputs, [name + "_out"], name)
        for key, value in ints.items():
            many = isinstance(value, list)
            numbers = b"".join(tiny.field(8, x) for x in value) if many else tiny.field(3, value)
            body += tiny.field(5, tiny.field(1, key) + numbers + tiny.field(20, 7 if many else 2))
        self.nodes.append(body)
        return name + "_out"

    def conv(self, x, channels, outputs, kernel, stride, name):
        """Convolution and norm."""
        pad = kernel // 2
        w = self.weight(name + ".w", [outputs, channels, kernel, kernel], channels * kernel * kernel)
        y = self.node("Conv", [x, w], name, kernel_shape=[kernel, kernel], strides=[stride, stride],
                      pads=[pad] * 4)
        # Scales near one, means near zero, variances positive.
        parts = [tiny.tensor(f"{name}.{part}", [outputs], [value] * outputs)
                 for part, value in (("s", 0.9), ("b", 0.01), ("m", 0.02), ("v", 1.1))]
        self.weights += parts
        return self.node("BatchNormalization", [y] + [f"{name}.{p}" for p in "sbmv"], name + "_bn")

    def relu(self, x, name):
        return self.node("Relu", [x], name + "_relu")

    def block(self, x, channels, widths, kernels, stride, name):
        """Convolutions in a row beside a shortcut; returns the sum and its channels."""
        y, inner = x, channels
        for i, (width, kernel) in enumerate(zip(widths, kernels)):
            y = self.conv(y, inner, width, kernel, stride if kernel == 3 and i < 2 else 1,
                          f"{name}.conv{i}")
            stride = 1 if kernel == 3 else stride
            inner = width
            if i + 1 < len(widths):
                y = self.relu(y, f"{name}.{i}")
        return y, inner

    def model(self, x, channels, classes, size):
        pooled = self.node("Flatten", [self.node("GlobalAveragePool", [x], "pool")], "flat")
        w = self.weight("fc.w", [channels, classes], channels)
        self.node("MatMul", [pooled, w], "fc")
        return tiny.model(self.nodes, [tiny.value_info("x", ["N", 3, size, size])],
                          [tiny.value_info("fc_out", ["N", classes])], self.weights)


def residual(net, x, channels, stages, kernels, expansion):
    """Stages of (width, blocks, stride)."""
    for s, (width, blocks, first) in enumerate(stages):
        for b in range(blocks):
            name, stride = f"layer{s + 1}.{b}", first if b == 0 else 1
            widths = [width] * (len(kernels) - 1) + [width * expansion]
            y, outputs = net.block(x, channels, widths, kernels, stride, name)
            if stride > 1 or outputs != channels:
                x = net.conv(x, channels, outputs, 1, stride, name + ".down")
            x = net.relu(net.node("Add", [y, x], name + ".add"), name)
            channels = outputs
    return x, channels


def resnet50():
    net = Network()
    x = net.relu(net.conv("x", 3, 64, 7, 2, "stem"), "stem")
    x = net.node("MaxPool", [x], "maxpool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    stages = [(64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)]
    return net.model(*residual(net, x, 64, stages, [1, 3, 1], 4), 1000, 64)


def resnet56():
    net = Network()
    x = net.relu(net.conv("x", 3, 16, 3, 1, "stem"), "stem")
    stages = [(16, 9, 1), (32, 9, 2), (64, 9, 2)]
    return net.model(*residual(net, x, 16, stages, [3, 3], 1), 10, 32)
