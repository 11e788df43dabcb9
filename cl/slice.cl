/*
 * slice - one head of one sequence: the only part that knows batch, head, the group of query heads
 * that share a key head, and the sequences' lengths.
 *
 * Slices are numbered along query heads, then batch.  Offsets into tensors are of 64 bits.
 */

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

/* ---- Elements of tensors that are sums over the dimensions of stride 0 ---- */

/* Element `index` of a tensor [batch, heads_q]: the batches and heads [begin, end) whose sum it is;
 * 0 behind the last element. */
INLINE int slice_of_heads(const struct params *p, const struct strides *t, ulong index, int2 *begin,
                          int2 *end) {
    const ulong heads = t->head ? (ulong)p->heads_q : 1;
    const ulong batches = t->batch ? (ulong)p->batch : 1;
    *begin = (int2)((int)(index / heads), (int)(index % heads));
    *end = *begin + 1;
    end->x = t->batch ? end->x : p->batch;
    end->y = t->head ? end->y : p->heads_q;
    return index < heads * batches;
}

/* The same of a tensor [batch, heads_q, seq_q, seq_kv]: batches, heads, rows and the key. */
INLINE int slice_of_pairs(const struct params *p, const struct strides *t, ulong index, int4 *begin,
                          int4 *end) {
    const ulong keys = (ulong)p->seq_kv, rows = t->row ? (ulong)p->seq_q : 1;
    const ulong row = index / keys % rows;
    int2 first, last;
    const int there = slice_of_heads(p, t, index / keys / rows, &first, &last);
    *begin = (int4)(first, (int)row, (int)(index % keys));
    *end = (int4)(last, t->row ? (int)row + 1 : p->seq_q, (int)(index % keys) + 1);
    return there;
}
