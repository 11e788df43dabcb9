/*
 * lanes - for CPU devices: rows of a tensor as vectors, for kernels whose SIMD lanes run over rows
 * or keys (fwd_lanes, bwd_lanes).
 *
 * A block of `vectors` * LANES rows is kept transposed in private memory: element d of the rows
 * i * LANES ... i * LANES + LANES - 1 is t[d * vectors + i].  What multiplies it, element by
 * element, is a tile of rows, tile[row][tile_row], converted to F32.
 */

#define LANES_LINE(p) (64 / (int)sizeof(*(p))) /* elements of a cache line */

/* Asks memory for the line at p, to read or to write it.  OpenCL's own prefetch does nothing on
 * PoCL. */
#if defined(__x86_64__) || defined(__aarch64__)
#define LANES_AHEAD(p, written) __builtin_prefetch((const void *)(size_t)(p), written)
#else
#define LANES_AHEAD(p, written) ((void)(p))
#endif

/* Converts `rows` rows of `columns` elements into tile[row][tile_row]. */
INLINE void lanes_convert(float *tile, const int tile_row, __global const void *from,
                          const int type, long stride, int rows, const int columns) {
    for (int row = 0; row < rows; row++) {
        __global const void *elements = storage_at(from, row * stride, type);
        int d = 0;
        for (; d + LANES <= columns; d += LANES) {
            BASE_CONCAT(vstore, LANES)
            (loadn_at(elements, d, type), 0, tile + row * tile_row + d);
        }
        for (; d < columns; d++) {
            tile[row * tile_row + d] = load_at(elements, d, type);
        }
    }
}

/*
 * Transposes LANES vectors of LANES: log2(LANES) times, shuffle the first half of the
 * vectors with the second as one shuffles cards.
 */
INLINE void lanes_transpose(floatn x[LANES]) {
    UNROLL
    for (int round = 1; round < LANES; round *= 2) {
        floatn y[LANES];
        UNROLL
        for (int i = 0; i < LANES / 2; i++) {
            y[2 * i].even = x[i].lo;
            y[2 * i].odd = x[i + LANES / 2].lo;
            y[2 * i + 1].even = x[i].hi;
            y[2 * i + 1].odd = x[i + LANES / 2].hi;
        }
        UNROLL
        for (int i = 0; i < LANES; i++) {
            x[i] = y[i];
        }
    }
}

/* t: the transposed block of rows from `from` on; rows past the end, rows_here, repeat the last
 * one. */
INLINE void lanes_load(floatn *t, __global const void *from, const int type, long stride,
                       int rows_here, const int columns, const int vectors) {
    for (int i = 0; i < vectors; i++) {
        int d = 0;
        for (; d + LANES <= columns; d += LANES) {
            floatn x[LANES];
            UNROLL
            for (int row = 0; row < LANES; row++) {
                const int at = min(i * LANES + row, rows_here - 1);
                x[row] = loadn(storage_at(from, at * stride + d, type), type);
            }
            lanes_transpose(x);
            UNROLL
            for (int j = 0; j < LANES; j++) {
                t[(d + j) * vectors + i] = x[j];
            }
        }
        for (; d < columns; d++) {
            float *rows = (float *)(t + d * vectors + i);
            for (int row = 0; row < LANES; row++) {
                const int at = min(i * LANES + row, rows_here - 1);
                rows[row] = load(storage_at(from, at * stride + d, type), type);
            }
        }
    }
}

/* Rows to memory from the transposed block t, each times its factor. */
INLINE void lanes_store(__global void *to, const int type, long stride, const floatn *t,
                        const floatn *factors, int rows_here, const int columns,
                        const int vectors) {
    for (int i = 0; i < vectors; i++) {
        const int rows = min(LANES, rows_here - i * LANES);
        int d = 0;
        for (; d + LANES <= columns; d += LANES) {
            floatn x[LANES];
            UNROLL
            for (int j = 0; j < LANES; j++) {
                x[j] = t[(d + j) * vectors + i] * factors[i];
            }
            lanes_transpose(x);
            UNROLL
            for (int row = 0; row < LANES; row++) {
                if (row < rows) {
                    storen((__global void *)storage_at(to, (i * LANES + row) * stride + d, type),
                           x[row], type);
                }
            }
        }
        for (; d < columns; d++) {
            const floatn x = t[d * vectors + i] * factors[i];
            const float *of_row = (const float *)&x;
            for (int row = 0; row < rows; row++) {
                store((__global void *)storage_at(to, (i * LANES + row) * stride + d, type),
                      of_row[row], type);
            }
        }
    }
}

/* ---- Bias and mask of a block of pairs ---- */

/* score_bias of a row and LANES keys, read as they lie. */
INLINE floatn lanes_bias(const struct scene *scene, int row, int key) {
    row = min(row, scene->last_row);
    if (key + LANES - 1 > scene->last_col) {
        return score_bias(scene, (intn)(row), base_count(key));
    }
    floatn result = (floatn)(0.0f);
    if (BIAS) {
        const long at = row * scene->bias_row + key;
        result = score_of_bias(loadn(storage_at(scene->bias, at, TYPE_BIAS), TYPE_BIAS));
    }
    if (MASK) {
        __global const uchar *of = (__global const uchar *)scene->mask + row * scene->mask_row;
        const intn seen = BASE_CONCAT(convert_int, LANES)(BASE_CONCAT(vload, LANES)(0, of + key));
        result = seen == (intn)(0) ? (floatn)(-INFINITY) : result;
    }
    return result;
}

/* Of `vectors` vectors of rows and `keys` keys to block[keys][vectors]. */
INLINE void lanes_bias_block(floatn *block, const int vectors, const struct scene *scene, int row0,
                             int key0, int keys) {
    for (int i = 0; i < vectors; i++) {
        for (int key = 0; key < keys; key += LANES) {
            floatn x[LANES];
            UNROLL
            for (int j = 0; j < LANES; j++) {
                x[j] = lanes_bias(scene, row0 + i * LANES + j, key0 + key);
            }
            lanes_transpose(x);
            for (int j = 0; j < min(LANES, keys - key); j++) {
                block[(key + j) * vectors + i] = x[j];
            }
        }
    }
}
