/*
 * engine_plain - no engine: one lane owns whole fragments of one query, in plain OpenCL C.
 *
 * For tests of the main loop, on any device.  See engine.cl for what an engine gives.
 */
#define ENGINE_LANES 1
#define ENGINE_QUERIES 1
#define ENGINE_OTHERS 16
#define ENGINE_LEFT 16
#define ENGINE_RIGHT 256
#define ENGINE_ACC 16
#define ENGINE_SLOTS 1
#define ENGINE_SHARE 0
#define ENGINE_COPIES 0
#define ENGINE_HALVES 0
#define ENGINE_ATTRIBUTES

/* It runs where arrays have no place in registers: loops over them stay loops. */
#undef ENGINE_UNROLL
#define ENGINE_UNROLL

INLINE int engine_left_query(int lane, int e) {
    (void)lane;
    (void)e;
    return 0;
}

INLINE int engine_left_depth(int lane, int e) {
    (void)lane;
    return e;
}

INLINE int engine_right_other(int lane, int e) {
    (void)lane;
    return e / 16;
}

INLINE int engine_right_depth(int lane, int e) {
    (void)lane;
    return e % 16;
}

INLINE int engine_acc_query(int lane, int e) {
    (void)lane;
    (void)e;
    return 0;
}

INLINE int engine_acc_other(int lane, int e) {
    (void)lane;
    return e;
}

INLINE int engine_acc_slot(int e) {
    (void)e;
    return 0;
}

INLINE uint engine_pack(float low, float high) {
    return narrow(low, TYPE) | (uint)narrow(high, TYPE) << 16;
}

INLINE float engine_exchange(float x, const int bits, struct engine_wave w) {
    (void)bits;
    (void)w;
    return x;
}

INLINE void engine_multiply(float *acc, const uint *left, const uint *right, struct engine_wave w) {
    (void)w;
    for (int other = 0; other < 16; other++) {
        float sum = acc[other];
        for (int k = 0; k < 8; k++) {
            const uint a = left[k], b = right[other * 8 + k];
            sum = fma(widen((ushort)a, TYPE), widen((ushort)b, TYPE), sum);
            sum = fma(widen((ushort)(a >> 16), TYPE), widen((ushort)(b >> 16), TYPE), sum);
        }
        acc[other] = sum;
    }
}

INLINE void engine_weights(uint *left, const float s[ENGINE_SPLIT][ENGINE_ACC],
                           struct engine_wave w) {
    (void)w;
    for (int k = 0; k < 8; k++) {
        left[k] = engine_pack(s[0][2 * k], s[0][2 * k + 1]);
    }
}
