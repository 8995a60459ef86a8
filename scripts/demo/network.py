"""A small residual network with batch normalisation and its training, in numpy.

Activations are [batch, height, width, channels]; a layer has forward(x, training) and
backward(gradient), and keeps `parameters` with `gradients` of the same shapes.
"""

import numpy


class Conv:
    """Convolution without bias, zero padding of kernel // 2; weight [k, k, in, out]."""

    def __init__(self, random, channels_in, channels_out, kernel, stride):
        scale = numpy.sqrt(2 / (channels_out * kernel * kernel))
        shape = (kernel, kernel, channels_in, channels_out)
        self.kernel, self.stride = kernel, stride
        self.parameters = [random.normal(0, scale, shape).astype(numpy.float32)]
        self.gradients = [None]

    def forward(self, x, training):
        pad, k, s = self.kernel // 2, self.kernel, self.stride
        x = numpy.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
        windows = numpy.lib.stride_tricks.sliding_window_view(x, (k, k), (1, 2))[:, ::s, ::s]
        columns = windows.transpose(0, 1, 2, 4, 5, 3)  # [n, h, w, k, k, c]
        self.extent = columns.shape[:3]
        columns = columns.reshape(numpy.prod(self.extent), -1)
        if training:
            self.columns, self.padded = columns, x.shape
        weight = self.parameters[0]
        return (columns @ weight.reshape(-1, weight.shape[3])).reshape(*self.extent, -1)

    def backward(self, gradient):
        weight = self.parameters[0]
        flat = gradient.reshape(-1, weight.shape[3])
        self.gradients[0] = (self.columns.T @ flat).reshape(weight.shape)
        columns = (flat @ weight.reshape(-1, weight.shape[3]).T).reshape(
            *self.extent, self.kernel, self.kernel, weight.shape[2])
        pad, s = self.kernel // 2, self.stride
        result = numpy.zeros(self.padded, numpy.float32)
        height, width = self.extent[1] * s, self.extent[2] * s
        for i in range(self.kernel):
            for j in range(self.kernel):
                result[:, i:i + height:s, j:j + width:s] += columns[:, :, :, i, j]
        return result[:, pad:result.shape[1] - pad, pad:result.shape[2] - pad]


class BatchNorm:
    """Normalises each channel; keeps running mean and variance for inference."""

    epsilon = 1e-5

    def __init__(self, channels):
        self.parameters = [numpy.ones(channels, numpy.float32), numpy.zeros(channels, numpy.float32)]
        self.gradients = [None, None]
        self.mean = numpy.zeros(channels, numpy.float32)
        self.variance = numpy.ones(channels, numpy.float32)

    def forward(self, x, training):
        mean, variance = self.mean, self.variance
        if training:
            mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
            self.mean += 0.05 * (mean - self.mean)
            self.variance += 0.05 * (variance - self.variance)
        self.inverse = 1 / numpy.sqrt(variance + self.epsilon)
        self.normal = (x - mean) * self.inverse
        return self.normal * self.parameters[0] + self.parameters[1]

    def backward(self, gradient):
        self.gradients = [(gradient * self.normal).sum((0, 1, 2)), gradient.sum((0, 1, 2))]
        count = gradient.size // gradient.shape[3]
        inner = gradient - self.gradients[1] / count - self.normal * (self.gradients[0] / count)
        return inner * (self.inverse * self.parameters[0])


class Relu:
    parameters, gradients = (), ()

    def forward(self, x, training):
        self.positive = x > 0
        return x * self.positive

    def backward(self, gradient):
        return gradient * self.positive


class Chain:
    """Layers one after the other."""

    def __init__(self, *layers):
        self.layers = layers

    def forward(self, x, training):
        for layer in self.layers:
            x = layer.forward(x, training)
        return x

    def backward(self, gradient):
        for layer in reversed(self.layers):
            gradient = layer.backward(gradient)
        return gradient


class Block:
    """relu(bn(conv(relu(bn(conv(x))))) + shortcut(x)); the shortcut is x itself or bn(conv1x1(x))."""

    def __init__(self, random, channels_in, channels, stride):
        self.main = Chain(Conv(random, channels_in, channels, 3, stride), BatchNorm(channels), Relu(),
                          Conv(random, channels, channels, 3, 1), BatchNorm(channels))
        same = channels_in == channels and stride == 1
        self.shortcut = Chain() if same else Chain(
            Conv(random, channels_in, channels, 1, stride), BatchNorm(channels))
        self.relu = Relu()
        self.layers = (*self.main.layers, *self.shortcut.layers)

    def forward(self, x, training):
        return self.relu.forward(
            self.main.forward(x, training) + self.shortcut.forward(x, training), training)

    def backward(self, gradient):
        gradient = self.relu.backward(gradient)
        return self.main.backward(gradient) + self.shortcut.backward(gradient)


class Head:
    """Mean over space, then a linear layer: weight [channels, classes], bias [classes]."""

    def __init__(self, random, channels, classes):
        weight = random.normal(0, 1 / numpy.sqrt(channels), (channels, classes))
        self.parameters = [weight.astype(numpy.float32), numpy.zeros(classes, numpy.float32)]
        self.gradients = [None, None]

    def forward(self, x, training):
        self.extent, self.pooled = x.shape, x.mean((1, 2))
        return self.pooled @ self.parameters[0] + self.parameters[1]

    def backward(self, gradient):
        self.gradients = [self.pooled.T @ gradient, gradient.sum(0)]
        spread = (gradient @ self.parameters[0].T) / (self.extent[1] * self.extent[2])
        return numpy.broadcast_to(spread[:, None, None], self.extent)


class Network:
    """Stem, three residual blocks of 16, 32 and 64 channels, head."""

    def __init__(self, seed, classes):
        random = numpy.random.default_rng(seed)
        self.stem = Chain(Conv(random, 1, 16, 3, 1), BatchNorm(16), Relu())
        self.blocks = [Block(random, 16, 16, 1), Block(random, 16, 32, 2), Block(random, 32, 64, 2)]
        self.head = Head(random, 64, classes)
        self.body = Chain(self.stem, *self.blocks, self.head)

    def layers(self):
        """Every layer that has parameters."""
        nested = [*self.stem.layers, *(x for block in self.blocks for x in block.layers), self.head]
        return [layer for layer in nested if layer.parameters]

    def predict(self, x, batch=250):
        """Scores [n, classes] of float pictures [n, h, w, 1]."""
        parts = [self.body.forward(x[i:i + batch], False) for i in range(0, len(x), batch)]
        return numpy.concatenate(parts)


def loss_gradient(scores, labels):
    """Gradient of the mean cross entropy with respect to the scores."""
    exponents = numpy.exp(scores - scores.max(1, keepdims=True))
    gradient = exponents / exponents.sum(1, keepdims=True)
    gradient[numpy.arange(len(labels)), labels] -= 1
    return (gradient / len(labels)).astype(numpy.float32)


def train(network, x, labels, seed, epochs, batch=100, peak_rate=0.1, momentum=0.9, decay=5e-4,
          after_epoch=lambda epoch: None):
    """Stochastic gradient descent with momentum and a rate that falls as a cosine."""
    random = numpy.random.default_rng(seed)
    velocities = [[numpy.zeros_like(p) for p in layer.parameters] for layer in network.layers()]
    steps = len(x) // batch
    for epoch in range(epochs):
        order = random.permutation(len(x))
        for step in range(steps):
            chosen = order[step * batch:(step + 1) * batch]
            scores = network.body.forward(x[chosen], True)
            network.body.backward(loss_gradient(scores, labels[chosen]))
            progress = (epoch + step / steps) / epochs
            rate = peak_rate * 0.5 * (1 + numpy.cos(numpy.pi * progress))
            for layer, velocity in zip(network.layers(), velocities):
                for p, g, v in zip(layer.parameters, layer.gradients, velocity):
                    v *= momentum
                    v += g + (decay * p if p.ndim > 1 else 0)
                    p -= numpy.float32(rate) * v
        after_epoch(epoch)
