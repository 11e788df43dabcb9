/*
 * bwd_standard - a baseline of backward: S = Q K^T and dP = dO V^T whole in memory, where they
 * become P and dS; then d_v = P^T dO, d_q = dS K, d_k = dS^T Q.
 *
 *     q, k, v, d_o  -- bwd_standard_pack -->  dense F32        o, d_o  -- bwd_delta -->  delta
 *     CLBlast:  Q K^T, dO V^T       bwd_standard_weigh, in place       CLBlast:  dS K, dS^T Q, P^T
 * dO products  -- bwd_standard_unpack -->  d_q, d_k, d_v
 *
 * The query heads of one key head are adjacent: they are one matrix of group * seq_q rows, and the
 * sums of d_k and d_v go over all of them.  Sums are of blocks of PRODUCT_KEYS terms and of
 * segments (clblast_product.h).  All rows are longer than what they hold: blocks of rows then need
 * no place of their own, as standard's have.
 */
#include <assert.h>

#include "clblast_run.h"
#include "size.h"

#define PRODUCT_SEGMENT 4096 /* terms; as GRAD_SEGMENT of cl/grad.cl */

enum { PACK, DELTA, WEIGH, UNPACK, KERNELS };

/* As dense_row and dense_segments of cl/dense_backward.cl. */
static cl_ulong row_floats(cl_ulong width) {
    return (width / ROW_FLOATS + 1) * ROW_FLOATS;
}

static cl_ulong segments(cl_ulong terms) {
    return size_div_up(terms, PRODUCT_SEGMENT);
}

static enum fitness fits(const struct problem *p, const struct device *d, struct text *why) {
    const cl_ulong wider = p->head_dim > p->head_dim_v ? p->head_dim : p->head_dim_v;
    return solvers_fitness(clblast_run_refuses(p, d, row_floats(p->seq_kv), row_floats(wider)),
                           NULL, why);
}

/* ---- The variant ---- */

enum { WORK_GROUP, LANES };

static const struct solver_parameter parameters[] = {
    SOLVERS_NUMBER(WORK_GROUP, 1, 1024),
    SOLVERS_NUMBER(LANES, 1, 16),
    {0},
};

static cl_int legal(const struct problem *p, const struct device *d, const long long *v,
                    struct status *status) {
    (void)p;
    return clblast_run_legal(d, v[WORK_GROUP], v[LANES], 0, status);
}

static bool candidate(const struct problem *p, const struct device *d, const long long *given,
                      size_t i, long long *v) {
    (void)given;
    return clblast_run_candidate(p, d, i, &v[WORK_GROUP], &v[LANES]);
}

/* ---- The workspace ---- */

/* Where the parts begin, in floats, as dense_lay_out of cl/dense_backward.cl has them, and where
 * they end.  64 bits hold all of them where the problem is countable. */
struct layout {
    cl_ulong scores, d_scores, q, k, v, d_o, d_q, d_k, d_v, end;
};

static struct layout lay_out(const struct problem *p) {
    const cl_ulong rows = (cl_ulong)p->batch * p->heads_q * p->seq_q;
    const cl_ulong rows_kv = (cl_ulong)p->batch * p->heads_kv * p->seq_kv;
    const cl_ulong of_keys = segments(p->seq_kv),
                   of_queries = segments((cl_ulong)(p->heads_q / p->heads_kv) * p->seq_q);
    const cl_ulong sizes[] = {rows,
                              rows * row_floats(p->seq_kv),
                              rows * row_floats(p->seq_kv),
                              rows * row_floats(p->head_dim),
                              rows_kv * row_floats(p->head_dim),
                              rows_kv * row_floats(p->head_dim_v),
                              rows * row_floats(p->head_dim_v),
                              rows * of_keys * p->head_dim,
                              rows_kv * of_queries * p->head_dim,
                              rows_kv * of_queries * p->head_dim_v};
    struct layout at;
    cl_ulong *const ends[] = {&at.scores, &at.d_scores, &at.q,   &at.k,   &at.v,
                              &at.d_o,    &at.d_q,      &at.d_k, &at.d_v, &at.end};
    cl_ulong end = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        end += clblast_run_part_floats(sizes[i]);
        *ends[i] = end;
    }
    return at;
}

static bool workspace(const struct problem *p, const long long *v, cl_ulong *bytes) {
    (void)v;
    *bytes = clblast_run_bytes(lay_out(p).end);
    return true;
}

/* ---- Launches ---- */

static size_t work_items(const long long *v) {
    return (size_t)v[WORK_GROUP];
}

/* Stages are called by number: none is left out for want of rows, and so each has a work-group. */
static cl_ulong some(cl_ulong groups) {
    return groups ? groups : 1;
}

static struct grid grid_of_queries(const long long *v, const struct params *params) {
    const cl_ulong rows = solvers_blocks(params, 1);
    return (struct grid){some(size_div_up(rows, (cl_ulong)v[WORK_GROUP])), 1};
}

static struct grid grid_of_rows(const long long *v, const struct params *params) {
    const cl_ulong rows = solvers_blocks(params, 1) + solvers_blocks_of_keys(params, 1);
    return (struct grid){some(size_div_up(rows, (cl_ulong)v[WORK_GROUP])), 1};
}

static struct grid grid_of_weigh(const long long *v, const struct params *params) {
    (void)v;
    return (struct grid){some(solvers_blocks(params, 1)), 1};
}

static size_t stages(const struct variant *v, struct stage *to) {
#define STAGE(name, read, write, its_grid)                                                        \
    (struct stage){                                                                               \
        .recipe = {.kernel = name,                                                                \
                   .reads = read,                                                                 \
                   .writes = write,                                                               \
                   .parts = {"params.h", "base.cl", "storage.cl", "slice.cl", "span.cl",          \
                             "score.cl", "grad.cl", "dense.cl", "dense_backward.cl", name ".cl"}, \
                   .constants = CLBLAST_CONSTANT(PART_FLOATS) CLBLAST_CONSTANT(ROW_FLOATS)        \
                       CLBLAST_CONSTANT(PRODUCT_SEGMENT)},                                        \
        .work_items = work_items,                                                                 \
        .grid = its_grid,                                                                         \
    }
    (void)v;
    to[PACK] = STAGE("bwd_standard_pack", "q k v d_o", "workspace", grid_of_rows);
    to[DELTA] = solvers_delta;
    to[DELTA].grid = grid_of_queries;
    to[WEIGH] = STAGE("bwd_standard_weigh", "lse workspace scores", "workspace", grid_of_weigh);
    to[UNPACK] = STAGE("bwd_standard_unpack", "workspace", "d_q d_k d_v", grid_of_rows);
#undef STAGE
    return KERNELS;
}

/* One enqueue. */
struct run {
    struct clblast_run of;
    struct layout at;
};

/* `to` = `b` a^T, of all key heads. */
static cl_int spread(const struct run *run, cl_ulong b, cl_ulong a, cl_ulong dim, cl_ulong to) {
    const struct problem *p = &run->of.problem;
    const cl_ulong rows = (cl_ulong)(p->heads_q / p->heads_kv) * p->seq_q;
    const struct product product = {.a = clblast_run_part(&run->of, a, p->seq_kv, row_floats(dim)),
                                    .b = clblast_run_part(&run->of, b, rows, row_floats(dim)),
                                    .c =
                                        clblast_run_part(&run->of, to, rows, row_floats(p->seq_kv)),
                                    .transpose_a = true,
                                    .columns = p->seq_kv,
                                    .inner = dim,
                                    .block = dim,
                                    .segment = dim,
                                    .count = (cl_ulong)p->batch * p->heads_kv};
    return clblast_product(&product, run->of.launch->queue, run->of.status);
}

/* `to` = `weights` a, sums over keys, or weights^T a, sums over queries. */
static cl_int gather(const struct run *run, cl_ulong weights, cl_ulong a, cl_ulong dim,
                     bool over_queries, cl_ulong to) {
    const struct problem *p = &run->of.problem;
    const cl_ulong rows = (cl_ulong)(p->heads_q / p->heads_kv) * p->seq_q;
    const cl_ulong inner = over_queries ? rows : p->seq_kv, outer = over_queries ? p->seq_kv : rows;
    const struct product product = {
        .a = clblast_run_part(&run->of, a, inner, row_floats(dim)),
        .b = clblast_run_part(&run->of, weights, rows, row_floats(p->seq_kv)),
        .c = clblast_run_part(&run->of, to, outer, segments(inner) * dim),
        .transpose_b = over_queries,
        .columns = dim,
        .inner = inner,
        .block = PRODUCT_KEYS,
        .segment = PRODUCT_SEGMENT,
        .count = (cl_ulong)p->batch * p->heads_kv};
    return clblast_product(&product, run->of.launch->queue, run->of.status);
}

/* Products that nobody wants are left out. */
static cl_int multiply(const struct run *run) {
    const struct problem *p = &run->of.problem;
    const struct layout *at = &run->at;
    const cl_uint given = (cl_uint)run->of.launch->params->given;
    const bool d_q = given & OPERAND_BIT(OPERAND_D_Q), d_k = given & OPERAND_BIT(OPERAND_D_K);
    cl_int code = spread(run, at->q, at->k, p->head_dim, at->scores);
    if (code == CL_SUCCESS && (d_q || d_k)) {
        code = spread(run, at->d_o, at->v, p->head_dim_v, at->d_scores);
    }
    if (code == CL_SUCCESS) {
        code = clblast_run_kernel(&run->of, WEIGH, 0);
    }
    if (code == CL_SUCCESS && d_q) {
        code = gather(run, at->d_scores, at->k, p->head_dim, false, at->d_q);
    }
    if (code == CL_SUCCESS && d_k) {
        code = gather(run, at->d_scores, at->q, p->head_dim, true, at->d_k);
    }
    if (code == CL_SUCCESS && (given & OPERAND_BIT(OPERAND_D_V))) {
        code = gather(run, at->scores, at->d_o, p->head_dim_v, true, at->d_v);
    }
    return code;
}

static cl_int steps(const struct run *run) {
    const struct problem *p = &run->of.problem;
    cl_int code = clblast_run_kernel(&run->of, PACK, 0);
    if (code == CL_SUCCESS) {
        code = clblast_run_kernel(&run->of, DELTA, 0);
    }
    if (code == CL_SUCCESS && p->seq_q > 0 && p->seq_kv > 0) {
        code = multiply(run);
    }
    return code == CL_SUCCESS ? clblast_run_kernel(&run->of, UNPACK, 0) : code;
}

static cl_int enqueue(const struct launch *l, struct status *status) {
    struct run run;
    assert(l->stages == KERNELS);
    const cl_int code = clblast_run_begin(&run.of, l, status);
    if (code != CL_SUCCESS) {
        return code;
    }
    run.at = lay_out(&run.of.problem);
    return clblast_run_end(&run.of, steps(&run));
}

extern const struct solver solver_bwd_standard;
const struct solver solver_bwd_standard = {
    .name = "bwd_standard",
    .pass = CLATTN_BACKWARD,
    .baseline = true,
    .mixed = true,
    .scored = true,
    .fits = fits,
    .parameters = parameters,
    .candidate = candidate,
    .legal = legal,
    .stages = stages,
    .workspace = workspace,
    .enqueue = enqueue,
};
