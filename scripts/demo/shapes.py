"""Grey 32x32 pictures of ten kinds of drawn shapes, from a seed.

Each picture is a shape with random place, size, turn and contrast over an uneven background, with
clutter lines and sensor noise. Hard enough that a small network gets most, not all, of them right.
"""

import numpy

CLASSES = ("disc", "ring", "triangle", "square", "corner", "star", "cross", "crescent", "bar",
           "pair")
SIZE = 32


def polygon(x, y, corners):
    """Signed distance (negative inside) of a regular polygon with circumradius 1."""
    sector = 2 * numpy.pi / corners
    angle = numpy.mod(numpy.arctan2(y, x), sector) - sector / 2
    return numpy.hypot(x, y) * numpy.cos(angle) - numpy.cos(sector / 2)


def star(x, y):
    """Five points; the radius swings between 0.45 and 1.1 with the angle."""
    swing = numpy.abs(numpy.mod(numpy.arctan2(y, x) * 5 / (2 * numpy.pi), 1) * 2 - 1)
    return numpy.hypot(x, y) - (0.45 + 0.65 * swing)


def box(x, y, half_width, half_height):
    """Signed distance of an upright rectangle."""
    return numpy.maximum(numpy.abs(x) - half_width, numpy.abs(y) - half_height)


def disc(x, y, radius):
    """Signed distance of a disc at the origin."""
    return numpy.hypot(x, y) - radius


SHAPES = (
    lambda x, y: disc(x, y, 0.85),
    lambda x, y: numpy.abs(disc(x, y, 0.75)) - 0.22,
    lambda x, y: polygon(x, y, 3),
    lambda x, y: polygon(x, y, 4),
    lambda x, y: numpy.minimum(box(x + 0.55, y, 0.3, 0.85), box(x, y + 0.55, 0.85, 0.3)),
    star,
    lambda x, y: numpy.minimum(box(x, y, 0.95, 0.28), box(x, y, 0.28, 0.95)),
    lambda x, y: numpy.maximum(disc(x, y, 0.9), -disc(x - 0.5, y, 0.75)),
    lambda x, y: box(x, y, 1.0, 0.3),
    lambda x, y: numpy.minimum(disc(x - 0.6, y, 0.42), disc(x + 0.6, y, 0.42)),
)


def background(random, count):
    """Slow waves of brightness, one picture each: [count, SIZE, SIZE]."""
    y, x = numpy.mgrid[0:SIZE, 0:SIZE] / SIZE
    total = numpy.zeros((count, SIZE, SIZE))
    for _ in range(3):
        fx, fy = random.uniform(-2, 2, (2, count, 1, 1))
        phase = random.uniform(0, 2 * numpy.pi, (count, 1, 1))
        total += random.uniform(0, 0.12, (count, 1, 1)) * numpy.sin(
            2 * numpy.pi * (fx * x + fy * y) + phase)
    return total


def clutter(random, count):
    """Two thin lines across each picture, brighter or darker than what they cross."""
    y, x = numpy.mgrid[0:SIZE, 0:SIZE] - (SIZE - 1) / 2
    total = numpy.zeros((count, SIZE, SIZE))
    for _ in range(2):
        turn = random.uniform(0, numpy.pi, (count, 1, 1))
        offset = random.uniform(-SIZE / 2, SIZE / 2, (count, 1, 1))
        distance = numpy.abs(x * numpy.cos(turn) + y * numpy.sin(turn) - offset)
        total += random.uniform(-0.35, 0.35, (count, 1, 1)) * (distance < 0.7)
    return total


def make_images(seed, count, noise=0.08):
    """`count` pictures, uint8 [count, 1, SIZE, SIZE], and their classes, uint8 [count]."""
    random = numpy.random.default_rng(seed)
    labels = random.permutation(numpy.arange(count) % len(CLASSES)).astype(numpy.uint8)
    y, x = numpy.mgrid[0:SIZE, 0:SIZE] - (SIZE - 1) / 2
    radius = random.uniform(6.5, 12.5, (count, 1, 1))
    centre_x, centre_y = random.uniform(-1, 1, (2, count, 1, 1)) * (SIZE / 2 - radius - 0.5)
    turn = random.uniform(0, 2 * numpy.pi, (count, 1, 1))
    dx, dy = (x - centre_x) / radius, (y - centre_y) / radius
    u = dx * numpy.cos(turn) + dy * numpy.sin(turn)
    v = dy * numpy.cos(turn) - dx * numpy.sin(turn)
    inside = numpy.empty((count, SIZE, SIZE))
    for kind, shape in enumerate(SHAPES):
        of_kind = labels == kind
        distance = shape(u[of_kind], v[of_kind]) * radius[of_kind]  # Pixels.
        inside[of_kind] = numpy.clip(0.5 - distance, 0, 1)
    contrast = random.uniform(0.28, 0.65, (count, 1, 1)) * random.choice([-1, 1], (count, 1, 1))
    picture = 0.5 - contrast / 2 + contrast * inside
    picture += background(random, count) + clutter(random, count)
    picture += random.normal(0, noise, picture.shape)
    pixels = numpy.clip(numpy.round(picture * 255), 0, 255).astype(numpy.uint8)
    return pixels[:, None], labels
