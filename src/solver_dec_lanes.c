/*
 * dec_lanes - for CPU devices and few queries: the keys of a head in parts, which read K and V once
 * for the whole group of query heads (cl/dec_lanes.cl), then fwd_merge.
 */
#include "size.h"
#include "solvers.h"

enum { LANES, ROWS, ROW_UNROLL, BLOCK_N, PART_N };

/* A part is at most a segment (cl/state.cl), so that sums have three levels. */
enum { LONGEST = 4096 };

static const struct solver_parameter parameters[] = {
    SOLVERS_NUMBER(LANES, 4, 16),       SOLVERS_NUMBER_OF(ROWS, 1, 64, "1 2 4 8 12 16 32"),
    SOLVERS_NUMBER(ROW_UNROLL, 1, 16),  SOLVERS_NUMBER(BLOCK_N, 8, 64), /* longer sums drift */
    SOLVERS_NUMBER(PART_N, 8, LONGEST), {0},
};

/* Rows that share a head of K. */
static cl_ulong shared_rows(const struct problem *p) {
    return (cl_ulong)p->seq_q * (p->heads_q / p->heads_kv);
}

static enum fitness fits(const struct problem *p, const struct device *d, struct text *why) {
    /* With one query for each of its lanes fwd_lanes is as fast or faster. */
    const cl_uint few = d->float_width >= 16 ? 8 : d->float_width >= 8 ? 4 : 2;
    struct problem part = *p;
    part.seq_kv = p->seq_kv < LONGEST ? p->seq_kv : LONGEST;
    return solvers_fitness(d->type == DEVICE_CPU ? solvers_refuse_loops(&part, d, 4)
                                                 : "it is for CPU devices",
                           p->seq_q <= few ? NULL : "it is for few queries", why);
}

static cl_int legal(const struct problem *p, const struct device *d, const long long *v,
                    struct status *status) {
    static const struct {
        int whole, of;
        const char *sentence;
    } multiples[] = {{LANES, ROW_UNROLL, "LANES=%lld is not a multiple of ROW_UNROLL=%lld"},
                     {ROWS, ROW_UNROLL, "ROWS=%lld is not a multiple of ROW_UNROLL=%lld"},
                     {BLOCK_N, LANES, "BLOCK_N=%lld is not a multiple of LANES=%lld"},
                     {PART_N, BLOCK_N, "PART_N=%lld is not a multiple of BLOCK_N=%lld"}};
    (void)p;
    (void)d;
    if (v[LANES] != 4 && v[LANES] != 8 && v[LANES] != 16) {
        return status_set(status, CLATTN_INVALID_VARIANT, "LANES=%lld is none of 4, 8, 16",
                          v[LANES]);
    }
    for (size_t i = 0; i < sizeof multiples / sizeof *multiples; i++) {
        if (v[multiples[i].whole] % v[multiples[i].of] != 0) {
            return status_set(status, CLATTN_INVALID_VARIANT, multiples[i].sentence,
                              v[multiples[i].whole], v[multiples[i].of]);
        }
    }
    return CL_SUCCESS;
}

/* The longest parts, of 256 to 1024 keys, that still give each compute unit several work-items. */
static long long part_of(const struct problem *p, const struct device *d, cl_ulong rows) {
    enum { ITEMS = 8, SHORT = 256, LONG = 1024 };
    const cl_ulong blocks = size_div_up(shared_rows(p) ? shared_rows(p) : 1, rows);
    const cl_ulong items = size_mul_capped(size_mul_capped(p->batch, p->heads_kv), blocks);
    const cl_ulong wanted = ITEMS * (d->compute_units ? (cl_ulong)d->compute_units : 1);
    long long part = LONG;
    while (part > SHORT &&
           size_mul_capped(items, size_div_up(p->seq_kv, (cl_ulong)part)) < wanted) {
        part /= 2;
    }
    return part;
}

static bool candidate(const struct problem *p, const struct device *d, const long long *given,
                      size_t i, long long *v) {
    const long long widest = d->float_width >= 16 ? 16 : d->float_width >= 8 ? 8 : 4;
    const long long lanes = solvers_given(given[LANES], widest);
    const cl_ulong rows = shared_rows(p);
    const long long unroll = rows > 4 && lanes >= 16 ? 4 : rows >= 2 ? 2 : 1;
    const cl_ulong most = rows == 0 ? 1 : rows < 16 ? rows : 16;
    v[LANES] = lanes;
    v[ROW_UNROLL] = solvers_given(given[ROW_UNROLL], i == 0 ? unroll : 1);
    v[ROWS] = solvers_given(given[ROWS],
                            (long long)size_div_up(most, (cl_ulong)v[ROW_UNROLL]) * v[ROW_UNROLL]);
    v[BLOCK_N] = solvers_given(given[BLOCK_N], unroll > 2 ? 64 : 32);
    v[PART_N] = solvers_given(given[PART_N], part_of(p, d, (cl_ulong)(v[ROWS])));
    return i < 2;
}

static size_t one_work_item(const long long *v) {
    (void)v;
    return 1;
}

static cl_ulong parts(const long long *v, cl_ulong seq_kv) {
    return size_div_up(seq_kv, (cl_ulong)v[PART_N]);
}

static struct grid grid_of_parts(const long long *v, const struct params *params) {
    const cl_ulong rows = (cl_ulong)params->group * (cl_ulong)params->seq_q;
    const cl_ulong heads =
        (cl_ulong)params->batch * ((cl_ulong)params->heads_q / (cl_ulong)params->group);
    return (struct grid){parts(v, (cl_ulong)params->seq_kv),
                         size_mul_capped(heads, size_div_up(rows, (cl_ulong)v[ROWS]))};
}

static struct grid grid_of_rows(const long long *v, const struct params *params) {
    (void)v;
    return (struct grid){solvers_blocks(params, 1), 1};
}

static void needs(const struct problem *p, const struct device *d, const long long *v, size_t stage,
                  struct solver_needs *to) {
    const cl_ulong rows = (cl_ulong)v[ROW_UNROLL], width = d->float_width;
    if (stage != 0) {
        return;
    }
    (void)p;
    to->rows = (cl_ulong)v[ROWS];
    to->met = (cl_ulong)v[BLOCK_N];
    to->registers = (cl_ulong)v[LANES] * size_div_up((cl_ulong)v[LANES], width ? width : 1) + 2;
    to->reads = 1 / (double)rows + (double)rows / (double)v[LANES];
}

static const struct stage stage_of_parts = {
    .recipe = {.kernel = "dec_lanes",
               .reads = "q k v scores lengths_kv",
               .writes = "workspace",
               .parts = {"params.h", "base.cl", "storage.cl", "slice.cl", "span.cl", "score.cl",
                         "state.cl", "lanes.cl", "split.cl", "dec_lanes.cl"},
               .segment_from = LONGEST,
               .constants = ""},
    .work_items = one_work_item,
    .grid = grid_of_parts,
};

static const struct stage stage_of_merge = {
    .recipe = {.kernel = "fwd_merge",
               .reads = "workspace sink lengths_kv",
               .writes = "o lse",
               .parts = {"params.h", "base.cl", "storage.cl", "slice.cl", "span.cl", "score.cl",
                         "state.cl", "split.cl", "fwd_merge.cl"},
               .takes = "LANES PART_N",
               .constants = ""},
    .work_items = one_work_item,
    .grid = grid_of_rows,
};

static size_t stages(const struct variant *v, struct stage *to) {
    (void)v;
    to[0] = stage_of_parts;
    to[1] = stage_of_merge;
    return 2;
}

/* The results of all parts (cl/split.cl). */
static bool workspace(const struct problem *p, const long long *v, cl_ulong *bytes) {
    const cl_ulong rows = (cl_ulong)p->batch * p->heads_q * p->seq_q; /* 2^60 at most */
    const cl_ulong row = size_mul_capped(parts(v, p->seq_kv), (size_div_up(p->head_dim_v, 16) + 1) *
                                                                  16 * sizeof(cl_float));
    *bytes = 0;
    return size_add_mul(bytes, rows, row);
}

extern const struct solver solver_dec_lanes;
const struct solver solver_dec_lanes = {
    .name = "dec_lanes",
    .mixed = true,
    .blocked = true,
    .scored = true,
    .features = SOLVERS_HIDING | CLATTN_FEATURE_SINK | CLATTN_FEATURE_LENGTHS,
    .fits = fits,
    .parameters = parameters,
    .candidate = candidate,
    .legal = legal,
    .stages = stages,
    .workspace = workspace,
    .needs = needs,
};
