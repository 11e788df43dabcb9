/*
 * slice - one head of one sequence: the only part that knows batch, head, the group of query heads
 * that share a key head, and the sequences' lengths.
 *
 * Slices are numbered along query heads, then batch.  Offsets into tensors are of 64 bits.
 */
#ifndef LENGTHS
#error "LENGTHS: 1 where each sequence has a number of keys of its own, lengths_kv, else 0"
#endif
#ifndef ALIGN_END
#error "ALIGN_END: 1 where the last query stands opposite the last key, 0 where the first ones do"
#endif

/* Query `row` sees the keys row + diagonal - left ... row + diagonal + right of seq_kv; see
 * span.cl.  left and right mean nothing where MASKED is 0. */
struct band {
    int diagonal, left, right;
    int seq_q, seq_kv;
};

struct slice {
    int batch, head, head_kv;
    long number_kv;   /* batch * heads_kv + head_kv */
    long rows_before; /* query rows of the slices with smaller numbers */
    struct band band;
};

/* Elements of a tensor before the first one of that head. */
INLINE long slice_of_tensor(const struct strides *t, long batch, long head) {
    return t->offset + batch * t->batch + head * t->head;
}

/* ... before the slice's first one: of a tensor with heads_q heads, and of one with heads_kv. */
INLINE long slice_begin(const struct strides *t, const struct slice *s) {
    return slice_of_tensor(t, s->batch, s->head);
}
INLINE long slice_begin_kv(const struct strides *t, const struct slice *s) {
    return slice_of_tensor(t, s->batch, s->head_kv);
}

/* How many heads K and V have, and which of them query head `head` reads. */
INLINE int slice_heads_kv(const struct params *p) {
    return p->heads_q / p->group;
}
INLINE int slice_head_kv(const struct params *p, int head) {
    return head / p->group;
}

INLINE int slice_seq_q(const struct params *p) {
    return p->seq_q;
}
INLINE int slice_seq_kv(const struct params *p) {
    return p->seq_kv;
}

/* How many slices, of neighbouring numbers, share a head of K and V. */
INLINE int slice_sharing(const struct params *p) {
    return p->group;
}

/* The functions below fill a struct of the caller and do not return one.  Clang passes a returned
 * struct as a `noalias` argument; when it inlines the function, the argument leaves an intrinsic
 * (llvm.experimental.noalias.scope.decl) behind, which Oclgrind 21.10 does not know. */
INLINE void slice_band(const struct params *p, struct band *b) {
    b->diagonal = p->diagonal;
    b->left = p->band_left;
    b->right = p->band_right;
    b->seq_q = p->seq_q;
    b->seq_kv = p->seq_kv;
}

INLINE void slice_of_head(const struct params *p, int batch, int head, struct slice *s) {
    s->batch = batch;
    s->head = head;
    s->head_kv = slice_head_kv(p, head);
    s->number_kv = (long)batch * slice_heads_kv(p) + s->head_kv;
    s->rows_before = ((long)batch * p->heads_q + head) * p->seq_q;
    slice_band(p, &s->band);
}

/* How many slices there are. */
INLINE uint slice_count(const struct params *p) {
    return (uint)p->batch * (uint)p->heads_q;
}

INLINE void slice_of_number(const struct params *p, uint number, struct slice *s) {
    const uint heads = (uint)p->heads_q;
    slice_of_head(p, (int)(number / heads), (int)(number % heads), s);
}

/* SLICE_LENGTHS(p, s): the keys of the slice become those of its sequence alone (LENGTHS).  Kernels
 * that offer the feature say this of each slice that they make, before they use its band, where
 * their argument lengths_kv is known. */
#ifdef OPERAND_LENGTHS_KV
INLINE void slice_lengths(const struct params *p, struct slice *s,
                          __global const element_lengths_kv *lengths_kv) {
    s->band.seq_kv = clamp(lengths_kv[slice_of_tensor(&p->lengths_kv, s->batch, 0)], 0, p->seq_kv);
    s->band.diagonal = ALIGN_END ? s->band.seq_kv - p->seq_q : 0;
}
#define SLICE_LENGTHS(p, s) slice_lengths(p, s, lengths_kv)
#else
#define SLICE_LENGTHS(p, s) (void)0
#endif

/* ---- Query rows of all slices, one after the other ---- */

INLINE ulong slice_rows(const struct params *p) {
    return (ulong)slice_count(p) * (ulong)p->seq_q;
}

/* The slice of row `index` of all slices; *row: its number in the slice.  Both divisions are of 64
 * bits: with the second one of 32, clang unrolls fwd_rows so far that it spills on gfx1100. */
INLINE void slice_of_row(const struct params *p, ulong index, int *row, struct slice *s) {
    *row = (int)(index % (ulong)p->seq_q);
    const ulong number = index / (ulong)p->seq_q, heads = (ulong)p->heads_q;
    slice_of_head(p, (int)(number / heads), (int)(number % heads), s);
}

/* ---- Keys of all heads of K, one after the other ---- */

INLINE ulong slice_keys(const struct params *p) {
    return (ulong)p->batch * (ulong)slice_heads_kv(p) * (ulong)p->seq_kv;
}

/* Key `index` of all: *key, its number in its sequence, and the first of the slices that read it.
 * The others have the slice_sharing - 1 next heads. */
INLINE void slice_of_key(const struct params *p, ulong index, int *key, struct slice *s) {
    *key = (int)(index % (ulong)p->seq_kv);
    const ulong number = index / (ulong)p->seq_kv, heads = (ulong)slice_heads_kv(p);
    slice_of_head(p, (int)(number / heads), (int)(number % heads) * p->group, s);
}

/* Blocks of block_n keys, heads of K, and of the slices that read head `number` of K the first. */
INLINE ulong slice_blocks_of_keys(const struct params *p, const int block_n) {
    return (ulong)(p->seq_kv + block_n - 1) / block_n;
}
INLINE void slice_of_number_kv(const struct params *p, uint number, struct slice *s) {
    const uint heads = (uint)slice_heads_kv(p);
    slice_of_head(p, (int)(number / heads), (int)(number % heads) * p->group, s);
}

/* Elements of a tensor [batch, heads, rows] before row `index` of all its heads. */
INLINE long slice_row_begin(const struct strides *t, int heads, int rows, long index) {
    const long head = index / rows;
    return slice_of_tensor(t, head / heads, head % heads) + index % rows * t->row;
}

/* ---- Query rows of the slices that share a head of K, one slice after the other ---- */

INLINE long slice_shared_rows(const struct params *p) {
    return (long)p->group * p->seq_q;
}
INLINE ulong slice_shared_blocks(const struct params *p, const int rows) {
    return (ulong)(slice_shared_rows(p) + rows - 1) / rows;
}

/* Row `index` of them; first: the first of the slices. */
INLINE void slice_of_shared_row(const struct params *p, const struct slice *first, long index,
                                int *row, struct slice *s) {
    *row = (int)(index % p->seq_q);
    slice_of_head(p, first->batch, first->head + (int)(index / p->seq_q), s);
}

/* ---- Blocks of block_m query rows ---- */

INLINE ulong slice_blocks(const struct params *p, const int block_m) {
    return (ulong)(p->seq_q + block_m - 1) / block_m;
}

/* The first row of the block that comes as number `turn` of the slice's: the longest first where a
 * band can shorten them, so that the last work-groups to begin are short. */
INLINE int slice_row0(const struct params *p, uint turn, const int block_m) {
    return (int)(MASKED ? slice_blocks(p, block_m) - 1 - turn : turn) * block_m;
}
