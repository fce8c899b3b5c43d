/* wgmma: each warp computes its 16 rows of the warpgroup's 64.  In a late launch it reads tiles in shared memory and
 * writes d only at the wait; until then d is NaN.  A in registers is read at issue. */
#pragma once

namespace cuda_host {

enum Kind { F16, BF16, TF32 };
struct Accumulator {
    float *d[32]; /* of each lane */
    unsigned n, pending;
    float values[32][128];
};
struct Product {
    bool commit, done, accumulate, a_in_registers, trans_a, trans_b;
    Kind kind;
    unsigned n, accumulator;
    unsigned long a, b;
    unsigned registers[32][4];
    int line;
};
enum { WARPS = MOST_THREADS / 32 };
static List<Product> products[WARPS];
static List<Accumulator> accumulators[WARPS];
static unsigned issued[WARPS];
static bool fenced[WARPS];

/* ---- operands in shared memory ---- */
struct Operand {
    unsigned start, leading, stride, swizzle;
};
inline Operand decode(unsigned long descriptor, const char *name, int line) {
    static const unsigned char bytes[] = {0, 128, 64, 32};
    Operand o = {(unsigned)(descriptor & 0x3fff) << 4, (unsigned)(descriptor >> 16 & 0x3fff) << 4,
                 (unsigned)(descriptor >> 32 & 0x3fff) << 4, bytes[descriptor >> 62]};
    if (o.swizzle && o.start % (8 * o.swizzle) >= o.swizzle)
        fail(line, "wgmma: tile %s is swizzled by %u bytes and starts at %#x, inside a pattern of %u bytes", name,
             o.swizzle, o.start, 8 * o.swizzle);
    return o;
}
/* The bits of the element at (x along M or N, k). */
inline unsigned element(const Operand &o, unsigned x, unsigned k, unsigned size, bool transposed, const char *name,
                        int line) {
    unsigned address = o.start;
    if (!transposed && o.swizzle)
        address += x / 8 * o.stride + x % 8 * o.swizzle + k * size;
    else if (!transposed)
        address += x / 8 * o.stride + x % 8 * 16 + k * size / 16 * o.leading + k * size % 16;
    else if (o.swizzle)
        address += x * size / o.swizzle * o.leading + x * size % o.swizzle + k / 8 * o.stride + k % 8 * o.swizzle;
    else
        address += x / 8 * o.stride + x % 8 * size + k / 8 * o.leading + k % 8 * 16;
    const unsigned char *at = from_shared(swizzled(address, o.swizzle), size);
    if (!at) fail(line, "wgmma: tile %s reaches shared address %#x, which the block does not have", name, address);
    unsigned bits = 0;
    __builtin_memcpy(&bits, at, size);
    return bits;
}
inline float value_of(Kind kind, unsigned bits) {
    return kind == F16 ? f16_value(bits) : kind == BF16 ? bf16_value(bits) : tf32_value(bits);
}

static void perform(const Product &p, unsigned first) {
    const unsigned warp = first / 32, depth = p.kind == TF32 ? 8 : 16, size = p.kind == TF32 ? 4 : 2;
    Accumulator &d = accumulators[warp].items[p.accumulator];
    float a[16][16];
    if (p.a_in_registers) {
        for (unsigned lane = 0; lane < 32; lane++)
            for (unsigned r = 0; r < 4; r++)
                for (unsigned h = 0; h < 2; h++)
                    a[lane / 4 + r % 2 * 8][lane % 4 * 2 + r / 2 * 8 + h] =
                        value_of(p.kind, p.registers[lane][r] >> 16 * h & 0xffffu);
    } else {
        const Operand o = decode(p.a, "A", p.line);
        for (unsigned i = 0; i < 16; i++)
            for (unsigned k = 0; k < depth; k++)
                a[i][k] = value_of(p.kind, element(o, warp % 4 * 16 + i, k, size, p.trans_a, "A", p.line));
    }
    const Operand o = decode(p.b, "B", p.line);
    for (unsigned j = 0; j < p.n; j += 8) {
        float8 b[16];
        for (unsigned k = 0; k < depth; k++)
            for (unsigned c = 0; c < 8; c++)
                b[k][c] = value_of(p.kind, element(o, j + c, k, size, p.trans_b, "B", p.line));
        for (unsigned i = 0; i < 16; i++) {
            float8 sum = {};
            const unsigned lane = i % 8 * 4, r = j / 2 + i / 8 * 2;
            for (unsigned c = 0; p.accumulate && c < 8; c++) sum[c] = d.values[lane + c / 2][r + c % 2];
            for (unsigned k = 0; k < depth; k++) sum += a[i][k] * b[k];
            for (unsigned c = 0; c < 8; c++) d.values[lane + c / 2][r + c % 2] = sum[c];
        }
    }
}
static void retire(Product &p, unsigned first) {
    if (p.commit || p.done) return;
    perform(p, first);
    p.done = true;
    Accumulator &d = accumulators[first / 32].items[p.accumulator];
    if (--d.pending == 0)
        for (unsigned lane = 0; lane < 32; lane++) __builtin_memcpy(d.d[lane], d.values[lane], d.n / 2 * sizeof(float));
}
/* The warp's accumulator that d belongs to while products into it are under way, or a new one. */
static unsigned find_accumulator(float *d, unsigned n, unsigned first, int line) {
    List<Accumulator> &list = accumulators[first / 32];
    unsigned unused = list.count;
    for (unsigned i = 0; i < list.count; i++) {
        const Accumulator &have = list.items[i];
        if (!have.pending) {
            unused = i;
        } else if (have.d[0] == d) {
            if (have.n != n) fail(line, "wgmma: a product of another shape into the same registers is under way");
            return i;
        }
    }
    if (unused == list.count) list.more();
    Accumulator &fresh = list.items[unused];
    fresh.n = n;
    fresh.pending = 0;
    for (unsigned lane = 0; lane < 32; lane++) {
        fresh.d[lane] = (float *)fibers[first + lane].out;
        __builtin_memcpy(fresh.values[lane], fresh.d[lane], n / 2 * sizeof(float));
        if (late()) __builtin_memset(fresh.d[lane], 0xff, n / 2 * sizeof(float));
    }
    return unused;
}
static void issue(Product p, float *d, const unsigned *registers, const char *what, int line) {
    Fiber &self = fibers[current];
    self.in[0] = registers ? registers : (const unsigned *)p.a;
    self.in[1] = (const void *)p.b;
    self.out = d;
    p.line = line;
    p.a_in_registers = registers != nullptr;
    together(what, line, [&](unsigned first) {
        const unsigned warp = first / 32;
        if (!fenced[warp]) fail(line, "%s: no wgmma_fence came before", what);
        for (unsigned lane = 0; lane < 32; lane++) {
            const Fiber &f = fibers[first + lane];
            if (f.in[1] != fibers[first].in[1] || (!registers && f.in[0] != fibers[first].in[0]))
                fail(line, "%s: the lanes of a warp have different descriptors", what);
            if (registers) __builtin_memcpy(p.registers[lane], f.in[0], sizeof(p.registers[lane]));
        }
        issued[warp]++;
        p.accumulator = find_accumulator((float *)fibers[first].out, p.n, first, line);
        accumulators[warp].items[p.accumulator].pending++;
        products[warp].add(p);
        if (!late()) retire(products[warp].items[products[warp].count - 1], first);
    });
}
static void commit(int line) {
    together("wgmma_commit", line, [=](unsigned first) {
        Product mark = {};
        mark.commit = true;
        mark.line = line;
        products[first / 32].add(mark);
    });
}
static void wait_for_products(unsigned groups, int line) {
    together("wgmma_wait", line, [=](unsigned first) {
        List<Product> &list = products[first / 32];
        unsigned last = list.count;
        for (unsigned seen = 0; last > 0; last--)
            if (list.items[last - 1].commit && seen++ == groups) break;
        for (unsigned i = 0; i < last; i++) retire(list.items[i], first);
        list.drop_first(last);
    });
}

static void products_begin() {
    for (unsigned i = 0; i < WARPS; i++) {
        products[i].count = accumulators[i].count = issued[i] = 0;
        fenced[i] = false;
    }
}
static void products_thread_ends() {
    const List<Product> &list = products[current / 32];
    for (unsigned i = 0; i < list.count; i++)
        if (!list.items[i].commit) fail(list.items[i].line, "wgmma: the thread ends without a wgmma_wait for it");
}
static void products_end() {
    for (unsigned i = 0; i < WARPS; i++)
        if (issued[i] != issued[i / 4 * 4])
            return fail(0, "wgmma: warps %u and %u of one warpgroup take part in %u and %u products", i / 4 * 4, i,
                        issued[i / 4 * 4], issued[i]);
}
static int product_hooks = add_hooks({products_begin, products_thread_ends, nullptr, products_end});

}  // namespace cuda_host

inline unsigned long wgmma_descriptor(const void *shared, unsigned leading_bytes, unsigned stride_bytes, int swizzle,
                                      int line = __builtin_LINE()) {
    cuda_host::check_shared(shared, 16, 16, "wgmma_descriptor", line);
    if (leading_bytes % 16 || stride_bytes % 16 || leading_bytes >= 1 << 18 || stride_bytes >= 1 << 18)
        cuda_host::fail(line, "wgmma_descriptor: strides of %u and %u bytes", leading_bytes, stride_bytes);
    if (swizzle != 0 && swizzle != 32 && swizzle != 64 && swizzle != 128)
        cuda_host::fail(line, "wgmma_descriptor: a swizzle of %d bytes", swizzle);
    const unsigned long mode = swizzle == 128 ? 1 : swizzle == 64 ? 2 : swizzle == 32 ? 3 : 0;
    return cuda_host::shared_address(shared) >> 4 | (unsigned long)(leading_bytes >> 4) << 16 |
           (unsigned long)(stride_bytes >> 4) << 32 | mode << 62;
}
inline void wgmma_fence(int line = __builtin_LINE()) {
    cuda_host::together("wgmma_fence", line, [](unsigned first) { cuda_host::fenced[first / 32] = true; });
}
inline void wgmma_commit(int line = __builtin_LINE()) { cuda_host::commit(line); }
template <int N> inline void wgmma_wait(int line = __builtin_LINE()) { cuda_host::wait_for_products(N, line); }
template <int COUNT> inline void wgmma_hold(float *) {}

#define CUDA_HOST_WGMMA(name, TYPE)                                                                                   \
    template <int N, int TRANS_B = 0, int TRANS_A = 0>                                                                \
    inline void wgmma_##name(float *d, unsigned long a, unsigned long b, bool accumulate,                             \
                             int line = __builtin_LINE()) {                                                           \
        static_assert(N % 8 == 0 && N >= 8 && N <= 256, "wgmma has 8 to 256 columns in steps of 8");                  \
        static_assert(cuda_host::TYPE != cuda_host::TF32 || !(TRANS_A || TRANS_B), "tf32 tiles are K-major");         \
        cuda_host::Product p = {};                                                                                    \
        p.accumulate = accumulate, p.trans_a = TRANS_A, p.trans_b = TRANS_B, p.kind = cuda_host::TYPE, p.n = N;       \
        p.a = a, p.b = b;                                                                                             \
        cuda_host::issue(p, d, nullptr, "wgmma_" #name, line);                                                        \
    }
#define CUDA_HOST_WGMMA_RA(name, TYPE)                                                                                \
    template <int N, int TRANS_B = 0>                                                                                 \
    inline void wgmma_ra_##name(float *d, const unsigned *a, unsigned long b, bool accumulate,                        \
                                int line = __builtin_LINE()) {                                                        \
        static_assert(N % 8 == 0 && N >= 8 && N <= 256, "wgmma has 8 to 256 columns in steps of 8");                  \
        cuda_host::Product p = {};                                                                                    \
        p.accumulate = accumulate, p.trans_b = TRANS_B, p.kind = cuda_host::TYPE, p.n = N, p.b = b;                   \
        cuda_host::issue(p, d, a, "wgmma_ra_" #name, line);                                                           \
    }
CUDA_HOST_WGMMA(f16, F16) CUDA_HOST_WGMMA(bf16, BF16) CUDA_HOST_WGMMA(tf32, TF32)
CUDA_HOST_WGMMA_RA(f16, F16) CUDA_HOST_WGMMA_RA(bf16, BF16)
