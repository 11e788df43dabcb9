/*
 * ahead - asks memory for rows before they are read, for CPU devices.
 *
 * A core's own prefetcher foresees little of the order in which tiles are read.  So during
 * its products a work-group prefetches what the next one reads (of O: writes) for the first
 * time, row by row, since many rows at once would stall the core.  A thread usually goes
 * through the work-groups along dimension 0 (blocks of rows), then 1 (heads, then batch).
 * The first work-group of a head prefetches its own keys, BLOCK_N before it reads them.  All
 * this is a hint: it changes no result, and with another order of the work-groups little is
 * lost.
 *
 * Two cores with AVX-512, PoCL 3.1, f32 h8 D 64 causal, tensors that were in no cache,
 * 2026-11-21, us without and with: S 128 125, 89; S 256 310, 226; S 512 830, 717; S 1024
 * 2750, 2550.  Asking for all of a tile's rows at once gained a third of that.
 */
#ifndef BLOCK_N
#error "BLOCK_N: keys per block"
#endif
#ifndef PASS
#error "PASS: 1 where V and O are left alone"
#endif

#define AHEAD_COLS (PASS == 1 ? 0 : HEAD_DIM_V)

struct ahead {
    __global const element_q *q; /* first rows that the next work-group wants */
    __global const element_o *o;
    __global const element_k *k;
    __global const element_v *v;
    int rows, keys;  /* of q and o, of k and v */
    int asked;       /* of these, so far */
    uint steps, due; /* a row is due when `rows` or `keys` a step have added up to `steps` */
    int unread;      /* where the keys end that this work-group is the first to read */
};

/* For the work-group of rows row0 ... row0 + block_m - 1, which sees span and will call
 * ahead_step `steps` times. */
INLINE void ahead_begin(struct ahead *a, const struct params *p, __global const element_q *q,
                        __global const element_k *k, __global const element_v *v,
                        __global const element_o *o, int row0, const int block_m, int4 span,
                        int steps) {
    a->rows = a->keys = a->asked = 0;
    a->due = 0;
    a->steps = (uint)max(steps, 1);
    a->unread = row0 == 0 ? span.y : 0;
    const int same = row0 + block_m < slice_seq_q(p);
    const int row = same ? row0 + block_m : 0;
    const uint number = (uint)get_global_id(1) + !same;
    if (number < slice_count(p)) {
        struct slice s;
        slice_of_number(p, number, &s);
        a->rows = min(block_m, s.band.seq_q - row);
        const int4 next = span_of_rows(&s.band, row, row + a->rows - 1);
        const int key = same ? max(span.y, next.x) : next.x;
        a->keys = clamp(next.y - key, 0, max(block_m, BLOCK_N));
        a->q = q + slice_begin(&p->q, &s) + row * p->q.row;
        a->o = o + slice_begin(&p->o, &s) + row * p->o.row;
        a->k = k + slice_begin_kv(&p->k, &s) + key * p->k.row;
        a->v = v + slice_begin_kv(&p->v, &s) + key * p->v.row;
    }
}

/* Rows [from, to) of k and v. */
INLINE void ahead_keys(const struct params *p, __global const element_k *k,
                       __global const element_v *v, int from, int to) {
    for (int row = from; row < to; row++) {
        for (int d = 0; d < HEAD_DIM; d += LANES_LINE(k)) {
            LANES_AHEAD(k + row * p->k.row + d, 0);
        }
        for (int d = 0; d < AHEAD_COLS; d += LANES_LINE(v)) {
            LANES_AHEAD(v + row * p->v.row + d, 0);
        }
    }
}

/* What is due for the next work-group. */
INLINE void ahead_step(const struct params *p, struct ahead *a) {
    for (a->due += (uint)max(a->rows, a->keys); a->due >= a->steps; a->due -= a->steps) {
        const int row = a->asked++;
        for (int d = 0; d < HEAD_DIM && row < a->rows; d += LANES_LINE(a->q)) {
            LANES_AHEAD(a->q + row * p->q.row + d, 0);
        }
        for (int d = 0; d < AHEAD_COLS && row < a->rows; d += LANES_LINE(a->o)) {
            LANES_AHEAD(a->o + row * p->o.row + d, 1);
        }
        ahead_keys(p, a->k, a->v, row, min(row + 1, a->keys));
    }
}
