/*
 * tile_move - fragments and tiles on their way, for every engine; see tile.cl.
 */
#ifndef TILE_FAST_LEFT
#define TILE_FAST_LEFT 0
#endif
#ifndef TILE_FAST_ROWS
#define TILE_FAST_ROWS 0
#endif
#ifndef TILE_FAST_COLUMNS
#define TILE_FAST_COLUMNS 0
#endif
#ifndef TILE_FAST_COPY
#define TILE_FAST_COPY 0
#endif
#ifndef TILE_SETTLE
#define TILE_SETTLE(x)
#endif

/* A row of a tile in local memory is this much longer than its contents: rows then begin 16
 * bytes apart modulo 32 (their lengths are multiples of 16 elements), so 8 of them, read 16
 * bytes each, touch every bank once. */
#define TILE_PAD 8

#if EMULATED
#define TILE_SCRATCH (TILE_LANES * (TILE_LEFT + TILE_RIGHT)) /* floats of a wave */

INLINE float emulated_element(const uint *operand, int e) {
    return widen((ushort)(operand[e / 2] >> (e % 2 * 16)));
}

/* All lanes show their operands; each finds the elements of acc that the vendor's map gives it. */
INLINE void tile_multiply(float *acc, const uint *left, const uint *right, struct tile_wave w) {
    __local float *lefts = w.scratch, *rights = w.scratch + TILE_LANES * TILE_LEFT;
    for (int e = 0; e < TILE_LEFT; e++) {
        lefts[w.lane * TILE_LEFT + e] = emulated_element(left, e);
    }
    for (int e = 0; e < TILE_RIGHT; e++) {
        rights[w.lane * TILE_RIGHT + e] = emulated_element(right, e);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    int copies = 1;
    for (int e = 0; TILE_COPIES && e < TILE_LEFT; e++) {
        copies &= as_int(lefts[w.lane * TILE_LEFT + e]) ==
                  as_int(lefts[(w.lane ^ TILE_COPIES) * TILE_LEFT + e]);
    }
    for (int e = 0; TILE_COPIES && e < TILE_RIGHT; e++) {
        copies &= as_int(rights[w.lane * TILE_RIGHT + e]) ==
                  as_int(rights[(w.lane ^ TILE_COPIES) * TILE_RIGHT + e]);
    }
    for (int query = 0; query < TILE_QUERIES; query++) {
        for (int other = 0; other < TILE_OTHERS; other++) {
            if (emulated_acc_lane(query, other) == w.lane) {
                const int e = emulated_acc_element(query, other);
                float sum = 0.0f;
                for (int depth = 0; depth < 16; depth++) {
                    const int at = emulated_left_lane(query, depth) * TILE_LEFT +
                                   emulated_left_element(query, depth);
                    const int to = emulated_right_lane(other, depth) * TILE_RIGHT +
                                   emulated_right_element(other, depth);
                    sum = fma(lefts[at], rights[to], sum);
                }
                acc[e] = copies ? acc[e] + sum : NAN;
            }
        }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
}
#else
#define TILE_SCRATCH 1
#endif

/* ---- From local memory: tile points to the fragment's first element ---- */

INLINE uint tile_two(__local const element *tile, int first, int second) {
    return tile[first] | (uint)tile[second] << 16;
}

/* Rows of the tile are queries. */
INLINE void tile_load_left(uint *left, __local const element *tile, const int stride, int lane) {
#if TILE_FAST_LEFT && FAST_LOADS
    tile_fast_left(left, tile, stride, lane);
#else
    TILE_UNROLL
    for (int e = 0; e < TILE_LEFT; e += 2) {
        left[e / 2] =
            tile_two(tile, tile_left_query(lane, e) * stride + tile_left_depth(lane, e),
                     tile_left_query(lane, e + 1) * stride + tile_left_depth(lane, e + 1));
    }
#endif
}

/* 16 others; rows of the tile are others (K). */
INLINE void tile_load_rows(uint right[TILE_SPLIT][TILE_RIGHT / 2], __local const element *tile,
                           const int stride, int lane) {
#if TILE_FAST_ROWS && FAST_LOADS
    tile_fast_rows(right, tile, stride, lane);
#else
    TILE_UNROLL
    for (int f = 0; f < TILE_SPLIT; f++) {
        __local const element *at = tile + f * TILE_OTHERS * stride;
        TILE_UNROLL
        for (int e = 0; e < TILE_RIGHT; e += 2) {
            right[f][e / 2] =
                tile_two(at, tile_right_other(lane, e) * stride + tile_right_depth(lane, e),
                         tile_right_other(lane, e + 1) * stride + tile_right_depth(lane, e + 1));
        }
    }
#endif
}

/* 16 others; columns of the tile are others (V). */
INLINE void tile_load_columns(uint right[TILE_SPLIT][TILE_RIGHT / 2], __local const element *tile,
                              const int stride, int lane) {
#if TILE_FAST_COLUMNS && FAST_LOADS
    tile_fast_columns(right, tile, stride, lane);
#else
    TILE_UNROLL
    for (int f = 0; f < TILE_SPLIT; f++) {
        __local const element *at = tile + f * TILE_OTHERS;
        TILE_UNROLL
        for (int e = 0; e < TILE_RIGHT; e += 2) {
            right[f][e / 2] =
                tile_two(at, tile_right_depth(lane, e) * stride + tile_right_other(lane, e),
                         tile_right_depth(lane, e + 1) * stride + tile_right_other(lane, e + 1));
        }
    }
#endif
}

/* ---- Between the lanes that share a query ---- */

/* One bit of TILE_SHARE after the other, without a branch: PoCL copies everything that follows
 * a branch with barriers in it, and tile_exchange has some when emulated. */
INLINE float tile_max(float x, struct tile_wave w) {
    TILE_UNROLL
    for (int bits = TILE_SHARE; bits; bits &= bits - 1) {
        x = state_max(x, tile_exchange(x, bits & -bits, w));
    }
    return x;
}

INLINE float tile_sum(float x, struct tile_wave w) {
    TILE_UNROLL
    for (int bits = TILE_SHARE; bits; bits &= bits - 1) {
        x += tile_exchange(x, bits & -bits, w);
    }
    return x;
}

/* ---- From global memory to local memory ---- */

#if !(TILE_FAST_COPY && FAST_LOADS)
/* The first count (0 to 8) of eight elements, the others 0; both ends at multiples of 16 bytes. */
INLINE void tile_copy8_plain(__local element *to, __global const element *from, int count) {
    ushort8 x = (ushort8)(0);
    if (count == 8) {
        x = *(__global const ushort8 *)from;
    } else {
        ushort part[8];
        for (int i = 0; i < 8; i++) {
            part[i] = i < count ? from[i] : (ushort)0;
        }
        x = vload8(0, part);
    }
    *(__local ushort8 *)to = x;
}
#define tile_copy8 tile_copy8_plain
#define tile_copied()
#endif

/*
 * Work-items move chunks of eight elements, the i-th of each work-item `THREADS` after the
 * last.  False past the end of the tile.  Where it can, a work-item stays in its column: the
 * compiler then adds constants, instead of dividing for each chunk.
 */
#define TILE_CHUNKS(rows, width) (((rows) * ((width) / 8) + THREADS - 1) / THREADS)
#define TILE_STEP(width) (THREADS / ((width) / 8)) /* rows between a work-item's chunks, if so */
#define TILE_STAYS(rows, width) \
    (THREADS % ((width) / 8) == 0 && (rows) * ((width) / 8) % THREADS == 0)

INLINE int tile_chunk(int i, const int rows, const int width, int *row, int *d) {
    const uint me = (uint)get_local_id(0);
    if (TILE_STAYS(rows, width)) {
        *row = (int)(me / (width / 8)) + i * TILE_STEP(width);
        *d = (int)(me % (width / 8) * 8);
        return 1;
    }
    const uint at = me + (uint)i * THREADS;
    *row = (int)(at / (width / 8));
    *d = (int)(at % (width / 8) * 8);
    return at < (uint)(rows * (width / 8));
}

/* Rows `first` ... first + rows - 1 (past `last`: the last one again), dim elements each and zeros
 * up to width, to a tile whose rows are row_length + TILE_PAD apart.  To be awaited by
 * tile_copied() and a barrier. */
INLINE void tile_copy(__local element *tile, __global const element *from, long stride, int first,
                      int last, const int rows, const int dim, const int width,
                      const int row_length, int aligned) {
    if (aligned && first + rows - 1 <= last) {
        int row0, d0;
        tile_chunk(0, rows, width, &row0, &d0);
        __global const element *p = from + (first + row0) * stride + d0;
        TILE_UNROLL
        for (int i = 0; i < TILE_CHUNKS(rows, width); i++) {
            int row, d;
            if (tile_chunk(i, rows, width, &row, &d)) {
                const int count = dim == width ? 8 : min(8, max(0, dim - d));
                if (!TILE_STAYS(rows, width)) {
                    p = from + (first + row) * stride + d;
                }
                tile_copy8(tile + row * (row_length + TILE_PAD) + d, count ? p : from, count);
                p += TILE_STEP(width) * stride;
            }
        }
        return;
    }
    ROLL
    for (int i = 0; i < TILE_CHUNKS(rows, width); i++) {
        int row, d;
        if (tile_chunk(i, rows, width, &row, &d)) {
            const int count = min(8, max(0, dim - d));
            __global const element *p = from + min(first + row, last) * stride + (count ? d : 0);
            __local element *to = tile + row * (row_length + TILE_PAD) + d;
            if (aligned) {
                tile_copy8(to, p, count);
            } else {
                ROLL
                for (int j = 0; j < 8; j++) {
                    to[j] = j < count ? p[j] : (element)0;
                }
            }
        }
    }
}

/* Multiplies by -1 or 0 the chunks of a tile that this work-item has copied; NaN and Inf times 0
 * stay. */
INLINE void tile_turn(__local element *tile, const int rows, const int width, const int row_length,
                      float sign) {
    const ushort exponent = TYPE == F16 ? 0x7c00 : 0x7f80;
    ROLL
    for (int i = 0; i < TILE_CHUNKS(rows, width); i++) {
        int row, d;
        if (tile_chunk(i, rows, width, &row, &d)) {
            ROLL
            for (int j = 0; j < 8; j++) {
                __local element *one = tile + row * (row_length + TILE_PAD) + d + j;
                const element zero = (*one & exponent) == exponent ? *one : (element)0;
                *one = sign == 0.0f ? zero : *one ^ (element)0x8000;
            }
        }
    }
}

/* Zeros for NaN and Inf in the chunks that this work-item has copied. */
INLINE void tile_make_finite(__local element *tile, const int rows, const int width) {
    const ushort exponent = TYPE == F16 ? 0x7c00 : 0x7f80;
    ROLL
    for (int i = 0; i < TILE_CHUNKS(rows, width); i++) {
        int row, d;
        if (tile_chunk(i, rows, width, &row, &d)) {
            ROLL
            for (int j = 0; j < 8; j++) {
                __local element *one = tile + row * (width + TILE_PAD) + d + j;
                *one = (*one & exponent) == exponent ? (element)0 : *one;
            }
        }
    }
}
