/*
 * tile_copy - strips of tensors between global memory and fwd_tile's tiles.
 *
 * A strip is BLOCK_D elements of each of some rows.  Work-items move chunks of four elements, each
 * work-item every THREADS-th chunk of a strip; a tile's row is 4 floats longer than a strip's
 * (fwd_tile.cl tells why), and what lies beyond the head dimension is 0.
 */
#ifndef BLOCK_M
#error "BLOCK_M: query rows per work-group; a multiple of THREADS_M * THREADS_D"
#endif
#ifndef BLOCK_N
#error "BLOCK_N: keys per block; a multiple of 4 and of THREADS_N * (THREADS_D == 2 ? 4 : 1)"
#endif
#ifndef BLOCK_D
#error "BLOCK_D: elements per strip of a head; a multiple of 4 * THREADS_N * THREADS_D"
#endif
#ifndef THREADS_M
#error "THREADS_M: work-items along query rows"
#endif
#ifndef THREADS_N
#error "THREADS_N: work-items along keys and columns"
#endif
#ifndef THREADS_D
#error "THREADS_D: work-items along the head while scores are summed: 1 or 2"
#endif
#ifndef WIDE_READS
#error "WIDE_READS: 1 moves four elements at once where rows begin at multiples of 16 bytes"
#endif

#define THREADS (THREADS_M * THREADS_N * THREADS_D)
#define TILE_ROW (BLOCK_D + 4)

/* Chunks of four elements that one work-item moves of a strip of `rows` rows. */
#define CHUNKS(rows) (((rows) * (BLOCK_D / 4) + THREADS - 1) / THREADS)

/* Where chunk i of this work-item lies; false past the end of the strip. */
INLINE int tile_chunk(int i, const int rows, int *row, int *d) {
    const int row_chunks = BLOCK_D / 4;
    const int id = (int)get_local_id(0);
    const int at = id + i * THREADS;
    const int whole = THREADS % row_chunks == 0; /* then i moves by whole rows */
    *row = whole ? id / row_chunks + i * (THREADS / row_chunks) : at / row_chunks;
    *d = (whole ? id : at) % row_chunks * 4;
    return rows * row_chunks % THREADS == 0 || at < rows * row_chunks;
}

/*
 * Four elements of Q, K or V on their way to a tile.  16 bits each stay as they are stored, which
 * takes half as many registers; where one of the three is F32, all come as floats.
 */
#if TYPE_Q == F32 || TYPE_K == F32 || TYPE_V == F32
typedef float4 chunk;
INLINE chunk chunk_load(__global const void *p, const int type, int aligned) {
    return load4(p, type, aligned);
}
INLINE float chunk_load_one(__global const void *p, const int type) {
    return load(p, type);
}
INLINE float4 chunk_floats(chunk x, const int type) {
    (void)type;
    return x;
}
#else
typedef ushort4 chunk;
INLINE chunk chunk_load(__global const void *p, const int type, int aligned) {
    (void)type;
    return read4_16((__global const ushort *)p, aligned);
}
INLINE ushort chunk_load_one(__global const void *p, const int type) {
    (void)type;
    return *(__global const ushort *)p;
}
INLINE float4 chunk_floats(chunk x, const int type) {
    return widen4(x, type);
}
#endif

/*
 * Reads rows `first` ... first + rows - 1 (past `last`: the last one again) of the strip
 * that begins at element d0; elements past `dim` become 0.  `aligned` is a literal: with
 * a branch in the loop each read would wait for the one before.
 */
INLINE void tile_read(chunk *chunks, __global const void *from, const int type, long stride,
                      int first, int last, const int rows, int d0, const int dim,
                      const int aligned) {
    UNROLL
    for (int i = 0; i < CHUNKS(rows); i++) {
        int row, d;
        const int inside = tile_chunk(i, rows, &row, &d);
        const int count = inside ? dim - d0 - d : 0;
        __global const void *p = storage_at(from, min(first + row, last) * stride, type);
        p = storage_at(storage_at(p, d0, type), d, type);
        chunks[i] = (chunk)(0);
        if (count >= 4) {
            chunks[i] = chunk_load(p, type, aligned);
        } else if (dim % 4 != 0) {
            chunks[i].x = count > 0 ? chunk_load_one(p, type) : 0;
            chunks[i].y = count > 1 ? chunk_load_one(storage_at(p, 1, type), type) : 0;
            chunks[i].z = count > 2 ? chunk_load_one(storage_at(p, 2, type), type) : 0;
        }
    }
}

INLINE void tile_fetch(chunk *chunks, __global const void *from, const int type, long stride,
                       int first, int last, const int rows, int d0, const int dim, int aligned) {
    if (WIDE_READS ? aligned : 0) {
        tile_read(chunks, from, type, stride, first, last, rows, d0, dim, 1);
    } else {
        tile_read(chunks, from, type, stride, first, last, rows, d0, dim, 0);
    }
}

/*
 * Writes the fetched chunks, as floats, into tile[rows][TILE_ROW].  Where `swap` is 1 (for K:
 * tile_scores tells why), THREADS_N rows are written as they are, in the next THREADS_N rows the
 * two elements of each pair change places, and so on.
 */
INLINE void tile_put(__local float *tile, const chunk *chunks, const int type, const int rows,
                     const int swap) {
    UNROLL
    for (int i = 0; i < CHUNKS(rows); i++) {
        int row, d;
        if (tile_chunk(i, rows, &row, &d)) {
            const float4 x = chunk_floats(chunks[i], type);
            const int odd = swap ? row / THREADS_N % 2 : 0;
            vstore4(odd != 0 ? x.yxwz : x, 0, tile + row * TILE_ROW + d);
        }
    }
}

/* Is a NaN or an Inf in the fetched chunks of V? */
INLINE int tile_is_odd(const chunk *chunks) {
    uint4 most = (uint4)(0u);
    UNROLL
    for (int i = 0; i < CHUNKS(BLOCK_N); i++) {
        most = max(most, as_uint4(chunk_floats(chunks[i], TYPE_V)) & 0x7fffffffu);
    }
    return !finite_float(as_float(max(max(most.x, most.y), max(most.z, most.w))));
}

/* Replaces NaN and Inf by 0 in the chunks of BLOCK_N rows that this work-item has put. */
INLINE void tile_clean(__local float *tile) {
    ROLL
    for (int i = 0; i < CHUNKS(BLOCK_N); i++) {
        int row, d;
        if (tile_chunk(i, BLOCK_N, &row, &d)) {
            ROLL
            for (int j = 0; j < 4; j++) {
                __local float *one = tile + row * TILE_ROW + d + j;
                *one = finite_float(*one) ? *one : 0.0f;
            }
        }
    }
}

/* Copies a strip of Q to its tile without prefetching: Q is read once, or local memory is short. */
INLINE void tile_load_q(__local float *tile, __global const element_q *q, const struct params *p,
                        int row0, int row_last, int d0) {
    chunk chunks[CHUNKS(BLOCK_M)];
    tile_fetch(chunks, q, TYPE_Q, p->q.row, row0, row_last, BLOCK_M, d0, HEAD_DIM,
               p->aligned & OPERANDS_TOGETHER);
    tile_put(tile, chunks, TYPE_Q, BLOCK_M, 0);
}

/* Stores the first `count` of four elements of O (none where count is below 1, all where above 4).
 */
INLINE void tile_store(__global element_o *p, float4 x, const int count, int aligned) {
    if (count >= 4) {
        store4(p, x, TYPE_O, WIDE_READS ? aligned : 0);
    } else if (HEAD_DIM_V % 4 != 0) {
        if (count > 0) {
            store(p, x.x, TYPE_O);
        }
        if (count > 1) {
            store(p + 1, x.y, TYPE_O);
        }
        if (count > 2) {
            store(p + 2, x.z, TYPE_O);
        }
    }
}
