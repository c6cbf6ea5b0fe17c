"""The kernels of DCNv3 in Triton, softmax, offsets and sampling in one; launched by ``dcnv3_cuda``.

A *row* is one group of one output cell. Channels last, rows lie in memory one after the other, and so do
their offsets, logits and results: a program takes a run of rows of one sample, whatever cell or group they
belong to. The channels of a group are contiguous and loaded as vectors of up to 16 bytes; neighbouring
threads read neighbouring groups of a cell, whose corners mostly share cache lines. What every point needs
of a row (nine weights, nine positions) is held in registers; sums are float32 in every precision.

Compiled for sm_90 the loads and the atomic additions are vectors of 128 bits (64 for the smaller tiles of the
half precisions) and nothing spills: ``tests/training/test_dcnv3_triton.py`` asserts it.

Arguments of both kernels: tensors as in ``dcnv3_reference``, contiguous; ``rows`` of a sample; ``height`` and
``width`` of the value, ``out_width`` of the result; ``CHANNELS`` of a group in a ``BLOCK`` of the next power
of two; ``TILE`` values at once.
"""

import triton
import triton.language as tl

SIZES = ["rows", "groups", "height", "width", "out_width"]
"""Not specialised: one binary for all stages of a network."""


@triton.jit
def _eight(x):
    """The eight vectors of (rows, 2, 2, 2), in the order of memory."""
    a, b = tl.split(x)
    a, c = tl.split(a)
    b, d = tl.split(b)
    a, e = tl.split(a)
    c, g = tl.split(c)
    b, f = tl.split(b)
    d, h = tl.split(d)
    return a, b, c, d, e, f, g, h


@triton.jit
def _as_one(x):
    """(rows, 2, 2, 2) of the first eight vectors: ``_eight`` backwards."""
    a, b = tl.join(x[0], x[4]), tl.join(x[1], x[5])
    c, d = tl.join(x[2], x[6]), tl.join(x[3], x[7])
    return tl.join(tl.join(a, c), tl.join(b, d))


@triton.jit
def _read_logits(logits, row, present, ROWS: tl.constexpr):
    """Nine vectors. Eight numbers of a row are one load, spread over the threads through shared memory."""
    at = logits + (row * 9)[:, None] + tl.arange(0, 8)[None, :]
    most = tl.load(at, mask=present[:, None], other=0.0).to(tl.float32)
    last = tl.load(logits + row * 9 + 8, mask=present, other=0.0).to(tl.float32)
    return _eight(tl.reshape(most, (ROWS, 2, 2, 2))) + (last,)


@triton.jit
def _write_logits(logits, row, present, values, ROWS: tl.constexpr):
    dtype: tl.constexpr = logits.dtype.element_ty
    at = logits + (row * 9)[:, None] + tl.arange(0, 8)[None, :]
    tl.store(at, tl.reshape(_as_one(values), (ROWS, 8)).to(dtype), mask=present[:, None])
    tl.store(logits + row * 9 + 8, values[8].to(dtype), mask=present)


@triton.jit
def _read_offsets(offset, row, present, ROWS: tl.constexpr):
    """Nine vectors down and nine along."""
    at = offset + (row * 18)[:, None] + tl.arange(0, 16)[None, :]
    most = tl.load(at, mask=present[:, None], other=0.0).to(tl.float32)
    y, x = tl.split(tl.reshape(most, (ROWS, 2, 2, 2, 2)))
    last = offset + row * 18 + 16
    last_y = tl.load(last, mask=present, other=0.0).to(tl.float32)
    last_x = tl.load(last + 1, mask=present, other=0.0).to(tl.float32)
    return _eight(y) + (last_y,), _eight(x) + (last_x,)


@triton.jit
def _write_offsets(offset, row, present, ys, xs, ROWS: tl.constexpr):
    dtype: tl.constexpr = offset.dtype.element_ty
    at = offset + (row * 18)[:, None]
    most = tl.reshape(tl.join(_as_one(ys), _as_one(xs)), (ROWS, 16))
    tl.store(at + tl.arange(0, 16)[None, :], most.to(dtype), mask=present[:, None])
    last = tl.join(ys[8], xs[8])
    tl.store(at + 16 + tl.arange(0, 2)[None, :], last.to(dtype), mask=present[:, None])


@triton.jit
def _softmax(scores):
    """Nine vectors of weights out of nine of logits."""
    largest = scores[0]
    for k in tl.static_range(1, 9):
        largest = tl.maximum(largest, scores[k])
    powers = ()
    total = tl.zeros_like(largest)
    for k in tl.static_range(9):
        powers = powers + (tl.exp(scores[k] - largest),)
        total += powers[k]
    weights = ()
    for k in tl.static_range(9):
        weights = weights + (powers[k] / total,)
    return weights


@triton.jit
def _axis(position, cells):
    """The cell before a position, the share of the cell after it, and whether any of the two is inside."""
    near = (position > -1) & (position < cells)
    position = tl.where(near, position, 0.0)  # a NaN or a huge number has no integer
    first = tl.floor(position)
    return first.to(tl.int32), position - first, near


@triton.jit
def _point(down, along, height, width, present):
    """Of the positions of a point: the upper left cell, the shares below and right, which corners count."""
    top, below, near_y = _axis(down, height)
    west, right, near_x = _axis(along, width)
    near = present & near_y & near_x
    upper, lower = near & (top >= 0), near & (top + 1 < height)
    before, after = west >= 0, west + 1 < width
    counts = (upper & before, upper & after, lower & before, lower & after)
    return top * width + west, below, right, counts


@triton.jit
def _corners(field, cell, width, first, step, BLOCK: tl.constexpr):
    """Pointers (rows, BLOCK) to the channels of the four cells of a point."""
    at = field + (cell * step + first)[:, None] + tl.arange(0, BLOCK)[None, :]
    return at, at + step, at + width * step, at + (width + 1) * step


@triton.jit
def _values(corners, counts, wanted):
    """Float32, zero where a corner does not count."""
    a = tl.load(corners[0], mask=counts[0][:, None] & wanted, other=0.0).to(tl.float32)
    b = tl.load(corners[1], mask=counts[1][:, None] & wanted, other=0.0).to(tl.float32)
    c = tl.load(corners[2], mask=counts[2][:, None] & wanted, other=0.0).to(tl.float32)
    d = tl.load(corners[3], mask=counts[3][:, None] & wanted, other=0.0).to(tl.float32)
    return a, b, c, d


@triton.jit(do_not_specialize=SIZES)
def forward_kernel(
    value, offset, logits, out, rows, groups, height, width, out_width,
    CHANNELS: tl.constexpr, BLOCK: tl.constexpr, STRIDE: tl.constexpr, DILATION: tl.constexpr,
    TILE: tl.constexpr,
):  # fmt: skip
    ROWS: tl.constexpr = TILE // BLOCK if TILE > BLOCK else 1
    blocks = tl.cdiv(rows, ROWS)
    row = tl.program_id(0) % blocks * ROWS + tl.arange(0, ROWS)
    present = row < rows
    sample = (tl.program_id(0) // blocks).to(tl.int64)
    step = groups * CHANNELS
    value += sample * height * width * step
    out += sample * rows * CHANNELS
    y, x = row // groups // out_width * STRIDE, row // groups % out_width * STRIDE
    first = row % groups * CHANNELS
    channel = tl.arange(0, BLOCK)[None, :]
    wanted = channel < CHANNELS
    weights = _softmax(_read_logits(logits + sample * rows * 9, row, present, ROWS))
    ys, xs = _read_offsets(offset + sample * rows * 18, row, present, ROWS)
    total = tl.zeros((ROWS, BLOCK), tl.float32)
    for k in tl.static_range(9):
        down, along = y + (k // 3 - 1) * DILATION + ys[k], x + (k % 3 - 1) * DILATION + xs[k]
        cell, below, right, counts = _point(down, along, height, width, present)
        a, b, c, d = _values(_corners(value, cell, width, first, step, BLOCK), counts, wanted)
        upper, lower, left = weights[k] * (1 - below), weights[k] * below, 1 - right
        total += (upper * left)[:, None] * a + (upper * right)[:, None] * b
        total += (lower * left)[:, None] * c + (lower * right)[:, None] * d
    to = out + (row * CHANNELS)[:, None] + channel
    tl.store(to, total.to(out.dtype.element_ty), mask=present[:, None] & wanted)


@triton.jit(do_not_specialize=SIZES)
def backward_kernel(
    value, offset, logits, gradient, to_value, to_offset, to_logits, rows, groups, height, width, out_width,
    CHANNELS: tl.constexpr, BLOCK: tl.constexpr, STRIDE: tl.constexpr, DILATION: tl.constexpr,
    SCATTER: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """The slopes of offset and logits are sums over a row; with SCATTER that of the value is added to it."""
    ROWS: tl.constexpr = TILE // BLOCK if TILE > BLOCK else 1
    blocks = tl.cdiv(rows, ROWS)
    row = tl.program_id(0) % blocks * ROWS + tl.arange(0, ROWS)
    present = row < rows
    sample = (tl.program_id(0) // blocks).to(tl.int64)
    step = groups * CHANNELS
    value += sample * height * width * step
    y, x = row // groups // out_width * STRIDE, row // groups % out_width * STRIDE
    first = row % groups * CHANNELS
    channel = tl.arange(0, BLOCK)[None, :]
    wanted = channel < CHANNELS
    at = gradient + sample * rows * CHANNELS + (row * CHANNELS)[:, None] + channel
    here = tl.load(at, mask=present[:, None] & wanted, other=0.0).to(tl.float32)
    weights = _softmax(_read_logits(logits + sample * rows * 9, row, present, ROWS))
    ys, xs = _read_offsets(offset + sample * rows * 18, row, present, ROWS)
    to_weights, to_y, to_x = (), (), ()
    mean = tl.zeros((ROWS,), tl.float32)
    for k in tl.static_range(9):
        down, along = y + (k // 3 - 1) * DILATION + ys[k], x + (k % 3 - 1) * DILATION + xs[k]
        cell, lower, right, counts = _point(down, along, height, width, present)
        a, b, c, d = _values(_corners(value, cell, width, first, step, BLOCK), counts, wanted)
        a, b, c, d = tl.sum(here * a, 1), tl.sum(here * b, 1), tl.sum(here * c, 1), tl.sum(here * d, 1)
        upper, left, m = 1 - lower, 1 - right, weights[k]
        north, south = left * a + right * b, left * c + right * d
        to_weights = to_weights + (upper * north + lower * south,)
        mean += m * to_weights[k]
        to_y = to_y + (m * (south - north),)
        to_x = to_x + (m * (upper * (b - a) + lower * (d - c)),)
        if SCATTER:
            field = to_value + sample * height * width * step
            corners = _corners(field, cell, width, first, step, BLOCK)
            shares = (m * upper * left, m * upper * right, m * lower * left, m * lower * right)
            for i in tl.static_range(4):
                added = shares[i][:, None] * here
                tl.atomic_add(corners[i], added, mask=counts[i][:, None] & wanted, sem="relaxed")
    to_scores = ()
    for k in tl.static_range(9):
        to_scores = to_scores + (weights[k] * (to_weights[k] - mean),)
    _write_logits(to_logits + sample * rows * 9, row, present, to_scores, ROWS)
    _write_offsets(to_offset + sample * rows * 18, row, present, to_y, to_x, ROWS)
