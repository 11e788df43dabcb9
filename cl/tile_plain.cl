/*
 * tile_plain - no engine: one lane owns whole fragments of one query, in plain OpenCL C.
 *
 * For tests of the main loop, on any device.  See tile.cl for what an engine gives.
 */
#define TILE_LANES 1
#define TILE_QUERIES 1
#define TILE_OTHERS 16
#define TILE_LEFT 16
#define TILE_RIGHT 256
#define TILE_ACC 16
#define TILE_SLOTS 1
#define TILE_SHARE 0
#define TILE_COPIES 0
#define TILE_HALVES 0
#define TILE_ATTRIBUTES

/* It runs where arrays have no place in registers: loops over them stay loops. */
#undef TILE_UNROLL
#define TILE_UNROLL

INLINE int tile_left_query(int lane, int e) {
    (void)lane;
    (void)e;
    return 0;
}

INLINE int tile_left_depth(int lane, int e) {
    (void)lane;
    return e;
}

INLINE int tile_right_other(int lane, int e) {
    (void)lane;
    return e / 16;
}

INLINE int tile_right_depth(int lane, int e) {
    (void)lane;
    return e % 16;
}

INLINE int tile_acc_query(int lane, int e) {
    (void)lane;
    (void)e;
    return 0;
}

INLINE int tile_acc_other(int lane, int e) {
    (void)lane;
    return e;
}

INLINE int tile_acc_slot(int e) {
    (void)e;
    return 0;
}

INLINE uint tile_pack(float low, float high) {
    return narrow(low) | (uint)narrow(high) << 16;
}

INLINE float tile_exchange(float x, const int bits, struct tile_wave w) {
    (void)bits;
    (void)w;
    return x;
}

INLINE void tile_multiply(float *acc, const uint *left, const uint *right, struct tile_wave w) {
    (void)w;
    for (int other = 0; other < 16; other++) {
        float sum = acc[other];
        for (int k = 0; k < 8; k++) {
            const uint a = left[k], b = right[other * 8 + k];
            sum = fma(widen((ushort)a), widen((ushort)b), sum);
            sum = fma(widen((ushort)(a >> 16)), widen((ushort)(b >> 16)), sum);
        }
        acc[other] = sum;
    }
}

INLINE void tile_weights(uint *left, const float s[TILE_SPLIT][TILE_ACC], struct tile_wave w) {
    (void)w;
    for (int k = 0; k < 8; k++) {
        left[k] = tile_pack(s[0][2 * k], s[0][2 * k + 1]);
    }
}
