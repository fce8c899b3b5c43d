/* Element types of at most eight bits: the same text for both languages, and for vectors.
 *
 * A floating format has m bits of mantissa, an exponent with the given bias and a sign bit; every element lies in the low
 * bits of a byte of its own.  What is special differs: KIND 0 has no infinity and no NaN (what is too large becomes the
 * largest number, NaN becomes -0), 1 a NaN where all bits are set, 2 infinities and NaNs as IEEE 754 has them, 3 one NaN
 * where -0 would be.  Numbers round to nearest even; where 1 and 3 overflow they give NaN.
 *
 * A_LOW_BITS(F, I, AS_FLOAT, AS_INT, TO_FLOAT) defines the conversions for a float type and its integer twin. */
#define A_LOW_BITS(F, I, AS_FLOAT, AS_INT, TO_FLOAT)                                                          \
    A_OVER F a_low_decode(I code, int m, int bias, int sign, int kind) {                                      \
        const I rest = code & (I)(sign - 1), high = (code & (I)(sign)) != (I)(0) ? (I)(-2147483647 - 1) : (I)(0);  \
        const F tiny = TO_FLOAT(rest) * (F)(a_bits_to_float((uint)(128 - bias - m) << 23));                   \
        const I normal = (rest << (23 - m)) + (I)((127 - bias) << 23);                                        \
        I bits = (rest < (I)(1 << m)) ? AS_INT(tiny) : normal;                                                \
        if (kind == 1) bits = (rest == (I)(sign - 1)) ? (I)(0x7fc00000) : bits;                               \
        if (kind == 2) {                                                                                      \
            bits = (rest == (I)(sign - (1 << m))) ? (I)(0x7f800000) : bits;                                   \
            bits = (rest > (I)(sign - (1 << m))) ? (I)(0x7fc00000) : bits;                                    \
        }                                                                                                     \
        if (kind == 3) bits = ((code & (I)(2 * sign - 1)) == (I)(sign)) ? (I)(0x7fc00000) : bits;             \
        return AS_FLOAT(bits | high);                                                                         \
    }                                                                                                         \
    A_OVER I a_low_encode(F x, int m, int bias, int sign, int kind) {                                         \
        const I bits = AS_INT(x), rest = bits & (I)(0x7fffffff), high = bits < (I)(0) ? (I)(sign) : (I)(0);   \
        const I even = (rest >> (23 - m)) & (I)(1);                                                           \
        const I normal = ((rest + (I)((1 << (22 - m)) - 1) + even) >> (23 - m)) - (I)((127 - bias) << m);     \
        /* adding 2^(24 - bias - m) leaves the rounded multiple of the smallest number in the low bits */     \
        const int one = (151 - bias - m) << 23;                                                               \
        const I tiny = AS_INT(AS_FLOAT(rest) + (F)(a_bits_to_float((uint)one))) - (I)(one);                   \
        I code = (rest < (I)((128 - bias) << 23)) ? tiny : normal;                                            \
        const int top = kind == 1 ? sign - 2 : (kind == 2 ? sign - (1 << m) - 1 : sign - 1);                  \
        const int beyond = kind == 2 ? top + 1 : (kind == 3 ? sign : sign - 1);                               \
        const int none = kind == 0 || kind == 3 ? sign : (kind == 1 ? sign - 1 : sign - (1 << (m - 1)));      \
        code = (code > (I)(top)) ? (I)(beyond) : code;                                                        \
        code = (kind == 3) ? ((code == (I)(0)) ? code : (code | high)) : (code | high);                       \
        return (rest > (I)(0x7f800000)) ? ((kind == 1 || kind == 2) ? ((I)(none) | high) : (I)(none)) : code; \
    }                                                                                                         \
    /* powers of two from 2^-127 on, and NaN; halves round up */                                              \
    A_OVER F a_low_decode_power(I code) {                                                                     \
        I bits = (code == (I)(0)) ? (I)(0x400000) : (code << 23);                                             \
        return AS_FLOAT((code == (I)(255)) ? (I)(0x7fc00000) : bits);                                         \
    }                                                                                                         \
    A_OVER I a_low_encode_power(F x) {                                                                        \
        const I bits = AS_INT(x);                                                                             \
        const I code = (bits > (I)(0x400000)) ? ((bits + (I)(0x400000)) >> 23) : (I)(0);                      \
        return ((bits <= (I)(0)) || (bits >= (I)(0x7f400000))) ? (I)(255) : code;                             \
    }

#define a_from_f8e4m3fn(u) a_low_decode(u, 3, 7, 128, 1)
#define a_from_f8e4m3fnuz(u) a_low_decode(u, 3, 8, 128, 3)
#define a_from_f8e5m2(u) a_low_decode(u, 2, 15, 128, 2)
#define a_from_f8e5m2fnuz(u) a_low_decode(u, 2, 16, 128, 3)
#define a_from_f8e8m0(u) a_low_decode_power(u)
#define a_from_f6e2m3(u) a_low_decode(u, 3, 1, 32, 0)
#define a_from_f6e3m2(u) a_low_decode(u, 2, 3, 32, 0)
#define a_from_f4e2m1(u) a_low_decode(u, 1, 1, 8, 0)

#define a_to_f8e4m3fn(x) a_low_encode(x, 3, 7, 128, 1)
#define a_to_f8e4m3fnuz(x) a_low_encode(x, 3, 8, 128, 3)
#define a_to_f8e5m2(x) a_low_encode(x, 2, 15, 128, 2)
#define a_to_f8e5m2fnuz(x) a_low_encode(x, 2, 16, 128, 3)
#define a_to_f8e8m0(x) a_low_encode_power(x)
#define a_to_f6e2m3(x) a_low_encode(x, 3, 1, 32, 0)
#define a_to_f6e3m2(x) a_low_encode(x, 2, 3, 32, 0)
#define a_to_f4e2m1(x) a_low_encode(x, 1, 1, 8, 0)

#define a_round_f8e4m3fn(x) a_from_f8e4m3fn(a_to_f8e4m3fn(x))
#define a_round_f8e4m3fnuz(x) a_from_f8e4m3fnuz(a_to_f8e4m3fnuz(x))
#define a_round_f8e5m2(x) a_from_f8e5m2(a_to_f8e5m2(x))
#define a_round_f8e5m2fnuz(x) a_from_f8e5m2fnuz(a_to_f8e5m2fnuz(x))
#define a_round_f8e8m0(x) a_from_f8e8m0(a_to_f8e8m0(x))
#define a_round_f6e2m3(x) a_from_f6e2m3(a_to_f6e2m3(x))
#define a_round_f6e3m2(x) a_from_f6e3m2(a_to_f6e3m2(x))
#define a_round_f4e2m1(x) a_from_f4e2m1(a_to_f4e2m1(x))

/* integers modulo a power of two; an int or uint (or vector) stays one */
#define a_wrap_i4(x) (((x) << 28) >> 28)
#define a_wrap_u4(x) ((x) & 15u)
#define a_wrap_i2(x) (((x) << 30) >> 30)
#define a_wrap_u2(x) ((x) & 3u)

#define load_f8e4m3fn(p, i) a_from_f8e4m3fn((int)(p)[i])
#define load_f8e4m3fnuz(p, i) a_from_f8e4m3fnuz((int)(p)[i])
#define load_f8e5m2(p, i) a_from_f8e5m2((int)(p)[i])
#define load_f8e5m2fnuz(p, i) a_from_f8e5m2fnuz((int)(p)[i])
#define load_f8e8m0(p, i) a_from_f8e8m0((int)(p)[i])
#define load_f6e2m3(p, i) a_from_f6e2m3((int)(p)[i])
#define load_f6e3m2(p, i) a_from_f6e3m2((int)(p)[i])
#define load_f4e2m1(p, i) a_from_f4e2m1((int)(p)[i])
#define load_i4(p, i) a_wrap_i4((int)(p)[i])
#define load_u4(p, i) a_wrap_u4((uint)(p)[i])
#define load_i2(p, i) a_wrap_i2((int)(p)[i])
#define load_u2(p, i) a_wrap_u2((uint)(p)[i])

#define store_f8e4m3fn(p, i, v) ((p)[i] = (uchar)a_to_f8e4m3fn(v))
#define store_f8e4m3fnuz(p, i, v) ((p)[i] = (uchar)a_to_f8e4m3fnuz(v))
#define store_f8e5m2(p, i, v) ((p)[i] = (uchar)a_to_f8e5m2(v))
#define store_f8e5m2fnuz(p, i, v) ((p)[i] = (uchar)a_to_f8e5m2fnuz(v))
#define store_f8e8m0(p, i, v) ((p)[i] = (uchar)a_to_f8e8m0(v))
#define store_f6e2m3(p, i, v) ((p)[i] = (uchar)a_to_f6e2m3(v))
#define store_f6e3m2(p, i, v) ((p)[i] = (uchar)a_to_f6e3m2(v))
#define store_f4e2m1(p, i, v) ((p)[i] = (uchar)a_to_f4e2m1(v))
#define store_i4(p, i, v) ((p)[i] = (uchar)((v) & 15))
#define store_u4(p, i, v) ((p)[i] = (uchar)((v) & 15u))
#define store_i2(p, i, v) ((p)[i] = (uchar)((v) & 3))
#define store_u2(p, i, v) ((p)[i] = (uchar)((v) & 3u))
