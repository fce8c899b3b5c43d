/* CUDA's built-in functions that the kernel sources use, as overloads on the host compiler's built-ins. */
#pragma once

#define CUDA_HOST_1(name)                                                                                             \
    inline float name(float x) { return __builtin_##name##f(x); }                                                     \
    inline double name(double x) { return __builtin_##name(x); }
#define CUDA_HOST_2(name)                                                                                             \
    inline float name(float x, float y) { return __builtin_##name##f(x, y); }                                         \
    inline double name(double x, double y) { return __builtin_##name(x, y); }
CUDA_HOST_1(acos) CUDA_HOST_1(acosh) CUDA_HOST_1(asin) CUDA_HOST_1(asinh) CUDA_HOST_1(atan) CUDA_HOST_1(atanh)
CUDA_HOST_1(cbrt) CUDA_HOST_1(ceil) CUDA_HOST_1(cos) CUDA_HOST_1(cosh) CUDA_HOST_1(erf) CUDA_HOST_1(erfc)
CUDA_HOST_1(exp) CUDA_HOST_1(exp2) CUDA_HOST_1(expm1) CUDA_HOST_1(fabs) CUDA_HOST_1(floor) CUDA_HOST_1(log)
CUDA_HOST_1(log10) CUDA_HOST_1(log1p) CUDA_HOST_1(log2) CUDA_HOST_1(rint) CUDA_HOST_1(round) CUDA_HOST_1(sin)
CUDA_HOST_1(sinh) CUDA_HOST_1(sqrt) CUDA_HOST_1(tan) CUDA_HOST_1(tanh) CUDA_HOST_1(tgamma) CUDA_HOST_1(trunc)
CUDA_HOST_2(atan2) CUDA_HOST_2(copysign) CUDA_HOST_2(fmax) CUDA_HOST_2(fmin) CUDA_HOST_2(fmod) CUDA_HOST_2(hypot)
CUDA_HOST_2(pow)
inline float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline double fma(double a, double b, double c) { return __builtin_fma(a, b, c); }
inline float rsqrt(float x) { return 1.0f / __builtin_sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / __builtin_sqrt(x); }

#define CUDA_HOST_MIN_MAX(T)                                                                                          \
    inline T min(T a, T b) { return b < a ? b : a; }                                                                  \
    inline T max(T a, T b) { return a < b ? b : a; }
CUDA_HOST_MIN_MAX(int) CUDA_HOST_MIN_MAX(unsigned) CUDA_HOST_MIN_MAX(long) CUDA_HOST_MIN_MAX(unsigned long)
inline float min(float a, float b) { return __builtin_fminf(a, b); }
inline float max(float a, float b) { return __builtin_fmaxf(a, b); }
inline double min(double a, double b) { return __builtin_fmin(a, b); }
inline double max(double a, double b) { return __builtin_fmax(a, b); }

template <class To, class From> inline To cuda_host_bits(From from) {
    static_assert(sizeof(To) == sizeof(From), "same size");
    To to;
    __builtin_memcpy(&to, &from, sizeof(to));
    return to;
}
inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((unsigned long)a * b >> 32); }
inline unsigned __float_as_uint(float x) { return cuda_host_bits<unsigned>(x); }
inline int __float_as_int(float x) { return cuda_host_bits<int>(x); }
inline float __uint_as_float(unsigned x) { return cuda_host_bits<float>(x); }
inline float __int_as_float(int x) { return cuda_host_bits<float>(x); }
inline long long __double_as_longlong(double x) { return cuda_host_bits<long long>(x); }
inline double __longlong_as_double(long long x) { return cuda_host_bits<double>(x); }
