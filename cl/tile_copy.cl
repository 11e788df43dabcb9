/*
 * tile_copy - strips of tensors between global memory and the tiles of fwd_tile and bwd_tile.
 *
 * A work-group owns a block of BLOCK_OWN rows and meets others in blocks of BLOCK_MET; THREADS_OWN
 * and THREADS_MET work-items lie along them.  In fwd_tile and bwd_tile_q it owns queries and meets
 * keys, BLOCK_OWN is BLOCK_M and BLOCK_MET is BLOCK_N; in bwd_tile_kv it is the other way round.
 *
 * A strip is BLOCK_D elements of each of some rows.  Work-items move chunks of four elements, each
 * work-item every THREADS-th chunk of a strip; a tile's row is 4 floats longer than a strip's
 * (fwd_tile.cl tells why), and what lies beyond the head dimension is 0.
 */
#ifndef BLOCK_M
#error "BLOCK_M: query rows per block; a multiple of THREADS_M * THREADS_D"
#endif
#ifndef BLOCK_N
#error "BLOCK_N: keys per block; a multiple of 4 and of THREADS_N * (THREADS_D == 2 ? 4 : 1)"
#endif
#ifndef BLOCK_D
#error "BLOCK_D: elements per strip of a head; a multiple of 4 * THREADS_MET * THREADS_D"
#endif
#ifndef THREADS_M
#error "THREADS_M: work-items along query rows; along columns, too, where queries are met"
#endif
#ifndef THREADS_N
#error "THREADS_N: work-items along keys; along columns, too, where keys are met"
#endif
#ifndef THREADS_D
#error "THREADS_D: work-items along the head while scores are summed: 1 or 2"
#endif
#ifndef BLOCK_OWN
#error "BLOCK_OWN: BLOCK_M where a work-group owns queries, BLOCK_N where it owns keys"
#endif
#ifndef BLOCK_MET
#error "BLOCK_MET: the other one: the rows that it meets at a time"
#endif
#ifndef THREADS_OWN
#error "THREADS_OWN: THREADS_M or THREADS_N, as BLOCK_OWN"
#endif
#ifndef THREADS_MET
#error "THREADS_MET: the other one; work-items along columns, too"
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
 * Four elements on their way to a tile.  16 bits each stay as they are stored, which takes half as
 * many registers; where one of the tensors is F32 or
 * comes in blocks, all come as floats.
 */
#ifdef OPERAND_D_O
#define CHUNK_D_O TYPE_D_O
#else
#define CHUNK_D_O TYPE_Q
#endif
#if TYPE_Q == F32 || TYPE_K == F32 || TYPE_V == F32 || CHUNK_D_O == F32 || \
    STORAGE_BLOCKED(TYPE_K) || STORAGE_BLOCKED(TYPE_V)
typedef float4 chunk;
INLINE chunk chunk_load(__global const void *p, const int type, int aligned) {
    return load4(p, type, aligned);
}
INLINE float chunk_load_one(__global const void *p, const int type) {
    return load(p, type);
}
INLINE chunk chunk_load_blocked(__global const void *row, int d, const int type) {
    return load4_blocked(row, d, type);
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
INLINE chunk chunk_load_blocked(__global const void *row, int d, const int type) {
    (void)row, (void)d, (void)type;
    return (chunk)(0); /* there are no blocks */
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
        __global const void *of_row = storage_at(from, min(first + row, last) * stride, type);
        __global const void *p = storage_at(storage_at(of_row, d0, type), d, type);
        chunks[i] = (chunk)(0);
        if (STORAGE_BLOCKED(type)) {
            chunks[i] = count >= 4 ? chunk_load_blocked(of_row, d0 + d, type) : chunks[i];
        } else if (count >= 4) {
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
 * Writes the fetched chunks, as floats, into tile[rows][TILE_ROW].  Where `swap` is not 0
 * (tile_scores tells why), `swap` rows are written as they are, in the next `swap` rows the two
 * elements of each pair change places, and so on.
 */
INLINE void tile_put(__local float *tile, const chunk *chunks, const int type, const int rows,
                     const int swap) {
    UNROLL
    for (int i = 0; i < CHUNKS(rows); i++) {
        int row, d;
        if (tile_chunk(i, rows, &row, &d)) {
            const float4 x = chunk_floats(chunks[i], type);
            const int odd = swap ? row / swap % 2 : 0;
            vstore4(odd != 0 ? x.yxwz : x, 0, tile + row * TILE_ROW + d);
        }
    }
}

/* Copy a strip to its tile without prefetching: one of the rows that are owned, and one of those
 * that are met. */
INLINE void tile_load_own(__local float *tile, __global const void *from, const int type,
                          long stride, int first, int last, int d0, const int dim, int aligned,
                          const int swap) {
    chunk chunks[CHUNKS(BLOCK_OWN)];
    tile_fetch(chunks, from, type, stride, first, last, BLOCK_OWN, d0, dim, aligned);
    tile_put(tile, chunks, type, BLOCK_OWN, swap);
}
INLINE void tile_load_met(__local float *tile, __global const void *from, const int type,
                          long stride, int first, int last, int d0, const int dim, int aligned) {
    chunk chunks[CHUNKS(BLOCK_MET)];
    tile_fetch(chunks, from, type, stride, first, last, BLOCK_MET, d0, dim, aligned);
    tile_put(tile, chunks, type, BLOCK_MET, 0);
}

/* Stores the first `count` of four elements (none where count is below 1, all where above 4) of a
 * row of `dim`. */
INLINE void tile_store(__global void *p, const int type, const int dim, float4 x, const int count,
                       int aligned) {
    if (count >= 4) {
        store4(p, x, type, WIDE_READS ? aligned : 0);
    } else if (dim % 4 != 0) {
        if (count > 0) {
            store(p, x.x, type);
        }
        if (count > 1) {
            store((__global void *)storage_at(p, 1, type), x.y, type);
        }
        if (count > 2) {
            store((__global void *)storage_at(p, 2, type), x.z, type);
        }
    }
}
