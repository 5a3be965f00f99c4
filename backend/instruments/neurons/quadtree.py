"""Repulsion of charged points in the plane by a quadtree (Barnes and Hut, Nature 324:446, 1986), compiled by Numba.

The force on a point is ``sum_j w_j (x - x_j) / (|x - x_j|^2 + softening^2)``. Points are sorted along a Z-curve, so a
node of the tree is a run of them and a subtree a run of nodes. As in Barnes (J. Comput. Phys. 87:161, 1990), all points
of a leaf share one walk through the tree, after which two plain loops remain: over far nodes and over near points. A
far node acts by its charge and its second moment about the centre of charge; in the complex plane the field of charges
is ``conj(sum_k M_k / (z - c)^(k + 1))``, the first moment being zero.
"""

from __future__ import annotations

from concurrent.futures import Executor

import numpy as np
import numpy.typing as npt
from numba import njit

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

BUCKET = 16  # points in a leaf
GRID = 1 << 20  # cells of the Z-curve along one axis
FAST = {"contract", "arcp", "nsz", "reassoc"}  # lets sums run in vectors; infinities stay what they are


def repulsion(
    positions: FloatArray,
    weight: FloatArray,
    theta: float,
    softening: float,
    pool: Executor | None = None,
    parts: int = 1,
) -> FloatArray:
    """Force on every point.

    Args:
        positions: ``[n, 2]``.
        weight: ``[n]`` charges, not negative.
        theta: a node acts as a whole when its diameter is less than ``theta`` times its distance; 0 sums all pairs.
        softening: length below which the force of two points no longer grows.
        pool: threads to share the work; the result does not depend on it.
        parts: into how many pieces.

    Returns:
        ``[n, 2]``.
    """
    low = positions.min(0)
    span = float((positions.max(0) - low).max()) or 1.0
    cells = ((positions - low) * ((GRID - 1) / span)).astype(np.int64)
    codes = _z_order(cells[:, 0], cells[:, 1])
    order = np.argsort(codes, kind="stable")
    x, y, w = positions[order, 0].copy(), positions[order, 1].copy(), weight[order]
    begin, end, skip, moments = _tree(codes[order], x, y, w)
    leaves = np.flatnonzero(skip == np.arange(1, len(skip) + 1))
    sorted_force = np.empty((len(w), 2))

    def walk(part: IntArray) -> None:
        _forces(part, begin, end, skip, moments, x, y, w, theta, softening * softening, sorted_force)

    if pool is None or parts < 2:
        walk(leaves)
    else:
        list(pool.map(walk, np.array_split(leaves, parts)))
    force = np.empty_like(sorted_force)
    force[order] = sorted_force
    return force


@njit(nogil=True)
def _z_order(column: IntArray, row: IntArray) -> IntArray:
    """Codes whose bits are those of column and row in turn."""
    codes = np.empty(len(column), np.int64)
    for i in range(len(column)):
        code = 0
        for bit in range(20):
            code |= ((column[i] >> bit) & 1) << (2 * bit) | ((row[i] >> bit) & 1) << (2 * bit + 1)
        codes[i] = code
    return codes


@njit(nogil=True)
def _tree(
    codes: IntArray, x: FloatArray, y: FloatArray, w: FloatArray
) -> tuple[IntArray, IntArray, IntArray, FloatArray]:
    """Nodes in preorder over sorted points.

    Returns:
        First point, point after the last, node after the subtree, and moments ``[nodes, 6]``: charge, centre x and y,
        radius about it, real and imaginary second moment.
    """
    n = len(codes)
    begin, end = np.empty(2 * n + 1, np.int64), np.empty(2 * n + 1, np.int64)
    stack = np.empty((4 * 64, 2), np.int64)
    stack[0, 0], stack[0, 1] = 0, n
    height, count = 1, 0
    while height > 0:
        height -= 1
        b, e = stack[height, 0], stack[height, 1]
        begin[count], end[count] = b, e
        count += 1
        differing = codes[b] ^ codes[e - 1]
        if e - b <= BUCKET or differing == 0:
            continue
        shift = 0  # of the coarsest pair of bits in which the run differs: cells with one child make no node
        while differing >> (shift + 2) != 0:
            shift += 2
        prefix = (codes[b] >> (shift + 2)) << (shift + 2)
        upper = e
        for quadrant in range(3, -1, -1):  # the last pushed, quadrant 0, comes next
            lower = b + np.searchsorted(codes[b:upper], prefix + (quadrant << shift))
            if lower < upper:
                stack[height, 0], stack[height, 1] = lower, upper
                height += 1
            upper = lower
    skip = np.empty(count, np.int64)
    moments = np.zeros((count, 6))
    for node in range(count - 1, -1, -1):
        _summarise(node, count, begin, end, skip, moments, x, y, w)
    return begin[:count].copy(), end[:count].copy(), skip, moments


@njit(nogil=True)
def _summarise(
    node: int,
    count: int,
    begin: IntArray,
    end: IntArray,
    skip: IntArray,
    moments: FloatArray,
    x: FloatArray,
    y: FloatArray,
    w: FloatArray,
) -> None:
    """Fill ``skip`` and ``moments`` of a node whose children are done."""
    charge, cx, cy, radius, real, imaginary = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    child = node + 1
    leaf = child >= count or begin[child] >= end[node]
    if leaf:
        for i in range(begin[node], end[node]):
            charge += w[i]
            cx += w[i] * x[i]
            cy += w[i] * y[i]
    else:
        while child < count and begin[child] < end[node]:
            charge += moments[child, 0]
            cx += moments[child, 0] * moments[child, 1]
            cy += moments[child, 0] * moments[child, 2]
            child = skip[child]
    skip[node] = child
    if charge > 0.0:
        cx /= charge
        cy /= charge
    else:
        cx, cy = x[begin[node]], y[begin[node]]
    if leaf:
        for i in range(begin[node], end[node]):
            dx, dy = x[i] - cx, y[i] - cy
            radius = max(radius, np.sqrt(dx * dx + dy * dy))
            real += w[i] * (dx * dx - dy * dy)
            imaginary += w[i] * 2.0 * dx * dy
    else:
        child = node + 1
        while child < skip[node]:
            q, dx, dy = moments[child, 0], moments[child, 1] - cx, moments[child, 2] - cy
            radius = max(radius, np.sqrt(dx * dx + dy * dy) + moments[child, 3])
            real += moments[child, 4] + q * (dx * dx - dy * dy)
            imaginary += moments[child, 5] + q * 2.0 * dx * dy
            child = skip[child]
    moments[node, 0], moments[node, 1], moments[node, 2] = charge, cx, cy
    moments[node, 3], moments[node, 4], moments[node, 5] = radius, real, imaginary


@njit(nogil=True, fastmath=FAST)
def _forces(
    leaves: IntArray,
    begin: IntArray,
    end: IntArray,
    skip: IntArray,
    moments: FloatArray,
    x: FloatArray,
    y: FloatArray,
    w: FloatArray,
    theta: float,
    softening2: float,
    force: FloatArray,
) -> None:
    """Forces on the points of some leaves, into ``force [n, 2]``."""
    count = len(skip)
    far = np.empty((5, count))
    near = np.empty((3, len(x)))
    for leaf in leaves:
        n_far, n_near, node = 0, 0, 0
        while node < count:
            dx, dy = moments[node, 1] - moments[leaf, 1], moments[node, 2] - moments[leaf, 2]
            gap = np.sqrt(dx * dx + dy * dy) - moments[leaf, 3]
            if 2.0 * moments[node, 3] < theta * gap:
                for k in range(5):
                    far[k, n_far] = moments[node, k if k < 3 else k + 1]
                n_far += 1
                node = skip[node]
            elif skip[node] == node + 1:
                for i in range(begin[node], end[node]):
                    near[0, n_near], near[1, n_near], near[2, n_near] = w[i], x[i], y[i]
                    n_near += 1
                node += 1
            else:
                node += 1
        for i in range(begin[leaf], end[leaf]):
            fx, fy = 0.0, 0.0
            for j in range(n_near):
                dx, dy = x[i] - near[1, j], y[i] - near[2, j]
                pull = near[0, j] / (dx * dx + dy * dy + softening2)
                fx += pull * dx
                fy += pull * dy
            for j in range(n_far):
                dx, dy = x[i] - far[1, j], y[i] - far[2, j]
                inverse = 1.0 / (dx * dx + dy * dy + softening2)
                # u = 1 / (z - c), softened; the field is conj(charge * u + moment * u^3)
                ux, uy = dx * inverse, -dy * inverse
                sx, sy = ux * ux - uy * uy, 2.0 * ux * uy
                px, py = far[0, j] + far[3, j] * sx - far[4, j] * sy, far[3, j] * sy + far[4, j] * sx
                fx += px * ux - py * uy
                fy -= px * uy + py * ux
            force[i, 0], force[i, 1] = fx, fy
