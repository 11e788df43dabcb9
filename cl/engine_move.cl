/*
 * engine_move - fragments and tiles on their way, for every engine; see engine.cl.
 */
#ifndef ENGINE_FAST_LEFT
#define ENGINE_FAST_LEFT 0
#endif
#ifndef ENGINE_FAST_ROWS
#define ENGINE_FAST_ROWS 0
#endif
#ifndef ENGINE_FAST_COLUMNS
#define ENGINE_FAST_COLUMNS 0
#endif
#ifndef ENGINE_FAST_COPY
#define ENGINE_FAST_COPY 0
#endif
#ifndef ENGINE_SETTLE
#define ENGINE_SETTLE(x)
#endif

/* A row of a tile in local memory is this much longer than its contents: rows then begin 16
 * bytes apart modulo 32 (their lengths are multiples of 16 elements), so 8 of them, read 16
 * bytes each, touch every bank once. */
#define ENGINE_PAD 8

#if EMULATED
#define ENGINE_SCRATCH (ENGINE_LANES * (ENGINE_LEFT + ENGINE_RIGHT)) /* floats of a wave */

INLINE float emulated_element(const uint *operand, int e) {
    return widen((ushort)(operand[e / 2] >> (e % 2 * 16)), TYPE);
}

/* All lanes show their operands; each finds the elements of acc that the vendor's map gives it. */
INLINE void engine_multiply(float *acc, const uint *left, const uint *right, struct engine_wave w) {
    __local float *lefts = w.scratch, *rights = w.scratch + ENGINE_LANES * ENGINE_LEFT;
    for (int e = 0; e < ENGINE_LEFT; e++) {
        lefts[w.lane * ENGINE_LEFT + e] = emulated_element(left, e);
    }
    for (int e = 0; e < ENGINE_RIGHT; e++) {
        rights[w.lane * ENGINE_RIGHT + e] = emulated_element(right, e);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    int copies = 1;
    for (int e = 0; ENGINE_COPIES && e < ENGINE_LEFT; e++) {
        copies &= as_int(lefts[w.lane * ENGINE_LEFT + e]) ==
                  as_int(lefts[(w.lane ^ ENGINE_COPIES) * ENGINE_LEFT + e]);
    }
    for (int e = 0; ENGINE_COPIES && e < ENGINE_RIGHT; e++) {
        copies &= as_int(rights[w.lane * ENGINE_RIGHT + e]) ==
                  as_int(rights[(w.lane ^ ENGINE_COPIES) * ENGINE_RIGHT + e]);
    }
    for (int query = 0; query < ENGINE_QUERIES; query++) {
        for (int other = 0; other < ENGINE_OTHERS; other++) {
            if (emulated_acc_lane(query, other) == w.lane) {
                const int e = emulated_acc_element(query, other);
                float sum = 0.0f;
                for (int depth = 0; depth < 16; depth++) {
                    const int at = emulated_left_lane(query, depth) * ENGINE_LEFT +
                                   emulated_left_element(query, depth);
                    const int to = emulated_right_lane(other, depth) * ENGINE_RIGHT +
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
#define ENGINE_SCRATCH 1
#endif

/* ---- From local memory: tile points to the fragment's first element ---- */

INLINE uint engine_two(__local const element *tile, int first, int second) {
    return tile[first] | (uint)tile[second] << 16;
}

/* Rows of the tile are queries. */
INLINE void engine_load_left(uint *left, __local const element *tile, const int stride, int lane) {
#if ENGINE_FAST_LEFT && FAST_LOADS
    engine_fast_left(left, tile, stride, lane);
#else
    ENGINE_UNROLL
    for (int e = 0; e < ENGINE_LEFT; e += 2) {
        left[e / 2] =
            engine_two(tile, engine_left_query(lane, e) * stride + engine_left_depth(lane, e),
                       engine_left_query(lane, e + 1) * stride + engine_left_depth(lane, e + 1));
    }
#endif
}

/* 16 others; rows of the tile are others (K). */
INLINE void engine_load_rows(uint right[ENGINE_SPLIT][ENGINE_RIGHT / 2],
                             __local const element *tile, const int stride, int lane) {
#if ENGINE_FAST_ROWS && FAST_LOADS
    engine_fast_rows(right, tile, stride, lane);
#else
    ENGINE_UNROLL
    for (int f = 0; f < ENGINE_SPLIT; f++) {
        __local const element *at = tile + f * ENGINE_OTHERS * stride;
        ENGINE_UNROLL
        for (int e = 0; e < ENGINE_RIGHT; e += 2) {
            right[f][e / 2] = engine_two(
                at, engine_right_other(lane, e) * stride + engine_right_depth(lane, e),
                engine_right_other(lane, e + 1) * stride + engine_right_depth(lane, e + 1));
        }
    }
#endif
}

/* 16 others; columns of the tile are others (V). */
INLINE void engine_load_columns(uint right[ENGINE_SPLIT][ENGINE_RIGHT / 2],
                                __local const element *tile, const int stride, int lane) {
#if ENGINE_FAST_COLUMNS && FAST_LOADS
    engine_fast_columns(right, tile, stride, lane);
#else
    ENGINE_UNROLL
    for (int f = 0; f < ENGINE_SPLIT; f++) {
        __local const element *at = tile + f * ENGINE_OTHERS;
        ENGINE_UNROLL
        for (int e = 0; e < ENGINE_RIGHT; e += 2) {
            right[f][e / 2] = engine_two(
                at, engine_right_depth(lane, e) * stride + engine_right_other(lane, e),
                engine_right_depth(lane, e + 1) * stride + engine_right_other(lane, e + 1));
        }
    }
#endif
}

/* ---- Between the lanes that share a query ---- */

/* One bit of ENGINE_SHARE after the other, without a branch: PoCL copies everything that follows
 * a branch with barriers in it, and engine_exchange has some when emulated. */
INLINE float engine_max(float x, struct engine_wave w) {
    ENGINE_UNROLL
    for (int bits = ENGINE_SHARE; bits; bits &= bits - 1) {
        x = state_max(x, engine_exchange(x, bits & -bits, w));
    }
    return x;
}

INLINE float engine_sum(float x, struct engine_wave w) {
    ENGINE_UNROLL
    for (int bits = ENGINE_SHARE; bits; bits &= bits - 1) {
        x += engine_exchange(x, bits & -bits, w);
    }
    return x;
}

/* ---- From global memory to local memory ---- */

#if !(ENGINE_FAST_COPY && FAST_LOADS)
/* The first count (0 to 8) of eight elements, the others 0; both ends at multiples of 16 bytes. */
INLINE void engine_copy8_plain(__local element *to, __global const element *from, int count) {
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
#define engine_copy8 engine_copy8_plain
#define engine_copied()
#endif

/*
 * Work-items move chunks of eight elements, each work-item every THREADS-th chunk of a tile.  Where
 * it can (ENGINE_STAYS), a work-item stays in its column, ENGINE_STEP rows from chunk to chunk: the
 * compiler then adds constants, instead of dividing for each chunk.  engine_chunk is false past the
 * end of the tile.
 */
#define ENGINE_CHUNKS(rows, width) (((rows) * ((width) / 8) + THREADS - 1) / THREADS)
#define ENGINE_STEP(width) (THREADS / ((width) / 8))
#define ENGINE_STAYS(rows, width) \
    (THREADS % ((width) / 8) == 0 && (rows) * ((width) / 8) % THREADS == 0)

INLINE int engine_chunk(int i, const int rows, const int width, int *row, int *d) {
    const uint me = (uint)get_local_id(0);
    if (ENGINE_STAYS(rows, width)) {
        *row = (int)(me / (width / 8)) + i * ENGINE_STEP(width);
        *d = (int)(me % (width / 8) * 8);
        return 1;
    }
    const uint at = me + (uint)i * THREADS;
    *row = (int)(at / (width / 8));
    *d = (int)(at % (width / 8) * 8);
    return at < (uint)(rows * (width / 8));
}

/* Rows `first` ... first + rows - 1 (past `last`: the last one again), dim elements each and zeros
 * up to width, to a tile whose rows are row_length + ENGINE_PAD apart.  To be awaited by
 * engine_copied() and a barrier. */
INLINE void engine_copy(__local element *tile, __global const element *from, long stride, int first,
                        int last, const int rows, const int dim, const int width,
                        const int row_length, int aligned) {
    if (aligned && first + rows - 1 <= last) {
        int row0, d0;
        engine_chunk(0, rows, width, &row0, &d0);
        __global const element *p = from + (first + row0) * stride + d0;
        ENGINE_UNROLL
        for (int i = 0; i < ENGINE_CHUNKS(rows, width); i++) {
            int row, d;
            if (engine_chunk(i, rows, width, &row, &d)) {
                const int count = dim == width ? 8 : min(8, max(0, dim - d));
                if (!ENGINE_STAYS(rows, width)) {
                    p = from + (first + row) * stride + d;
                }
                engine_copy8(tile + row * (row_length + ENGINE_PAD) + d, count ? p : from, count);
                p += ENGINE_STEP(width) * stride;
            }
        }
        return;
    }
    ROLL
    for (int i = 0; i < ENGINE_CHUNKS(rows, width); i++) {
        int row, d;
        if (engine_chunk(i, rows, width, &row, &d)) {
            const int count = min(8, max(0, dim - d));
            __global const element *p = from + min(first + row, last) * stride + (count ? d : 0);
            __local element *to = tile + row * (row_length + ENGINE_PAD) + d;
            if (aligned) {
                engine_copy8(to, p, count);
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
INLINE void engine_turn(__local element *tile, const int rows, const int width,
                        const int row_length, float sign) {
    ROLL
    for (int i = 0; i < ENGINE_CHUNKS(rows, width); i++) {
        int row, d;
        if (engine_chunk(i, rows, width, &row, &d)) {
            ROLL
            for (int j = 0; j < 8; j++) {
                __local element *one = tile + row * (row_length + ENGINE_PAD) + d + j;
                const element zero = finite_short(*one, TYPE) ? (element)0 : *one;
                *one = sign == 0.0f ? zero : *one ^ (element)0x8000;
            }
        }
    }
}

/* Zeros for NaN and Inf in the chunks that this work-item has copied. */
INLINE void engine_make_finite(__local element *tile, const int rows, const int width) {
    ROLL
    for (int i = 0; i < ENGINE_CHUNKS(rows, width); i++) {
        int row, d;
        if (engine_chunk(i, rows, width, &row, &d)) {
            ROLL
            for (int j = 0; j < 8; j++) {
                __local element *one = tile + row * (width + ENGINE_PAD) + d + j;
                *one = finite_short(*one, TYPE) ? *one : (element)0;
            }
        }
    }
}
