"""The comparison tree as programs on bit planes, for the native interpreter (ring/native/compare.cpp).

A program is int32[steps, 7]: (op, d array, d, a array, a, b array, b) on planes named (array, index); it runs once a
superblock. Array 7 is scratch. See ring/reference_blocks.py for what gather, deal_products and evaluate compute.
"""

import numpy as np

from mpcrt.ring.blocks import Level, Node

COPY, XOR, AND, ACCUMULATE = range(4)
SCRATCH = 7
Plane = tuple[int, int]


class Program:
    """Collects steps; the scratch planes of ANDs of the same set are shared."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, ...]] = []
        self.used = 0

    def emit(self, op: int, d: Plane, a: Plane, b: Plane = (0, 0)) -> None:
        self.rows.append((op, *d, *a, *(a if op == COPY else b)))

    def scratch(self) -> Plane:
        self.used += 1
        return SCRATCH, self.used - 1

    def array(self) -> np.ndarray:
        return np.array(self.rows, np.int32).reshape(-1, 7)


class _Conjunctions:
    """Planes holding the AND of a set of symbols, whose single planes are given; each is computed once."""

    def __init__(self, program: Program, singles: dict[int, Plane]) -> None:
        self.program, self.known = program, dict(singles)

    def __getitem__(self, symbols: int) -> Plane:
        if symbols not in self.known:
            low = symbols & -symbols
            rest = self[symbols ^ low]
            self.known[symbols] = self.program.scratch()
            self.program.emit(AND, self.known[symbols], self.known[low], rest)
        return self.known[symbols]


def gathering(level: Level) -> np.ndarray:
    """Writes 0 opened; reads 1 lt, 2 eq, 3 mask."""
    program = Program()
    for node in level.nodes:
        for i, (kind, child) in enumerate(node.symbols):
            at = node.opened + i
            program.emit(XOR, (0, at), (1 if kind else 2, child), (3, at))
    return program.array()


def dealing(level: Level) -> tuple[np.ndarray, int]:
    """Writes 0 products; reads 1 masks, 2 what others draw. Also the scratch planes it needs."""
    program, most = Program(), 0
    for node in level.nodes:
        program.used = 0
        made: dict[int, Plane] = {1 << i: (1, node.opened + i) for i in range(len(node.symbols))}
        for i, subset in enumerate(node.products):
            low, at = subset & -subset, node.shared + i
            made[subset] = program.scratch()
            program.emit(AND, made[subset], made[low], made[subset ^ low])
            program.emit(XOR, (0, at), made[subset], (2, at))
        most = max(most, program.used)
    return program.array(), most


def evaluation(level: Level, lead: bool) -> tuple[np.ndarray, int]:
    """Writes 0 lt', 1 eq'; reads 2 opened, 3 masks, 4 products, 5 lt, 6 eq. Also the scratch planes it needs."""
    program, most = Program(), 0
    for g, node in enumerate(level.nodes):
        program.used = 0
        top = node.first + node.k - 1
        program.emit(COPY, (0, g), (5, top))
        if node.k == 1:
            program.emit(COPY, (1, g), (6, top))
            continue
        program.emit(XOR, (1, g), (5, top), (5, top))
        _node(program, node, g, lead)
        most = max(most, program.used)
    return program.array(), most


def _node(program: Program, node: Node, g: int, lead: bool) -> None:
    """Each monomial over symbols T adds, for every subset S of T, (AND of opened T - S) (AND of masks S)."""
    values = _Conjunctions(program, {1 << i: (2, node.opened + i) for i in range(len(node.symbols))})
    shares = {1 << i: (3, node.opened + i) for i in range(len(node.symbols))}
    shares |= {s: (4, node.shared + i) for i, s in enumerate(node.products)}
    for out, terms in (((0, g), node.terms), ((1, g), node.eq_terms)):
        for term in terms:
            if lead:
                program.emit(XOR, out, out, values[term])
            program.emit(XOR, out, out, shares[term])
            subset = (term - 1) & term
            while subset:
                program.emit(ACCUMULATE, out, values[term ^ subset], shares[subset])
                subset = (subset - 1) & term
