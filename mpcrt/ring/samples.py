"""Smooth functions by dealer samples over a public basis: the kernels of the op `samples`.

With D = x + l public and l known to the dealer, g(x) = sum_i phi_i(D_low) S_i[D_top], where the public phi_i are
integer-only (the same bits on every CPU and dispatch path) and the dealer shares the samples S_i, which it alone
computes, in floating point. No round is needed, and nothing about l or x shows: the shares are uniform, D is masked.

Three bases, each an object of plain integers made by `parse` from the op's attributes:

    exp         e^x = e^(D_low) e^(x - D_low): one term, a sample for each value of two top bits of D
    series      sum_k a_k sin or cos(2 pi k x / P): two terms a harmonic, no table
    chebyshev   g on [low, ...) by Chebyshev polynomials of the place in a window, a row of coefficients a window

Layout: samples are uint64[words, n] with words = entries * terms, row entry * terms + term; so element ranges are
independent and a row's stretch of elements is contiguous. Results are additive shares of round(g(x) 2^fraction) up to
the stated error; `constant` is for one party to add.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mpcrt.ring import tables

COEFFICIENT_BITS = 40
FACTOR_BITS = 40
TRIG = tables.TRIG_BITS
MAX_TERMS = 1024
COLUMNS = 1 << 12  # of Chebyshev coefficients at a time, in the caches
_U = np.uint64
_I = np.int64


# -- public bases: integers alone


def exp_basis(low: np.ndarray, bits: int, out_bits: int) -> np.ndarray:
    """round-ish(e^(8 low / 2^bits) 2^out_bits) for low < 2^bits; relative error under 2^-out_bits + 2^-21."""
    u = (low << _U(32 - bits) if bits <= 32 else low >> _U(bits - 32)).view(_I)
    d = u & _I((1 << 22) - 1)  # e^(d 2^-29), d 2^-29 < 2^-7, to third order
    d2 = d * d
    d3 = (((d2 >> _I(22)) * d) >> _I(20)) * _I(43691)  # 43691 / 2^18 = 1/6
    fine = _I(1 << 30) + (d << _I(1)) + (d2 >> _I(29)) + (d3 >> _I(33))
    product = tables.exponential()[u >> _I(22)] * (fine >> _I(1))
    shift = tables.EXP_BITS + 29 - out_bits
    return ((product + _I(1 << (shift - 1))) >> _I(shift)).view(_U)


def turn(phase: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """cos and sin of 2 pi phase / 2^64, int64 of 30 fraction bits, to about 2 units: a table and two Taylor terms."""
    bits = 64 - tables.TURN_BITS
    near = phase + _U(1 << (bits - 1))
    at = (near >> _U(bits)).view(_I)
    rest = (near & _U((1 << bits) - 1)).view(_I) - _I(1 << (bits - 1))
    # the rest in radians at 2^-36: 2 pi 2^-64 rest; 13176795 / 2^21 = 2 pi
    r = ((rest >> _I(28)) * _I(13176795)) >> _I(21)
    r2 = (r * r) >> _I(36)
    sine = (r - ((r2 * r) >> _I(36)) // _I(6)) >> _I(6)
    cosine = _I(1 << TRIG) - (r2 >> _I(7))
    cosines, sines = tables.trigonometric()
    return rotate(cosines[at], sines[at], cosine, sine)


def rotate(c: np.ndarray, s: np.ndarray, cosine: np.ndarray, sine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(c + i s)(cosine + i sine) at 30 fraction bits, rounded half up; no intermediate reaches 2^62."""
    half, shift = _I(1 << (TRIG - 1)), _I(TRIG)
    return (c * cosine - s * sine + half) >> shift, (c * sine + s * cosine + half) >> shift


def narrowed(values: np.ndarray, bits: int) -> np.ndarray:
    """int64 of 30 fraction bits rounded to `bits`, as ring elements."""
    if bits == TRIG:
        return values.view(_U)
    return ((values + _I(1 << (TRIG - bits - 1))) >> _I(TRIG - bits)).view(_U)


# -- the three bases


@dataclass(frozen=True)
class Exp:
    """e^x for x in [offset - 24, offset), by windows of 8 in a period of 32; elsewhere the result is of no use.

    Error: 2^-public_bits relative, plus e^8 2^(public_bits - fraction - 1) absolute. e^x 2^fraction stays below 2^62.
    """

    input_fraction: int
    fraction: int
    offset: int
    public_bits: int
    entries = 4
    terms = 1
    constant = 0

    def index(self, d: np.ndarray) -> np.ndarray:
        return ((d - _U((self.offset << self.input_fraction) % 2**64)) >> _U(self.input_fraction + 3)) & _U(3)

    def basis(self, d: np.ndarray) -> Iterator[np.ndarray]:
        bits = self.input_fraction + 3
        low = (d - _U((self.offset << self.input_fraction) % 2**64)) & _U((1 << bits) - 1)
        yield exp_basis(low, bits, self.public_bits)

    def deal(self, mask: np.ndarray) -> np.ndarray:
        """S[v] = e^(offset - 8 ((l_top - v) mod 4) - l_low) 2^(fraction - public_bits)."""
        bits = self.input_fraction + 3
        top = (mask >> _U(bits)) & _U(3)
        low = np.ldexp((mask & _U((1 << bits) - 1)).astype(np.float64), -self.input_fraction)
        below = np.exp(self.offset - low) * 2.0 ** (self.fraction - self.public_bits)
        steps = np.exp(-8.0 * np.arange(4))
        return np.stack([fixed(below * steps[((top - _U(v)) & _U(3)).view(_I)]) for v in range(4)])


@dataclass(frozen=True)
class Series:
    """constant + sum_k a_k sin (odd) or cos (even) of 2 pi k x / P, P = 2^64 / (multiplier 2^input_fraction).

    k = first, first + step, ...; coefficients have COEFFICIENT_BITS fraction bits, `constant` has `fraction`.
    """

    input_fraction: int
    fraction: int
    odd: bool
    multiplier: int
    first: int
    step: int
    public_bits: int
    constant: int
    coefficients: tuple[int, ...]
    entries = 1

    @property
    def terms(self) -> int:
        return 2 * len(self.coefficients)

    def index(self, d: np.ndarray) -> None:
        return None

    def basis(self, d: np.ndarray) -> Iterator[np.ndarray]:
        """cos, sin of the first harmonic, cos, sin of the second, ..."""
        phase = d * _U(self.multiplier)
        c, s = turn(phase * _U(self.first))
        cosine, sine = (c, s) if self.first == self.step else turn(phase * _U(self.step))
        for i in range(len(self.coefficients)):
            if i:
                c, s = rotate(c, s, cosine, sine)
            yield narrowed(c, self.public_bits)
            yield narrowed(s, self.public_bits)

    def deal(self, mask: np.ndarray) -> np.ndarray:
        """sin(D - l) = cos D (-sin l) + sin D cos l; cos(D - l) = cos D cos l + sin D sin l."""
        phase = mask * _U(self.multiplier)
        out = np.empty((self.terms, *mask.shape), _U)
        here, step = unit(phase * _U(self.first)), unit(phase * _U(self.step))
        for i, a in enumerate(self.coefficients):
            here = here * step if i else here
            scaled = here * (a * 2.0 ** (self.fraction - self.public_bits - COEFFICIENT_BITS))
            out[2 * i] = fixed(-scaled.imag if self.odd else scaled.real)
            out[2 * i + 1] = fixed(scaled.real if self.odd else scaled.imag)
        return out


@dataclass(frozen=True)
class Chebyshev:
    """factor g(x), x in [low, low + 2^(window_bits + table_bits) - 2^window_bits) in units of 2^-input_fraction.

    D's window has 2^window_bits units; the dealer deals each window's Chebyshev coefficients of g shifted by the mask.
    Within `edge` of 0, where no argument lies, g is continued by its Taylor polynomial, so that windows that reach
    there stay smooth. Error: the interpolation's, plus terms 2^-public_bits |g|.
    """

    input_fraction: int
    fraction: int
    function: str
    window_bits: int
    table_bits: int
    degree: int
    low: int
    edge: int
    public_bits: int
    factor: int = 1 << FACTOR_BITS
    constant = 0

    @property
    def entries(self) -> int:
        return 1 << self.table_bits

    @property
    def terms(self) -> int:
        return self.degree + 1

    def index(self, d: np.ndarray) -> np.ndarray:
        return (d >> _U(self.window_bits)) & _U(self.entries - 1)

    def basis(self, d: np.ndarray) -> Iterator[np.ndarray]:
        """T_0, T_1, ... of w = 2 D_low / 2^window_bits - 1, by T_{j+1} = 2 w T_j - T_{j-1}."""
        low = d & _U((1 << self.window_bits) - 1)
        shift = TRIG + 1 - self.window_bits
        w = (low << _U(shift) if shift >= 0 else low >> _U(-shift)).view(_I) - _I(1 << TRIG)
        before, here = np.full_like(w, 1 << TRIG), w
        yield narrowed(before, self.public_bits)
        for _ in range(self.degree):
            yield narrowed(here, self.public_bits)
            before, here = here, ((w * here + _I(1 << (TRIG - 2))) >> _I(TRIG - 1)) - before

    def deal(self, mask: np.ndarray) -> np.ndarray:
        """Row v: the coefficients for D_top = v; the window starts at (v - l_top) 2^window_bits - l_low, mod period."""
        terms, window = self.terms, 1 << self.window_bits
        angles = (np.arange(terms) + 0.5) * (math.pi / terms)
        nodes = (np.cos(angles) + 1) / 2 * math.ldexp(window, -self.input_fraction)
        transform = np.cos(np.outer(np.arange(terms), angles)) * (2.0 / terms)
        transform[0] /= 2
        transform *= self.factor * 2.0 ** (self.fraction - self.public_bits - FACTOR_BITS)
        period = _U((window << self.table_bits) - 1)
        first = self.low - window + 1
        tops = np.arange(self.entries, dtype=_U)[:, None] * _U(window)
        start = ((tops - mask.reshape(-1) - _U(first % 2**64)) & period).view(_I) + _I(first)
        starts = np.ldexp(start.reshape(-1).astype(np.float64), -self.input_fraction)
        out = np.empty((terms, starts.size), _U)
        for low in range(0, starts.size, COLUMNS):
            x = starts[low : low + COLUMNS] + nodes[:, None]
            values = transform @ continued(self.function, x, math.ldexp(self.edge, -self.input_fraction), terms)
            out[:, low : low + COLUMNS] = fixed(values)
        out = out.reshape(terms, self.entries, mask.size).transpose(1, 0, 2)
        return out.reshape(self.entries * terms, *mask.shape)


Basis = Exp | Series | Chebyshev


# -- the dealer's floating point


def fixed(values: np.ndarray) -> np.ndarray:
    """Rounded to ring elements."""
    return np.rint(values).astype(_I).view(_U)


def unit(phase: np.ndarray) -> np.ndarray:
    """e^(2 pi i phase / 2^64)."""
    return np.exp(2j * math.pi * np.ldexp((phase >> _U(11)).astype(np.float64), -53))


def continued(function: str, x: np.ndarray, edge: float, terms: int) -> np.ndarray:
    """g(x) where |x| >= edge; nearer to 0 its Taylor polynomial about the edge (odd, for the reciprocal)."""
    size = np.abs(x) if function == "reciprocal" else x
    outside = np.maximum(size, edge)
    inside = (np.minimum(size, edge) - edge) / edge
    if function == "log":
        value = np.log(outside)
        value += np.polynomial.polynomial.polyval(inside, [0.0] + [-((-1.0) ** m) / m for m in range(1, terms)])
        return value
    power = {"reciprocal": -1.0, "rsqrt": -0.5, "sqrt": 0.5}[function]
    binomial = [1.0]
    for m in range(1, terms):
        binomial.append(binomial[-1] * (power - m + 1) / m)
    value = outside**power * np.polynomial.polynomial.polyval(inside, binomial)
    return np.copysign(value, x) if function == "reciprocal" else value


# -- attributes, and the party's sum


def parse(function: str, parameters: tuple, fraction: int) -> Basis:
    """The basis that an op's attributes describe; the first parameter is the argument's fraction bits.

    Raises:
        ValueError: an unknown function, or parameters out of bounds (a plan from a peer may hold anything).
    """
    kinds = {"exp": Exp, "series": Series, "chebyshev": Chebyshev}
    if function not in kinds:
        raise ValueError(f"no sampled function {function!r}")
    try:
        basis = kinds[function](parameters[0], fraction, *parameters[1:])
        good = _bounded(basis)
    except (TypeError, IndexError):
        good = False
    if not good:
        raise ValueError(f"bad parameters of the sampled function {function!r}")
    return basis


def _bounded(basis: Basis) -> bool:
    """Whether every parameter has its type and the shifts it implies fit 64 bits."""
    flags = {"odd": bool, "function": str, "coefficients": tuple}
    for name in basis.__dataclass_fields__:
        if type(getattr(basis, name)) is not flags.get(name, int):
            return False
    sizes = (
        1 <= basis.public_bits <= TRIG and basis.public_bits <= basis.fraction <= 62 and 0 <= basis.input_fraction <= 62
    )
    if isinstance(basis, Exp):
        return sizes and basis.input_fraction <= 58 and abs(basis.offset) < 16
    if isinstance(basis, Series):
        whole = all(type(a) is int and abs(a) < 1 << 62 for a in basis.coefficients)
        steps = 0 < basis.multiplier < 1 << 64 and 0 <= basis.first < 1 << 16 and 0 <= basis.step < 1 << 16
        return sizes and whole and steps and 0 < basis.terms <= MAX_TERMS and abs(basis.constant) < 1 << 62
    table = 1 <= basis.window_bits and 0 <= basis.table_bits <= 6 and basis.window_bits + basis.table_bits <= 62
    known = basis.function in ("reciprocal", "rsqrt", "sqrt", "log") and abs(basis.low) < 1 << 62
    return (
        sizes
        and table
        and known
        and 0 <= basis.degree < 16
        and 0 < basis.edge < 1 << 62
        and abs(basis.factor) < 1 << 62
    )


def words(basis: Basis) -> int:
    """Dealt words an element."""
    return basis.entries * basis.terms


def evaluate(basis: Basis, d: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """sum_i phi_i(D_low) S_i[D_top] mod 2^64: d uint64[n], samples uint64[words, n] (shares, or the values).

    Adds no constant.
    """
    out = np.zeros_like(d)
    index = basis.index(d)
    if index is not None:
        at = index.view(_I)
        samples = samples.reshape(basis.entries, basis.terms, *d.shape)
        columns = np.arange(d.size)
    for i, phi in enumerate(basis.basis(d)):
        out += phi * (samples[i] if index is None else samples[at, i, columns])
    return out
