/*
 * lanes_products - for bwd_lanes: the products of a tile of rows with a transposed block
 * (lanes.cl).
 *
 * A block has VECTORS * LANES rows or keys, the BLOCK; a tile has rows of the other side, at most
 * TILE_ROWS.  Both products are outer products, "one element of the tile times a vector of the
 * block", and keep their sums in registers:
 *
 *     lanes_dots   DOT_UNROLL rows of the tile by VECTORS     x[row][block] = tile . block^T
 *     lanes_sum    SUM_UNROLL columns of the tile by VECTORS  sum[d][block] += tile^T x
 *
 * A tile's sums are one block of grad.cl's levels.
 */
#ifndef VECTORS
#error "VECTORS: vectors of LANES rows, or keys, per work-item"
#endif
#ifndef TILE_ROWS
#error "TILE_ROWS: rows of the other side between two additions to a sum"
#endif
#ifndef DOT_UNROLL
#error "DOT_UNROLL: rows of a tile multiplied together in registers"
#endif
#ifndef SUM_UNROLL
#error "SUM_UNROLL: columns of a tile summed together in registers"
#endif

#define BLOCK (VECTORS * LANES)
/* Rows of tiles begin at multiples of 64 bytes. */
#define LANES_ROW(columns) (((columns) + 15) / 16 * 16)
/* Columns of a sum: whole steps of SUM_UNROLL. */
#define LANES_COLS(columns) (((columns) + SUM_UNROLL - 1) / SUM_UNROLL * SUM_UNROLL)

/* x[j] = row `row` + j of the tile times the block t; past the last row, the last row again. */
INLINE void lanes_dots(floatn x[DOT_UNROLL][VECTORS], const float *tile, int row, int rows,
                       const floatn *t, const int columns) {
    const float *of[DOT_UNROLL];
    UNROLL
    for (int j = 0; j < DOT_UNROLL; j++) {
        of[j] = tile + min(row + j, rows - 1) * LANES_ROW(columns);
        UNROLL
        for (int i = 0; i < VECTORS; i++) {
            x[j][i] = (floatn)(0.0f);
        }
    }
    for (int d = 0; d < columns; d++) {
        UNROLL
        for (int j = 0; j < DOT_UNROLL; j++) {
            const floatn element = (floatn)(of[j][d]);
            UNROLL
            for (int i = 0; i < VECTORS; i++) {
                x[j][i] = fma(element, t[d * VECTORS + i], x[j][i]);
            }
        }
    }
}

/* sum[d] += the sum over the tile's rows of element d times the row's vectors in x. */
INLINE void lanes_sum(floatn *sum, const float *tile, int rows, const floatn *x,
                      const int columns) {
    for (int col = 0; col < columns; col += SUM_UNROLL) {
        floatn y[SUM_UNROLL][VECTORS];
        UNROLL
        for (int d = 0; d < SUM_UNROLL; d++) {
            UNROLL
            for (int i = 0; i < VECTORS; i++) {
                y[d][i] = (floatn)(0.0f);
            }
        }
        for (int row = 0; row < rows; row++) {
            UNROLL
            for (int d = 0; d < SUM_UNROLL; d++) {
                /* Past the last column: read the last one again, never stored. */
                const int at = columns % SUM_UNROLL ? min(col + d, columns - 1) : col + d;
                const floatn element = (floatn)(tile[row * LANES_ROW(columns) + at]);
                UNROLL
                for (int i = 0; i < VECTORS; i++) {
                    y[d][i] = fma(element, x[row * VECTORS + i], y[d][i]);
                }
            }
        }
        UNROLL
        for (int d = 0; d < SUM_UNROLL; d++) {
            UNROLL
            for (int i = 0; i < VECTORS; i++) {
                sum[(col + d) * VECTORS + i] += y[d][i];
            }
        }
    }
}

INLINE void lanes_clear(floatn *sum, const int columns) {
    for (int i = 0; i < LANES_COLS(columns) * VECTORS; i++) {
        sum[i] = (floatn)(0.0f);
    }
}

/* Adds the sums of a segment to those of the segments before it. */
INLINE void lanes_close_segment(floatn *sum, floatn *total, const int columns) {
    for (int i = 0; i < LANES_COLS(columns) * VECTORS; i++) {
        total[i] += sum[i];
        sum[i] = (floatn)(0.0f);
    }
}

/* grad_clean of a tile. */
INLINE void lanes_clean(float *tile, const int tile_row, int rows, const int columns) {
    for (int row = 0; row < rows; row++) {
        for (int d = 0; d < columns; d++) {
            tile[row * tile_row + d] = grad_clean(tile[row * tile_row + d]);
        }
    }
}
