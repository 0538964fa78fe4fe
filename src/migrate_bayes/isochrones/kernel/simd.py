"""Sixteen float32 numbers as one: explicit vector instructions inside numba's compiled functions.

A `Lanes` value lives in registers of the processor's vector unit and is added, subtracted and
multiplied like a number; `broadcast` fills it with one number, `load` and `store` move it from and
to a float32 array. On a machine with narrower registers LLVM splits it. Lanes mix only in `total`
and `lowest`, so the result of a lane does not depend on its neighbours.

Arrays of any number of dimensions are taken as flat (C order). Offsets into them are not checked,
and a negative one does not count from the end.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core.cgutils import get_or_insert_function
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

WIDTH, HALF = 16, 8
_F = np.float32
_FLOAT, _VECTOR = ir.FloatType(), ir.VectorType(ir.FloatType(), WIDTH)
_BITS = ir.VectorType(ir.IntType(32), WIDTH)
# A product and a sum may become one instruction; there are no NaN.
_FLAGS = ("contract", "nnan", "nsz")


class LanesType(types.Type):
    """Numba's name for `WIDTH` float32."""

    def __init__(self) -> None:
        super().__init__(name="Lanes")


_lanes = LanesType()


@register_model(LanesType)
class _Model(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Any) -> None:
        super().__init__(dmm, fe_type, _VECTOR)


def _define(function: Any, instruction: str) -> None:
    """Let an operator of Python stand for an instruction."""

    @infer_global(function)
    class _Typing(ConcreteTemplate):
        cases = [signature(_lanes, _lanes, _lanes)]  # noqa: RUF012

    @lower_builtin(function, LanesType, LanesType)
    def _lowering(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return getattr(builder, instruction)(*args, flags=_FLAGS)


_define(operator.add, "fadd")
_define(operator.sub, "fsub")
_define(operator.mul, "fmul")


def _address(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    """Return where element ``args[1]`` of the array ``args[0]`` is."""
    array = context.make_array(sig.args[0])(context, builder, args[0])
    index = context.cast(builder, args[1], sig.args[1], types.intp)
    return builder.gep(array.data, [index])


def _pointer(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return builder.bitcast(_address(context, builder, sig, args), _VECTOR.as_pointer())


def _spread(builder: Any, number: Any) -> Any:
    nothing = ir.Constant(_VECTOR, ir.Undefined)
    one = builder.insert_element(nothing, number, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, nothing, ir.Constant(_BITS, [0] * WIDTH))


def _call(builder: Any, name: str, *args: Any) -> Any:
    kind = ir.FunctionType(_VECTOR, [_VECTOR] * len(args))
    function = get_or_insert_function(builder.module, kind, f"{name}.v{WIDTH}f32")
    return builder.call(function, args)


def _of_one(build: Any) -> Any:
    """Make a function of one argument that yields `Lanes`, from what builds its instructions."""
    return intrinsic(lambda typingctx, x: (_lanes(x), build))


def _of_two(build: Any) -> Any:
    return intrinsic(lambda typingctx, a, b: (_lanes(a, b), build))


def _select(sign: str) -> Any:
    return lambda c, builder, s, args: builder.select(builder.fcmp_ordered(sign, *args), *args)


#: ``load(array, index)`` is ``array[index : index + WIDTH]``; ``broadcast(array, index)`` has
#: ``array[index]`` in every lane, ``splat(number)`` a number.
load = _of_two(lambda c, builder, s, args: builder.load(_pointer(c, builder, s, args), align=4))
broadcast = _of_two(
    lambda c, builder, s, args: _spread(
        builder, builder.load(_address(c, builder, s, args), align=4)
    )
)
splat = _of_one(
    lambda c, builder, s, args: _spread(builder, c.cast(builder, args[0], s.args[0], types.float32))
)
absolute = _of_one(lambda c, builder, s, args: _call(builder, "llvm.fabs", *args))
root = _of_one(lambda c, builder, s, args: _call(builder, "llvm.sqrt", *args))
divide = _of_two(lambda c, builder, s, args: builder.fdiv(*args))
smaller, greater = _of_two(_select("<")), _of_two(_select(">"))


@intrinsic
def load_halves(typingctx: Any, array: Any, first: Any, second: Any) -> Any:
    """Return the half-width of `array` from `first` on, and that from `second` on beside it."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = ir.VectorType(_FLOAT, HALF).as_pointer()
        pair = []
        for k in (1, 2):
            two = signature(sig.return_type, sig.args[0], sig.args[k])
            address = _address(context, builder, two, (args[0], args[k]))
            pair.append(builder.load(builder.bitcast(address, kind), align=4))
        return builder.shuffle_vector(*pair, ir.Constant(_BITS, list(range(WIDTH))))

    return _lanes(array, first, second), codegen


@intrinsic
def store(typingctx: Any, array: Any, index: Any, value: Any) -> Any:
    """Set ``array[index : index + WIDTH]``."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        builder.store(args[2], _pointer(context, builder, sig, args), align=4)
        return context.get_dummy_value()

    return types.void(array, index, _lanes), codegen


@intrinsic
def where_negative(typingctx: Any, x: Any, a: Any, b: Any) -> Any:
    """Return `a` where x < 0, else `b`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        zero = ir.Constant(_VECTOR, [0.0] * WIDTH)
        return builder.select(builder.fcmp_ordered("<", args[0], zero), *args[1:])

    return _lanes(_lanes, _lanes, _lanes), codegen


def _any(sign: str) -> Any:
    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        mask = builder.bitcast(builder.fcmp_ordered(sign, *args), ir.IntType(WIDTH))
        return builder.icmp_unsigned("!=", mask, ir.Constant(ir.IntType(WIDTH), 0))

    return intrinsic(lambda typingctx, a, b: (types.boolean(_lanes, _lanes), codegen))


any_below, any_above = _any("<"), _any(">")


def _fold(combine: Any) -> Any:
    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        # Halves, quarters and so on: the same order everywhere, whatever the machine
        value = args[0]
        for width in (8, 4, 2, 1):
            places = ir.Constant(_BITS, [(k + width) % WIDTH for k in range(WIDTH)])
            value = combine(builder, value, builder.shuffle_vector(value, value, places))
        return builder.extract_element(value, ir.Constant(ir.IntType(32), 0))

    return intrinsic(lambda typingctx, x: (types.float32(_lanes), codegen))


total = _fold(lambda builder, a, b: builder.fadd(a, b))
lowest = _fold(lambda builder, a, b: builder.select(builder.fcmp_ordered("<", a, b), a, b))


def _scale_by_power_of_two(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    """Build value · 2**n, n being the last bits of `power`: they are added to the exponent's."""
    value, power = (builder.bitcast(x, _BITS) for x in args)
    bits = builder.shl(power, ir.Constant(_BITS, [23] * WIDTH))
    return builder.bitcast(builder.add(value, bits), _VECTOR)


def _guess_inverse_root(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    """Build 0x5f375a86 less half of the bits of x: x^(-1/2) to 4% (Lomont 2003)."""
    bits = builder.lshr(builder.bitcast(args[0], _BITS), ir.Constant(_BITS, [1] * WIDTH))
    return builder.bitcast(builder.sub(ir.Constant(_BITS, [0x5F375A86] * WIDTH), bits), _VECTOR)


_near_inverse_root = _of_one(_guess_inverse_root)


@njit(forceinline=True, error_model="numpy")
def inverse_root(x):  # type: ignore[no-untyped-def]
    """Return x^(-1/2) to 3e-7 relative, by three of Newton's steps."""
    y, half = _near_inverse_root(x), splat(_F(-0.5)) * x
    for _ in range(3):
        y = y * (splat(_F(1.5)) + half * y * y)
    return y


_two_to_the = _of_two(_scale_by_power_of_two)
_LOG2E = _F(1.4426950408889634)
_LEAST, _MOST = _F(-86.0), _F(86.0)  # powers of two: nothing so small counts, and none is subnormal
_ROUND = _F(1.5 * 2**23)  # added to a number, it leaves the nearest integer in the last bits
# 2^r for r within ±1/2, to 3e-7: a polynomial fitted for least squares of the relative error
_P = tuple(_F(c) for c in (1.00000007, 0.69314695, 0.24022122, 0.05550743, 0.00967546, 0.0013267))


@njit(forceinline=True, error_model="numpy")
def exp(x):  # type: ignore[no-untyped-def]
    """Return exp(x) to 6e-6 relative, for x within ±59; beyond, its value there."""
    y = smaller(greater(x * splat(_LOG2E), splat(_LEAST)), splat(_MOST))
    shifted = y + splat(_ROUND)
    r = y - (shifted - splat(_ROUND))
    p = splat(_P[5]) * r + splat(_P[4])
    p = p * r + splat(_P[3])
    p = p * r + splat(_P[2])
    p = p * r + splat(_P[1])
    p = p * r + splat(_P[0])
    return _two_to_the(p, shifted)
