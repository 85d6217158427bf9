"""CUDA kernels for the cross entropy of class numbers: two for the loss, one for its gradient.

    x  (N, C) logits   y  (N,) classes   lse_n = log sum_c exp x_nc
    loss_n = lse_n - x[n, y_n]           dx_nc = (exp(x_nc - lse_n) - [c = y_n]) g_n

Array by array these are some thirty launches.  A block takes a row: each thread a part of it, then the last thread
puts the parts together, in one order, so that every run gives the same bits.  Rows of the class that is ignored count
nowhere, and are not read.  A class out of range gives nan, since raising would mean waiting for the GPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...backend import on_gpu
from ...backend.gpu.kernels import REALS, KernelError, Launch, gpu, kernel
from ...source_line import warn_user
from ...typing import Array

__all__ = ["SOURCE", "Likelihood", "likelihood"]

ROW = Launch(threads=32)
ALL = Launch(threads=256)
EACH = 4
"""Entries of the gradient per thread."""
MOST_BLOCKS = 4096

SOURCE = """
// One block per row.  classes: a copy of the targets, for the way back.
extern "C" __global__ void row_losses(
    const REAL* x, const long long* target, long long ignored, int C, long long* classes, REAL* lse, REAL* losses)
{
    __shared__ REAL largest[32], sums[32];
    const long long y = target[blockIdx.x];
    const REAL* row = x + (long long)blockIdx.x * C;
    const int k = threadIdx.x;
    REAL m = row[k < C ? k : 0], s = 0;
    for (int c = k; c < C; c += 32) m = row[c] <= m ? m : row[c];
    for (int c = k; c < C; c += 32) s += row[c] == m ? (REAL)1 : exp(row[c] - m);
    largest[k] = m;
    sums[k] = s;
    __syncthreads();
    if (k == 31) {
        for (int j = 0; j < 32; j++) m = largest[j] <= m ? m : largest[j];
        s = 0;
        for (int j = 0; j < 32; j++) s += sums[j] * (largest[j] == m ? (REAL)1 : exp(largest[j] - m));
        const REAL all = m > 0 ? m + log(s) + (m - m) : m + log(s);  // nan for an infinite logit
        const bool there = 0 <= y && y < C;
        classes[blockIdx.x] = y;
        lse[blockIdx.x] = all;
        losses[blockIdx.x] = y == ignored ? (REAL)0 : there ? all - row[y] : (all - all) / (all - all);
    }
}

// One block.  result[0]: the sum of the losses, or their mean; result[1]: what it was divided by.
extern "C" __global__ void all_losses(
    const REAL* losses, const long long* classes, long long ignored, int N, int mean, REAL* result)
{
    __shared__ REAL sums[256], counts[256];
    const int k = threadIdx.x;
    REAL sum = 0, count = 0;
    for (int n = k; n < N; n += 256) {
        sum += losses[n];
        count += classes[n] != ignored;
    }
    sums[k] = sum;
    counts[k] = count;
    __syncthreads();
    if (k == 255) {
        sum = count = 0;
        for (int j = 0; j < 256; j++) {
            sum += sums[j];
            count += counts[j];
        }
        result[0] = mean ? sum / count : sum;
        result[1] = mean ? count : (REAL)1;
    }
}

// g: one number for all rows (each 0), to be divided by *divisor, or one per row (each 1).
extern "C" __global__ void logit_gradients(
    const REAL* x, const long long* classes, long long ignored, int C, long long size, const REAL* lse, const REAL* g,
    int each, const REAL* divisor, REAL* dx)
{
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < size; i += step) {
        const long long n = i / C, y = classes[n];
        const REAL c = each ? g[n] : *g / *divisor;
        dx[i] = y == ignored ? 0 * c : (exp(x[i] - lse[n]) - (REAL)(i - n * C == y)) * c;
    }
}
"""


class Likelihood:
    """What the gradient of a loss needs.  ``classes`` is a copy of the targets."""

    def __init__(self, classes: Array, lse: Array, ignored: int, result: Array | None) -> None:
        self.classes = classes
        self._lse, self._ignored, self._result = lse, ignored, result

    def gradient(self, g: Any, x: Any) -> Array:
        """dx for the logits, from the gradient of the loss: (), or (N,) if the losses were not added up."""
        each = self._result is None
        divisor = self._lse if self._result is None else self._result[1:]
        dx: Array = type(x)(x.shape, x.dtype)
        blocks = max(1, min(-(-x.size // (ALL.threads * EACH)), MOST_BLOCKS))
        g = g.astype(x.dtype, copy=False)
        if each and not g.flags.c_contiguous:
            g = g.copy()
        run = kernel(SOURCE, "logit_gradients", REALS[x.dtype], ALL)
        run(
            blocks, x, self.classes, np.int64(self._ignored), np.int32(x.shape[1]), np.int64(x.size), self._lse, g,
            np.int32(each), divisor, dx,
        )  # fmt: skip
        return dx


_broken = False


def likelihood(x: Any, target: Any, ignored: int, reduction: str) -> tuple[Array, Likelihood] | None:
    """The loss and its way back; None where the kernels cannot be used: then the arrays' own operations do it.

    Args:
        x: logits. target: classes, int64.
        ignored: a class that counts nowhere.
        reduction: "mean", "sum" or "none".
    """
    global _broken
    if _broken or not on_gpu(x) or not on_gpu(target) or x.dtype not in REALS or target.dtype != np.int64:
        return None
    here = gpu()
    if not here.capability or x.ndim != 2 or not 0 < x.size < 1 << 40 or not x.flags.c_contiguous:
        return None
    if target.shape != x.shape[:1] or not target.flags.c_contiguous:
        return None
    if x.device.id != here.number or target.device.id != here.number or max(x.shape) >= 1 << 31:
        return None
    try:
        rows, together = [kernel(SOURCE, name, REALS[x.dtype], how) for name, how in FORWARD]
    except KernelError as error:
        _broken = True
        warn_user(
            f"cross_entropy on the GPU goes array by array from now on: {error}",
            RuntimeWarning,
        )
        return None
    (n, c), new = x.shape, type(x)
    classes, lse, losses = new((n,), target.dtype), new((n,), x.dtype), new((n,), x.dtype)
    code = np.int64(ignored)
    rows(n, x, target, code, np.int32(c), classes, lse, losses)
    if reduction == "none":
        return losses, Likelihood(classes, lse, ignored, None)
    result = new((2,), x.dtype)
    together(1, losses, classes, code, np.int32(n), np.int32(reduction == "mean"), result)
    return result[0], Likelihood(classes, lse, ignored, result)


FORWARD = (("row_losses", ROW), ("all_losses", ALL))
